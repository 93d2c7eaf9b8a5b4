"""The results of `decode`: an event, or the reason for a rejection."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from schemas.incoming import EventData
from schemas.reasons import Reason
from schemas.trace_context import TraceContext
from schemas.types import EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A valid event. Its identity is (`source`, `id`); `time` is aware, UTC, cut to the microsecond. `trace`: what it
    is part of, where its publisher says.
    """

    source: str
    id: str
    type: EventType
    time: datetime
    data: EventData
    trace: TraceContext | None = None


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
