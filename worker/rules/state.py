"""The state that a decision depends on, and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import assert_never
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

NO_RUNS: Mapping[UUID, int | None] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The stored rows of one event's identity and of its release.

    `activities`: the event's own, in order; empty for a new event. `rejection`: the event's own. `corrected`: the one
    that the event corrects, see `Message.corrects`.
    `release_version`: the number of changes of the release; None: another application created it, and the worker has
    not changed it. `number_taken`: another release has the event's date, number and component, and its track or a
    colliding one. `tracks_compared`: the number of releases with this date, number and component that were compared.
    `deployments`: the release's attempts. `environments`: further environment ids of the release. `pointer`: the
    environment's `app_environments` row; None: there is none.
    `runs`: the attempts of runs that are known, by the id of their activity; None: another application has deleted it.
    `runs_elsewhere`: those that another release has.
    `next_number`: the next free one of the date, component and track of the release that the event would create.
    """

    activities: tuple[Activity, ...] = ()
    rejection: Rejection | None = None
    corrected: Rejection | None = None
    release: Release | None = None
    release_version: int | None = None
    number_taken: bool = False
    tracks_compared: int = 0
    deployments: tuple[Deployment, ...] = ()
    environments: frozenset[str] = frozenset()
    pointer: EnvironmentPointer | None = None
    runs: Mapping[UUID, int | None] = field(default_factory=lambda: NO_RUNS)
    runs_elsewhere: frozenset[UUID] = frozenset()
    next_number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Everything that one event writes, in one transaction. `release_version`: what the release's is afterwards; None:
    neither the release nor a deployment of it changes. `resolved`: the rejections that the event resolves: its own, the
    one that it corrects. `rejection`: alone, of an event that has no other effect; `rejected_before`: its row is there,
    from an earlier delivery. `runs`: the runs whose attempt the event
    opens, by the id of their activity, which is one of `activities`.
    """

    release_version: int | None = None
    new_release: NewRelease | None = None
    release_move: ReleaseMove | None = None
    new_deployment: NewDeployment | None = None
    deployment_moves: tuple[DeploymentMove, ...] = ()
    activities: tuple[Activity, ...] = ()
    pointer_move: EnvironmentPointerMove | None = None
    resolved: "tuple[Resolved, ...]" = ()
    rejection: Rejection | None = None
    rejected_before: bool = False
    runs: Mapping[UUID, int | None] = field(default_factory=lambda: NO_RUNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The rejection that a redrive or a correction resolves, and the time of that record. `own`: of the same event."""

    rejection_id: UUID
    resolved_at: datetime
    own: bool = True


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
    `counted`: by environment, the attempt that it counts with now. None: unknown, because the event is no deployment
    event of this release.
    """

    activities: tuple[Activity, ...] = field(default=())
    rejection: Rejection | None = None
    reused: FirstUse | None = None
    counted: Mapping[str, Deployment] | None = field(default=None, compare=False)


Outcome = Applied | Stale | Rejected | Duplicate


def changes_of(outcome: Outcome) -> Changes | None:
    """What the outcome writes; None: nothing."""
    match outcome:
        case Applied(changes=changes) | Stale(changes=changes):
            return changes
        case Rejected(rejection=rejection, again=again):
            return Changes(rejection=rejection, rejected_before=again)
        case Duplicate():
            return None
        case _:
            assert_never(outcome)
