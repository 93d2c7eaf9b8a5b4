"""What the contract says there is: releases, deployments, log entries and status events, as plain values.

The contract's model keeps the world in these; the recount compares them with rows and topics.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from worker.demo.contract_envelope import Identity
from worker.demo.record import TopicRecord

REVIEW_MOVES: Final[dict[str, set[str]]] = {
    "DRAFT": {"IN_REVIEW"},
    "IN_REVIEW": {"APPROVED", "REJECTED", "DRAFT"},
    "REJECTED": {"DRAFT", "IN_REVIEW"},
}
"""What release events may change; a status that is not here changes with the deployments only."""
BEYOND_APPROVAL: Final = ("DEPLOYING", "DEPLOYED", "FAILED", "ROLLED_BACK")
DEPLOYMENT_MOVES: Final[dict[str, set[str]]] = {
    "PENDING": {"IN_PROGRESS", "SUCCESS", "FAILED", "CANCELLED"},
    "IN_PROGRESS": {"SUCCESS", "FAILED", "CANCELLED", "ROLLED_BACK"},
    "SUCCESS": {"ROLLED_BACK"},
    "FAILED": {"ROLLED_BACK"},
    "CANCELLED": set(),
    "ROLLED_BACK": set(),
}
ACTIVE: Final = ("PENDING", "IN_PROGRESS")
ENDED: Final = ("SUCCESS", "FAILED", "CANCELLED")
PROGRESS: Final = {
    **dict.fromkeys(["PENDING"], 1),
    **dict.fromkeys(["IN_PROGRESS"], 2),
    **dict.fromkeys(ENDED, 3),
    **dict.fromkeys(["ROLLED_BACK"], 4),
}
NOT_DEPLOYABLE: Final = ("DRAFT", "IN_REVIEW", "REJECTED")

Outcome = Literal["applied", "duplicate", "stale", "rejected"]
DeploymentKey = tuple[str, int, int]
"""(environment, config_revision, attempt)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One attempt; `created_at` is the time of its first event, `updated_at` the latest time among its events."""

    environment_id: str
    config_revision: int
    attempt: int
    status: str
    settings: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    comment: str | None = None
    deployed_at: datetime | None = None
    deployed_by: str | None = None

    @property
    def key(self) -> DeploymentKey:
        return self.environment_id, self.config_revision, self.attempt

    @property
    def recency(self) -> tuple[datetime, int, int]:
        return self.updated_at, self.config_revision, self.attempt


@dataclass(slots=True, kw_only=True)
class Release:
    id: str
    organization_id: str
    fields: dict[str, Any]
    status: str
    created_at: datetime
    updated_at: datetime
    deployments: dict[DeploymentKey, Deployment] = field(default_factory=dict)
    pointed: dict[str, DeploymentKey] = field(default_factory=dict)
    """Environment → the deployment that `app_environments` was last pointed at on this release's behalf."""

    @property
    def number(self) -> tuple[str, int, str, str]:
        """What no other release may have."""
        fields = self.fields
        return (
            fields["release_date"],
            fields["release_number"],
            fields["component_id"].lower(),
            fields["deployment_track_id"],
        )

    def attempts(self, environment_id: str, config_revision: int) -> dict[int, Deployment]:
        return {
            row.attempt: row
            for row in self.deployments.values()
            if (row.environment_id, row.config_revision) == (environment_id, config_revision)
        }

    def standing(self) -> dict[str, Deployment]:
        """Return each environment's attempt of the latest event, cancelled ones left out."""
        standing: dict[str, Deployment] = {}
        for row in sorted(self.deployments.values(), key=lambda row: row.recency):
            if row.status != "CANCELLED":
                standing[row.environment_id] = row
        return standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """An entry of the activity log; what is about a release or a deployment is also a status event."""

    activity_type: str
    about: Literal["release", "deployment", "neither"]
    previous: str | None = None
    status: str | None = None
    deployment: DeploymentKey | None = None


@dataclass(slots=True, kw_only=True)
class Judged:
    """One event as it was judged, and how often it came."""

    record: TopicRecord
    identity: Identity | None
    time: datetime
    kind: str
    release_id: str | None
    outcome: Outcome
    reason: str | None = None
    activities: tuple[Activity, ...] = ()
    copies: int = 1
    resolved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one record must lead to; for a duplicate, `judged` is the event it repeats."""

    outcome: Outcome
    reason: str | None
    judged: Judged
