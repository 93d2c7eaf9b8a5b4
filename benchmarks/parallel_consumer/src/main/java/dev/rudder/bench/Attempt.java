package dev.rudder.bench;

import dev.rudder.bench.Statuses.Deployment;
import java.time.LocalDateTime;
import java.util.Comparator;
import java.util.UUID;

/** The part of a row of release_deployments that the rules look at. */
record Attempt(
        UUID id,
        String environment,
        int configRevision,
        long number,
        Deployment status,
        LocalDateTime updatedAt,
        LocalDateTime deployedAt,
        String deployedBy) {

    /** The attempt that an environment counts with is the greatest by this. */
    static final Comparator<Attempt> BY_RECENCY = Comparator.comparing(Attempt::updatedAt)
            .thenComparing(Attempt::configRevision)
            .thenComparing(Attempt::number);

    /** As it is after an event that changed its status; only a success says when and by whom it was deployed. */
    Attempt moved(Deployment status, LocalDateTime at, String actor) {
        boolean success = status == Deployment.SUCCESS;
        return new Attempt(
                id,
                environment,
                configRevision,
                number,
                status,
                at,
                success ? at : deployedAt,
                success ? actor : deployedBy);
    }

    boolean isSiblingOf(String environment, int configRevision) {
        return this.environment.equals(environment) && this.configRevision == configRevision;
    }
}
