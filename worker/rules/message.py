"""One record on its way through the worker: what it says, and where and when it was delivered."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from uuid import UUID

from schemas.confusables import confusable_key
from schemas.event import Event, Invalid
from schemas.incoming import DeploymentChange, ReleaseFields
from schemas.record import Record
from schemas.times import time_of_timestamp
from worker.rules.identity import activity_id, position_id

REDRIVE_HEADER = "rudder-redrive"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


Claim = UUID | tuple[date, int, UUID, str]
"""What two records can both want, though they are of different releases: an identity, as the id that is derived from
it, or a release's date, number, component and track. Tracks that some database takes for one have one `likeness`.
"""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A decoded record. `content` is what `schemas.decode` made of `record`."""

    record: Record
    content: Event | Invalid

    @cached_property
    def id(self) -> UUID:
        """The id of the event's first activity log entry, and of its rejection."""
        if self.content.source is None or self.content.id is None:
            record = self.record
            return position_id(
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                timestamp_ms=record.timestamp_ms,
            )
        return activity_id(source=self.content.source, event_id=self.content.id)

    @property
    def release_id(self) -> UUID | None:
        return self.content.data.release_id if isinstance(self.content, Event) else self.content.release_id

    @property
    def ordering_key(self) -> UUID:
        """What this message must stay in order with: its release; without one, its own repeats."""
        return self.release_id or self.id

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """Records with a common claim are decided in the order of their offsets, whatever their lanes are."""
        data = self.content.data if isinstance(self.content, Event) else None
        block = data.release if isinstance(data, DeploymentChange) else data
        if not isinstance(block, ReleaseFields):
            return (self.id,)
        track = confusable_key(block.deployment_track_id)
        return self.id, (block.release_date, block.release_number, block.component_id, track)

    @property
    def redrive(self) -> bool:
        """Whether an operator asked for the event to be judged afresh."""
        return any(name == REDRIVE_HEADER for name, _ in self.record.headers)

    @property
    def recorded_at(self) -> datetime:
        """The record's time; where the broker gives none, or none that a calendar has, 1970."""
        return time_of_timestamp(self.record.timestamp_ms) or _EPOCH

    @property
    def at(self) -> datetime:
        """The event's time; where it could not be read, the record's."""
        return self.content.time or self.recorded_at
