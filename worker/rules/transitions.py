"""The two status machines, the source of the rules, the database guards and the documentation.

Source: docs/contract.md#status-machines. Migrations have a copy, because a revision must not change; a test compares
every pair on every database.
"""

from collections.abc import Mapping

from schemas.statuses import DeploymentStatus as D
from schemas.statuses import ReleaseStatus as R

DEPLOYMENT_TRANSITIONS: Mapping[D, frozenset[D]] = {
    D.PENDING: frozenset({D.IN_PROGRESS, D.SUCCESS, D.FAILED, D.CANCELLED}),
    D.IN_PROGRESS: frozenset({D.SUCCESS, D.FAILED, D.CANCELLED, D.ROLLED_BACK}),
    D.SUCCESS: frozenset({D.ROLLED_BACK}),
    D.FAILED: frozenset({D.ROLLED_BACK}),
    D.CANCELLED: frozenset(),
    D.ROLLED_BACK: frozenset(),
}

RELEASE_TRANSITIONS: Mapping[R, frozenset[R]] = {
    R.DRAFT: frozenset({R.IN_REVIEW}),
    R.IN_REVIEW: frozenset({R.APPROVED, R.REJECTED, R.DRAFT}),
    R.REJECTED: frozenset({R.DRAFT, R.IN_REVIEW}),
    R.APPROVED: frozenset({R.DEPLOYING, R.DEPLOYED, R.FAILED, R.ROLLED_BACK}),
    R.DEPLOYING: frozenset({R.DEPLOYED, R.FAILED, R.ROLLED_BACK, R.APPROVED}),
    R.DEPLOYED: frozenset({R.DEPLOYING, R.FAILED, R.ROLLED_BACK}),
    R.FAILED: frozenset({R.DEPLOYING, R.DEPLOYED, R.ROLLED_BACK}),
    R.ROLLED_BACK: frozenset({R.DEPLOYING, R.DEPLOYED, R.FAILED}),
}

ACTIVE = frozenset({D.PENDING, D.IN_PROGRESS})
"""The statuses of an attempt that has not ended."""

ENDS = frozenset({D.SUCCESS, D.FAILED, D.CANCELLED})
"""The statuses that end an attempt."""

PROGRESS: Mapping[D, int] = {
    D.PENDING: 0,
    D.IN_PROGRESS: 1,
    D.SUCCESS: 2,
    D.FAILED: 2,
    D.CANCELLED: 2,
    D.ROLLED_BACK: 3,
}
"""The order of the statuses of one attempt; the three ends are equal."""

REVOCABLE = tuple(status for status, following in DEPLOYMENT_TRANSITIONS.items() if D.ROLLED_BACK in following)
"""The statuses of an attempt that may become ROLLED_BACK."""

UNDEPLOYABLE = frozenset({R.DRAFT, R.IN_REVIEW, R.REJECTED})
"""The statuses of a release under review. Such a release accepts no deployment event."""

BEYOND_APPROVAL = frozenset({R.DEPLOYING, R.DEPLOYED, R.FAILED, R.ROLLED_BACK})
"""The statuses of an approved release that follow from its deployments."""


def deployment_may_become(*, current: D, wanted: D) -> bool:
    return wanted in DEPLOYMENT_TRANSITIONS[current]


def review_may_become(*, current: R, wanted: R) -> bool:
    """Whether a release event may make this change. Other changes follow from deployments."""
    return current in UNDEPLOYABLE and wanted in RELEASE_TRANSITIONS[current]
