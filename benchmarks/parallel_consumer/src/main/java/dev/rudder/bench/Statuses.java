package dev.rudder.bench;

import java.util.Collection;
import java.util.EnumSet;
import java.util.Set;
import java.util.stream.Collectors;

/** The statuses of releases and deployments, and what the rules say of them on their own. */
final class Statuses {
    enum Deployment {
        PENDING,
        IN_PROGRESS,
        SUCCESS,
        FAILED,
        CANCELLED,
        ROLLED_BACK;

        private static final Set<Deployment> REVOCABLE = EnumSet.of(IN_PROGRESS, SUCCESS, FAILED);

        boolean isActive() {
            return this == PENDING || this == IN_PROGRESS;
        }

        /** Whether it may become ROLLED_BACK. */
        boolean isRevocable() {
            return REVOCABLE.contains(this);
        }
    }

    enum Release {
        DRAFT,
        IN_REVIEW,
        APPROVED,
        REJECTED,
        DEPLOYING,
        DEPLOYED,
        FAILED,
        ROLLED_BACK;

        boolean isDeployable() {
            return this != DRAFT && this != IN_REVIEW && this != REJECTED;
        }
    }

    private Statuses() {}

    /** Rule 8: a release's status, from the attempts that its environments count with. */
    static Release rollUp(Collection<Attempt> counted) {
        Set<Deployment> statuses = counted.stream()
                .map(Attempt::status)
                .collect(Collectors.toCollection(() -> EnumSet.noneOf(Deployment.class)));
        if (statuses.stream().anyMatch(Deployment::isActive)) {
            return Release.DEPLOYING;
        }
        if (statuses.contains(Deployment.FAILED)) {
            return Release.FAILED;
        }
        if (statuses.contains(Deployment.SUCCESS)) {
            return Release.DEPLOYED;
        }
        return statuses.contains(Deployment.ROLLED_BACK) ? Release.ROLLED_BACK : Release.APPROVED;
    }
}
