"""The history of one release: its records, rows, status events and dead letters. The checks need nothing else.

A record that names no release forms a history with its own repeats, as it has an ordering key of its own in the worker.
Memory holds one history at a time.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any
from uuid import UUID

from schemas.envelope import read_envelope
from schemas.record import Record
from schemas.text import UUID_TEXT
from schemas.times import format_time
from worker.pipeline.dead_letter import OMISSION_HEADERS, REASON_HEADERS, Content
from worker.rules.message import Message, RecordPosition
from worker.rules.rows import Activity, Rejection
from worker.stored_rows import ReleaseRows

_BYTES_MAX = 2**31
"""Published records are read whatever their size."""


@dataclass(frozen=True, kw_only=True)
class InputRecord:
    """A record of an input topic. `in_flight`: not committed by the group when the verification began, so it may have
    all, a part, or nothing of its effect.
    """

    message: Message
    in_flight: bool = False

    @cached_property
    def position(self) -> RecordPosition:
        record = self.message.record
        return RecordPosition(record.topic, record.partition, record.offset)

    @property
    def id(self) -> UUID:
        return self.message.id


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """`original`: the position of the rejected record, as the dead letter states it; `timestamp_ms`: of that record.
    `matches_record`: whether key, value and headers are that record's.
    """

    position: RecordPosition
    rejection_id: UUID
    original: RecordPosition
    reason: str
    matches_record: bool = True
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRecord:
    """A record of a status topic. `content`: the attributes and the data, as JSON. `own`: whether its source is the
    worker's.
    """

    position: RecordPosition
    id: str
    content: Mapping[str, Any]
    own: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRecord:
    """The last record of a key in a partition of the state topic. `content`: as of a status event; None: tombstone."""

    position: RecordPosition
    key: str
    content: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """An event of any release that names a rejection in its `rudder-corrects` header, and may resolve it. `effective`:
    it was applied or stale. `resolved_at`: what it sets. `unseen`: it may have its effect, and the verification may
    have read only a part of that.
    """

    position: RecordPosition
    resolved_at: datetime
    effective: bool
    unseen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """`key`: the release's id, or that of a record without one. `rows`: None where the database has no such release.

    `inputs`: sorted by topic, partition and offset. `rejections`: by event. `elsewhere`: by event, the position of the
    record that took effect, for events whose activities or rejection belong to another release or to a record that can
    no longer be read. `rejected_before`: rejections that a record of another release caused, as they were before a
    redrive in this history. `corrections`: by event, of its rejection. `trimmed`: the input topics' partitions that
    have lost records to retention. `numbers_taken`: events that claim a release number of another release.
    `earlier_activities`, `earlier_rejections`: events whose rows come from an earlier log of their topic, see
    `worker.verify.recreated`.
    """

    key: UUID
    rows: ReleaseRows | None = None
    inputs: Sequence[InputRecord] = ()
    rejections: Mapping[UUID, Rejection] = field(default_factory=dict)
    dead_letters: Sequence[DeadLetter] = ()
    statuses: Sequence[StatusRecord] = ()
    states: Sequence[StateRecord] = ()
    elsewhere: Mapping[UUID, RecordPosition] = field(default_factory=dict)
    rejected_before: Mapping[UUID, Rejection] = field(default_factory=dict)
    corrections: Mapping[UUID, Sequence[Correction]] = field(default_factory=dict)
    trimmed: frozenset[tuple[str, int]] = frozenset()
    numbers_taken: frozenset[UUID] = frozenset()
    earlier_activities: frozenset[UUID] = frozenset()
    earlier_rejections: frozenset[UUID] = frozenset()

    @property
    def release_id(self) -> UUID | None:
        """None where the records name no release."""
        named = self.rows is not None or bool(self.statuses) or bool(self.states)
        return self.key if named or any(one.message.release_id == self.key for one in self.inputs) else None

    @property
    def activities(self) -> tuple[Activity, ...]:
        return self.rows.activities if self.rows else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extents:
    """What can be read. `begins`: the first offset of each partition of the input topics, by topic and partition.

    `trimmed`: the output topics from which retention or compaction removed records; a missing record proves nothing.
    """

    begins: Mapping[tuple[str, int], int]
    trimmed: frozenset[str] = frozenset()

    def readable(self, position: RecordPosition) -> bool:
        begin = self.begins.get(position[:2])
        if begin is None:  # a partition that its topic does not have never held a record
            return any(topic == position.topic for topic, _ in self.begins)
        return position.offset >= begin


def cause_of(activity: Activity) -> tuple[str, str, RecordPosition] | None:
    """Source and id of the event that an activity names, and its record's position. None: not as the worker writes."""
    try:
        data = json.loads(activity.activity_data)
        source, event_id, record = data["event"]["source"], data["event"]["id"], data["record"]
        position = RecordPosition(record["topic"], record["partition"], record["offset"])
    except (ValueError, KeyError, TypeError):
        return None
    texts, numbers = (source, event_id, position.topic), (position.partition, position.offset)
    valid = all(isinstance(text, str) for text in texts) and all(type(number) is int for number in numbers)
    return (source, event_id, position) if valid else None


