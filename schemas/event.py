"""The results of `decode`: an event, or the reason for a rejection."""

from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from schemas.adapters.foreign import Format, Original
from schemas.incoming import EventData
from schemas.reasons import Reason
from schemas.trace_context import TraceContext
from schemas.types import EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReference:
    """How the release of a foreign event is found: the one with `derived_id`, else of the organization, component and
    track the latest one with `commit_hash`, with one of `image_tags` in this order, or with `number`, its date and
    number. If there is none, the event creates the release `derived_id`. Before all: the one that its run has, see
    `Foreign.runs`.
    """

    derived_id: UUID
    organization_id: str
    component_id: UUID
    deployment_track_id: str
    commit_hash: str | None = None
    image_tags: tuple[str, ...] = ()
    number: tuple[date, int] | None = None
    runs: tuple[UUID, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """What only an event of an adapter has. `run`: the source's id of one deployment, see `ForeignEvent.run`.
    `runs`: the ids of the activities that can say which attempt it has, in this order: of the run itself, and of the
    run that it is a part of, or of its first part. `opens`: those that an event writes which gives its run an attempt;
    the second one is taken by the first part. `reference`: None where the record names the release's id.
    """

    format: Format
    original: Original
    run: str | None = None
    runs: tuple[UUID, ...] = ()
    opens: tuple[UUID, ...] = ()
    reference: ReleaseReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A valid event. Its identity is (`source`, `id`); `time` is aware, UTC, cut to the microsecond. `trace`: what it
    is part of, where its publisher says. `foreign`: None for an event of ours. Before the release of a foreign event is
    looked up, `data.release_id` is the derived id.
    """

    source: str
    id: str
    type: EventType
    time: datetime
    data: EventData
    trace: TraceContext | None = None
    foreign: Foreign | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """A record without a valid event. `source`, `id` and `type`: set if they are valid and fit their columns (1,024,
    255 and 255 UTF-16 units); `source` and `id` are both set or both None. `time` and `release_id`: the event's, if
    they are valid, else None.
    """

    reason: Reason
    detail: str
    source: str | None = None
    id: str | None = None
    type: str | None = None
    time: datetime | None = None
    release_id: UUID | None = None
