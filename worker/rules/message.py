"""One decoded record: its event, its position, and the keys that order it."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from schemas.confusables import confusable_key
from schemas.event import Event, Foreign, Invalid, ReleaseReference
from schemas.incoming import DeploymentChange, ForeignActivity, ReleaseFields
from schemas.record import Record
from schemas.times import time_of_timestamp
from worker.rules.identity import activity_id, position_id

REDRIVE_HEADER = "rudder-redrive"
CORRECTS_HEADER = "rudder-corrects"

_POSITION = re.compile(rb"(?P<topic>[A-Za-z0-9._-]{1,249})/(?P<partition>[0-9]{1,10})@(?P<offset>[0-9]{1,19})")
_UUID = re.compile(rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


Claim = UUID | tuple[object, ...]
"""What records of different releases can have in common: an identity (the id derived from it); a release's date,
number, component and track (its confusable key), with the number 0 where the next free one is taken; a commit or an
image of a component, by which foreign events find their release.
"""
_NEXT_NUMBER = 0


class RecordPosition(NamedTuple):
    """Where a record is. A redrive header names that of the rejected record, as `str` writes it."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"

    @classmethod
    def of(cls, record: Record) -> "RecordPosition":
        return cls(record.topic, record.partition, record.offset)

    def same_partition(self, other: "RecordPosition") -> bool:
        return self[:2] == other[:2]


@dataclass(frozen=True, kw_only=True)
class Message:
    """A record, and the result of `schemas.decode` for it. `with_foreign`: it can meet foreign events, which find their
    releases by commit or image and take the next free number.
    """

    record: Record
    content: Event | Invalid
    with_foreign: bool = False

    @cached_property
    def id(self) -> UUID:
        """The id of the event's first activity log entry, and of its rejection."""
        content = self.content
        if content.source is None or content.id is None:
            record = self.record
            return position_id(
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                timestamp_ms=record.timestamp_ms,
            )
        return activity_id(source=content.source, event_id=content.id)

    @property
    def release_id(self) -> UUID | None:
        return self.content.data.release_id if isinstance(self.content, Event) else self.content.release_id

    @property
    def reference(self) -> ReleaseReference | None:
        """How the release is found, of a foreign event that does not name it; see `resolved`."""
        return None if self.foreign is None else self.foreign.reference

    def resolved(self, release_id: UUID) -> "Message":
        """The message with the release that was found."""
        content = self.content
        if not isinstance(content, Event) or content.data.release_id == release_id:
            return self
        data = content.data.model_copy(update={"release_id": release_id})
        return replace(self, content=replace(content, data=data))

    @property
    def foreign(self) -> Foreign | None:
        """What only a foreign event has."""
        return self.content.foreign if isinstance(self.content, Event) else None

    @property
    def ordering_key(self) -> UUID:
        """The release id, or else the message's own id. Messages with one key are processed in offset order."""
        return self.release_id or self.id

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """Records of a partition with a common claim are decided in offset order, whatever their ordering keys are."""
        own = (self.id,) if self.corrects is None else (self.id, self.corrects)
        block = self.release_fields
        if block is None:
            return *own, *self._run_claims
        track = confusable_key(block.deployment_track_id)
        number = block.release_date, block.release_number or _NEXT_NUMBER, block.component_id, track
        if not self.with_foreign:
            return *own, number
        return *own, number, (*number[:1], _NEXT_NUMBER, *number[2:]), *self.artifact_claims

    @cached_property
    def artifact_claims(self) -> tuple[Claim, ...]:
        """The commit, the images and the runs by which foreign events find the release that this event may create, and
        the number by which this one does.
        """
        block = self.release_fields
        if block is None or not self.with_foreign:
            return self._run_claims
        texts = {block.commit_hash, block.image_tag}
        reference = self.reference
        if reference is not None:
            texts |= {reference.commit_hash, *reference.image_tags}
        of_artifact = [("artifact", block.component_id, text) for text in sorted(filter(None, texts))]
        claims: tuple[Claim, ...] = (*of_artifact, *self._run_claims)
        if reference is None or reference.number is None:
            return claims
        return *claims, (*reference.number, block.component_id, confusable_key(block.deployment_track_id))

    @property
    def _run_claims(self) -> tuple[UUID, ...]:
        foreign = self.foreign
        return () if foreign is None else tuple(dict.fromkeys((*foreign.runs, *foreign.opens)))

    @property
    def release_fields(self) -> ReleaseFields | None:
        """The release that the event may create."""
        data = self.content.data if isinstance(self.content, Event) else None
        block = data.release if isinstance(data, DeploymentChange | ForeignActivity) else data
        return block if isinstance(block, ReleaseFields) else None

    @property
    def redrive(self) -> bool:
        """Whether the record has the redrive header: a rejected event is then decided again."""
        return any(name == REDRIVE_HEADER for name, _ in self.record.headers)

    @property
    def redrive_of(self) -> RecordPosition | None:
        """The position in the redrive header: the event is decided again only if its rejection is of that record. So
        one redrive is decided once, however often it is sent. None: the header names no position.
        """
        value = self._last_header(REDRIVE_HEADER)
        named = None if value is None else _POSITION.fullmatch(value)
        if named is None:
            return None
        return RecordPosition(named["topic"].decode(), int(named["partition"]), int(named["offset"]))

    @cached_property
    def corrects(self) -> UUID | None:
        """The rejection that this event corrects; it is resolved if this event is applied or stale."""
        value = self._last_header(CORRECTS_HEADER)
        return UUID(value.decode()) if value is not None and _UUID.fullmatch(value) else None

    @property
    def recorded_at(self) -> datetime:
        """The record's timestamp; 1970 if it is missing or out of range."""
        return time_of_timestamp(self.record.timestamp_ms) or _EPOCH

    @property
    def at(self) -> datetime:
        """The event's time, or `recorded_at` if it could not be read."""
        return self.content.time or self.recorded_at

    def _last_header(self, name: str) -> bytes | None:
        return next((value for header, value in reversed(self.record.headers) if header == name), None)
