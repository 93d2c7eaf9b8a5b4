"""What is known when an event is judged, and what judging it came to."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from worker.rules.rows import (
    Activity,
    Deployment,
    DeploymentMove,
    NewDeployment,
    NewRelease,
    Pointer,
    PointerMove,
    Rejection,
    Release,
    ReleaseMove,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the database says about one event's identity, and about its release.

    `activities`: the activity log entries that this event made before, in order. `rejection`: the event's own.
    `release_version`: how often the release was changed; None where it has no version: another application made it, and
    the worker never changed it. `number_taken`: another release has the date, number, component and track that this
    event wants, or one alike. `deployments`: the release's attempts. `environments`: ids of its environments that none
    of these is in. `pointer`: what the environment's `app_environments` row points at; None where there is no such row.
    """

    activities: tuple[Activity, ...] = ()
    rejection: Rejection | None = None
    release: Release | None = None
    release_version: int | None = None
    number_taken: bool = False
    deployments: tuple[Deployment, ...] = ()
    environments: frozenset[str] = frozenset()
    pointer: Pointer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Everything that one event writes, in one transaction."""

    new_release: NewRelease | None = None
    release_move: ReleaseMove | None = None
    new_deployment: NewDeployment | None = None
    deployment_moves: tuple[DeploymentMove, ...] = ()
    activities: tuple[Activity, ...] = ()
    pointer_move: PointerMove | None = None
    resolved: "Resolved | None" = None

    @property
    def changes_release(self) -> bool:
        """Whether a release that is there changes, or a deployment of it: what its version counts."""
        if self.new_release is not None:
            return False
        return self.release_move is not None or self.new_deployment is not None or bool(self.deployment_moves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The rejection that this event's redrive settles, and when it came back."""

    rejection_id: UUID
    resolved_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The event had its effect."""

    changes: Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """The event came too late to matter: it is logged, and no status changes."""

    changes: Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The event can never succeed. `again`: it was rejected before, and a redrive changed nothing."""

    rejection: Rejection
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUse:
    """The type and the release of the event that used an identity first; None where they are not known."""

    type: str | None
    release_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """The event is known: what it caused then, its entries or its rejection, is published again.

    `reused`: the event that is known, where this one differs from it in type or release. It is lost, which is its
    publisher's fault: one source and id stand for one event.
    """

    activities: tuple[Activity, ...] = field(default=())
    rejection: Rejection | None = None
    reused: FirstUse | None = None


Outcome = Applied | Stale | Rejected | Duplicate