def position_of(rejection: Rejection) -> RecordPosition:
    return RecordPosition(rejection.topic, rejection.partition, rejection.offset)


def read_status(record: Record, *, source: str) -> tuple[UUID | None, StatusRecord]:
    """The release of a status topic's record, None where it names none, and its content. `source`: of the worker's own
    events.
    """
    envelope = read_envelope(record.value, record.headers, bytes_max=_BYTES_MAX)
    its_source, id_, type_, time, _, trace = envelope.attributes
    data = envelope.data
    named = data.get("release_id") if isinstance(data, dict) else None
    content = {
        "id": id_,
        "type": type_,
        "time": time and format_time(time),
        "key": record.key and record.key.decode("utf-8", "replace"),
        "trace": trace,
        "data": data,
    }
    status = StatusRecord(
        position=RecordPosition(record.topic, record.partition, record.offset),
        id=id_ or "",
        content=content,
        own=its_source == source,
    )
    is_uuid = isinstance(named, str) and UUID_TEXT.fullmatch(named) is not None
    return (UUID(named) if is_uuid else None), status


def read_state(record: Record, *, source: str) -> tuple[UUID, StateRecord] | None:
    """The release of a state topic's record, and its content. None: another system's."""
    key = (record.key or b"").decode("utf-8", "replace")
    named, slash, _ = key.partition("/")
    if not slash or UUID_TEXT.fullmatch(named) is None:
        return None
    content: Mapping[str, Any] | None = None
    if record.value is not None:
        _, status = read_status(record, source=source)
        if not status.own:
            return None
        content = status.content
    position = RecordPosition(record.topic, record.partition, record.offset)
    return UUID(named), StateRecord(position=position, key=key, content=content)


def read_dead_letter(record: Record) -> tuple[DeadLetter, bytes] | None:
    """A dead letter, and the digest of the content that it repeats. None: not one of the worker's."""
    names = [name for name, _ in record.headers]
    end = len(names)
    while end and names[end - 1] in OMISSION_HEADERS:
        end -= 1
    start = end - len(REASON_HEADERS)
    if start < 0 or tuple(names[start:end]) != REASON_HEADERS:
        return None
    headers = {name: (raw or b"").decode("utf-8", "replace") for name, raw in record.headers[start:end]}
    try:
        original = RecordPosition(
            headers["rudder-topic"], int(headers["rudder-partition"]), int(headers["rudder-offset"])
        )
        rejection_id = UUID(headers["rudder-id"])
    except ValueError:
        return None
    dead_letter = DeadLetter(
        position=RecordPosition(record.topic, record.partition, record.offset),
        rejection_id=rejection_id,
        original=original,
        reason=headers["rudder-reason"],
        timestamp_ms=_number(headers["rudder-timestamp"]),
    )
    # The shortest dead letter has neither key nor value of its record; its key is then the rejection's id.
    key = None if record.key == str(rejection_id).encode() else record.key
    content = Content(key=key, value=record.value, headers=record.headers[:start], omissions=record.headers[end:])
    return dead_letter, digest(content)


def digest(content: Content) -> bytes:
    """Of all that a dead letter repeats of its record, or declares as omitted."""
    parts = (content.key, content.value, tuple(content.headers), tuple(content.omissions))
    return blake2b(repr(parts).encode(), digest_size=16).digest()


def _number(text: str) -> int | None:
    """An integer of 64 bits, else None."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None
