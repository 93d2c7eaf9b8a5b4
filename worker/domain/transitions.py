"""The two status machines: the one table that application, database guards and documentation are held against.

The contract's section "Status machines" is the source. The migrations carry their own frozen copy, since a revision
may never change; a test compares every pair on every database.
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
"""The statuses of an attempt that is still under way."""

UNDEPLOYABLE = frozenset({R.DRAFT, R.IN_REVIEW, R.REJECTED})
"""The statuses in which a release accepts no deployment event."""


def deployment_may_become(*, current: D, wanted: D) -> bool:
    return wanted in DEPLOYMENT_TRANSITIONS[current]


def release_may_become(*, current: R, wanted: R) -> bool:
    return wanted in RELEASE_TRANSITIONS[current]
