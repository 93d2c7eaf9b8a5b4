"""The state that a decision depends on, and its outcome."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from worker.rules.rows import (
    Activity,
    Deployment,
    DeploymentMove,
    EnvironmentPointer,
    EnvironmentPointerMove,
    NewDeployment,
    NewRelease,
    Rejection,
    Release,
    ReleaseMove,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The stored rows of one event's identity and of its release.

    `activities`: the event's own, in order; empty for a new event. `rejection`: the event's own.
    `release_version`: the number of changes of the release; None: another application created it, and the worker has
    not changed it. `number_taken`: another release has the event's date, number and component, and its track or a
    colliding one. `deployments`: the release's attempts. `environments`: further environment ids of the release.
    `pointer`: the environment's `app_environments` row; None: there is none.
    """

    activities: tuple[Activity, ...] = ()
    rejection: Rejection | None = None
    release: Release | None = None
    release_version: int | None = None
    number_taken: bool = False
    deployments: tuple[Deployment, ...] = ()
    environments: frozenset[str] = frozenset()
    pointer: EnvironmentPointer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """All writes of one event; they are one transaction."""

    new_release: NewRelease | None = None
    release_move: ReleaseMove | None = None
    new_deployment: NewDeployment | None = None
    deployment_moves: tuple[DeploymentMove, ...] = ()
    activities: tuple[Activity, ...] = ()
    pointer_move: EnvironmentPointerMove | None = None
    resolved: "Resolved | None" = None

    @property
    def changes_release(self) -> bool:
        """Whether a release that is there changes, or a deployment of it: what its version counts."""
        if self.new_release is not None:
            return False
        return self.release_move is not None or self.new_deployment is not None or bool(self.deployment_moves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The rejection that a redrive resolves, and the time of the redrive's record."""

    rejection_id: UUID
    resolved_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The event changes rows."""

    changes: Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """The event is late: it is logged, and no status changes."""

    changes: Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The event can never succeed. `again`: it was rejected before, and this is a redrive."""

    rejection: Rejection
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUse:
    """The type and the release of the first event with an identity; None: unknown."""

    type: str | None
    release_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """The event's identity is known: its status events or its dead letter are published again.

    `reused`: the first event with this identity, if this one has another type or release. This event has no effect;
    its publisher must use a new id.
    """

    activities: tuple[Activity, ...] = field(default=())
    rejection: Rejection | None = None
    reused: FirstUse | None = None


Outcome = Applied | Stale | Rejected | Duplicate
