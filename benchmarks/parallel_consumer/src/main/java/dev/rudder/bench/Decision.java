package dev.rudder.bench;

import dev.rudder.bench.Statuses.Deployment;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BinaryOperator;
import java.util.stream.Collectors;

/**
 * The contract's rules 2, 3 and 6 to 8, for events of the benchmark's stream: all of them are valid, so what the
 * contract rejects is a failure here.
 */
final class Decision {
    private Decision() {}

    static Ledger of(State state, Event event) {
        Ledger ledger = new Ledger(state, event);
        if (state.release() == null) {
            require(event.release() != null, "release_not_found", event);
            ledger.createRelease();
        } else {
            require(state.release().organization().equals(event.organization()), "organization_mismatch", event);
            require(state.release().status().isDeployable(), "release_not_deployable", event);
        }
        List<Attempt> siblings = ledger.attempts().stream()
                .filter(attempt -> attempt.isSiblingOf(event.environment(), event.configRevision()))
                .toList();
        Attempt latest = highest(siblings).orElse(null);
        if (latest != null && event.time().isBefore(latest.updatedAt())) {
            ledger.noteStale(latest);
            return ledger;
        }
        if (!apply(ledger, siblings, latest, event)) {
            return ledger;
        }
        ledger.setReleaseStatus(Statuses.rollUp(counted(ledger.attempts())));
        return ledger;
    }

    /** Rules 6 and 7; false where the event is stale. */
    private static boolean apply(Ledger ledger, List<Attempt> siblings, Attempt latest, Event event) {
        Deployment wanted = event.wanted();
        if (wanted == Deployment.ROLLED_BACK) {
            Optional<Attempt> able = highest(
                    siblings.stream().filter(sibling -> sibling.status().isRevocable()).toList());
            require(able.isPresent(), "invalid_transition", event);
            ledger.move(able.get());
        } else if (latest != null && latest.status().isActive() && wanted != Deployment.PENDING) {
            if (latest.status() == wanted) {
                ledger.noteStale(latest);
                return false;
            }
            ledger.move(latest);
        } else {
            siblings.stream().filter(sibling -> sibling.status().isActive()).forEach(ledger::supersede);
            ledger.open(latest == null ? 1 : latest.number() + 1);
        }
        return true;
    }

    private static Optional<Attempt> highest(List<Attempt> attempts) {
        return attempts.stream().max(Comparator.comparingLong(Attempt::number));
    }

    /** The attempt that each environment counts with. */
    private static Collection<Attempt> counted(Collection<Attempt> attempts) {
        Map<String, Attempt> counted = attempts.stream()
                .filter(attempt -> attempt.status() != Deployment.CANCELLED)
                .collect(Collectors.toMap(
                        Attempt::environment, attempt -> attempt, BinaryOperator.maxBy(Attempt.BY_RECENCY)));
        return counted.values();
    }

    private static void require(boolean holds, String reason, Event event) {
        if (!holds) {
            throw new IllegalStateException(reason + ": " + event);
        }
    }
}
