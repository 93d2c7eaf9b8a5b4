"""Read each record with the limits that were set when it was decided.

Limits are settings and may have changed. A rejection for a limit names the limit, and the record must be beyond it. A
record that took effect was within the limits of its time. Other records are read with today's limits.
"""

import pickle
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID, uuid5

from schemas.adapters.foreign import NoInterest
from schemas.derived_ids import NAMESPACE
from schemas.event import Invalid
from schemas.mapping import Mapping
from schemas.reasons import Reason
from schemas.record import Record
from worker.pipeline.transaction import read, read_mapped
from worker.rules.identity import position_id
from worker.rules.message import Message, RecordPosition
from worker.rules.rows import Rejection

TABLES = """
CREATE TABLE rejected_at (
    topic TEXT, partition INT, offset INT, id BLOB, reason TEXT, detail TEXT,
    PRIMARY KEY (topic, partition, offset, id)
) WITHOUT ROWID;
CREATE TABLE explained (id BLOB PRIMARY KEY) WITHOUT ROWID;
"""
"""`explained`: rejections for a limit, of records that were read again after the limit was changed."""

_TOO_LARGE = re.compile(r"the value has \d+ bytes, more than (\d+)")
_AHEAD = re.compile(r"/time: is \d+ seconds after the record's timestamp \(RUDDER_EVENT_AHEAD_MAX_SECONDS=(\d+)\)")
_BYTES_UNLIMITED = 2**31
_AHEAD_UNLIMITED = 0


class _OfNoInterest(Exception):
    """Only records of interest are read."""


@dataclass(frozen=True, kw_only=True)
class _Recorded(Message):
    """A message whose rejection has an id that an earlier version derived."""

    recorded_id: UUID

    @cached_property
    def id(self) -> UUID:
        return self.recorded_id


@dataclass(frozen=True, slots=True)
class _Rejected:
    id: UUID
    reason: str
    detail: str


class PastLimits:
    """Call it after all rows were added to the scratch file."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        event_bytes_max: int,
        event_ahead_max_seconds: int,
        mapping: Mapping | None = None,
    ) -> None:
        """`mapping`: of foreign records, as it is today."""
        self._connection = connection
        self._event_bytes_max = event_bytes_max
        self._event_ahead_max_seconds = event_ahead_max_seconds
        self._mapping = mapping

    def is_of_interest(self, record: Record) -> bool:
        """Whether the record has an outcome: not if it is foreign and concerns no deployment."""
        if self._mapping is None:
            return True
        try:
            self._today(record)
        except _OfNoInterest:
            return False
        return True

    def read(self, record: Record) -> Message:
        """The message as the worker read it when it decided it."""
        today = self._today(record)
        for rejected in self._rejected_at(record):
            if (then := self._limited(record, rejected)) is not None and not self._has_effect(record):
                return then
        if _is_limited(today) and self._is_known((whole := self._unlimited(record)).id):
            return whole
        return today

    def explained(self, record: Record, message: Message) -> Iterator[UUID]:
        """Rejections of this record for a limit that was raised before it was read as `message`."""
        for rejected in self._rejected_at(record):
            then = self._limited(record, rejected)
            if then is not None and then.id != message.id:
                yield then.id

    def rejected_by_position(self, record: Record) -> UUID | None:
        """The rejection of this record as one without an identity, if there is one."""
        own = position_id(
            topic=record.topic, partition=record.partition, offset=record.offset, timestamp_ms=record.timestamp_ms
        )
        return own if any(rejected.id == own for rejected in self._rejected_at(record)) else None

    def is_rejected(self, record: Record) -> bool:
        """Whether this record was rejected."""
        event = self._today(record).id
        return any(rejected.id == event for rejected in self._rejected_at(record))

    def _today(self, record: Record) -> Message:
        return self._read(record, self._event_bytes_max, self._event_ahead_max_seconds)

    def _unlimited(self, record: Record) -> Message:
        return self._read(record, _BYTES_UNLIMITED, _AHEAD_UNLIMITED)

    def _read(self, record: Record, bytes_max: int, ahead_max_seconds: int) -> Message:
        limits = {"event_bytes_max": bytes_max, "event_ahead_max_seconds": ahead_max_seconds}
        mapping = self._mapping
        message = read(record, **limits) if mapping is None else read_mapped(record, mapping, **limits)
        if isinstance(message, NoInterest):
            raise _OfNoInterest
        if message.reference is not None:  # the worker has found its release
            found = self._release_of(message.id)
            return message if found is None else message.resolved(found)
        if message.content.source is None or message.content.id is None:
            former, known = _former_position_id(record), {rejected.id for rejected in self._rejected_at(record)}
            if former in known and message.id not in known:
                return _Recorded(record=record, content=message.content, recorded_id=former)
        return message

    def _release_of(self, event: UUID) -> UUID | None:
        """The release that the event has in the tables."""
        key = self._one("SELECT key FROM activities WHERE id = ?", event.bytes)
        if isinstance(key, bytes):
            return UUID(bytes=key)
        pickled = self._one("SELECT rejection FROM rejections WHERE id = ?", event.bytes)
        if not isinstance(pickled, bytes):
            return None
        rejection: Rejection = pickle.loads(pickled)  # noqa: S301 - this process pickled it
        return rejection.release_id

    def _limited(self, record: Record, rejected: _Rejected) -> Message | None:
        """The record as read with the limit that the rejection names. None: the record is not beyond that limit."""
        if rejected.reason == Reason.TOO_LARGE and (found := _TOO_LARGE.fullmatch(rejected.detail)):
            then = self._read(record, int(found[1]), _AHEAD_UNLIMITED)
        elif rejected.reason == Reason.INVALID_DATA and (found := _AHEAD.search(rejected.detail)):
            then = self._read(record, _BYTES_UNLIMITED, int(found[1]))
        else:
            return None
        return then if then.id == rejected.id and _is_limited(then) else None

    def _has_effect(self, record: Record) -> bool:
        found = self._one("SELECT position FROM activities WHERE id = ?", self._unlimited(record).id.bytes)
        return found == str(RecordPosition(record.topic, record.partition, record.offset))

    def _is_known(self, event: UUID) -> bool:
        return (
            self._one("SELECT 1 FROM activities WHERE id = ?", event.bytes) is not None
            or self._one("SELECT 1 FROM rejections WHERE id = ?", event.bytes) is not None
        )

    def _rejected_at(self, record: Record) -> Iterator[_Rejected]:
        sql = "SELECT id, reason, detail FROM rejected_at WHERE topic = ? AND partition = ? AND offset = ?"
        rows = self._connection.execute(sql, (record.topic, record.partition, record.offset)).fetchall()
        return (_Rejected(UUID(bytes=id_), reason, detail) for id_, reason, detail in rows)

    def _one(self, sql: str, *parameters: object) -> object:
        row = self._connection.execute(sql, parameters).fetchone()
        return None if row is None else row[0]


def _is_limited(message: Message) -> bool:
    content = message.content
    if not isinstance(content, Invalid):
        return False
    return content.reason is Reason.TOO_LARGE or _AHEAD.search(content.detail) is not None


def _former_position_id(record: Record) -> UUID:
    """Without the record's timestamp, as earlier versions derived it."""
    return uuid5(NAMESPACE, f"{record.topic}/{record.partition}/{record.offset}")
