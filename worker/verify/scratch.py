"""The scratch file: everything that was read, sorted by release. A SQLite file in a temporary folder of its own.

Topics are read by partition and offset, tables by id; a history needs all of one release. The file joins them, so that
memory holds one release at a time. It needs about 3 KB per event. No other process uses it.
"""

import json
import pickle
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any
from uuid import UUID

from schemas.confusables import confusable_key
from schemas.decode import EVENT_AHEAD_MAX_SECONDS
from schemas.incoming import DerivedRelease
from schemas.mapping import Mapping as ForeignMapping
from schemas.reasons import Reason
from schemas.record import Record
from schemas.times import time_of_timestamp
from worker.pipeline.dead_letter import contents_of
from worker.ports import Partition
from worker.rules.errors import ConfigurationError
from worker.rules.identity import activity_id, activity_ids
from worker.rules.message import Message, RecordPosition
from worker.rules.rows import Activity, Rejection
from worker.stored_rows import ReleaseRows
from worker.verify import deleted_records, past_limits, recreated
from worker.verify.deleted_records import DeletedRecords
from worker.verify.history import (
    Correction,
    DeadLetter,
    Extents,
    History,
    InputRecord,
    StateRecord,
    StatusRecord,
    cause_of,
    digest,
    position_of,
)
from worker.verify.past_limits import PastLimits
from worker.verify.pointers import Pointers
from worker.verify.recreated import ACTIVITY, REJECTION, Recreated

# ruff: noqa: S301 - only what this process pickled, in a folder that only its user can access

_CACHE_KIB = 32 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TABLES = """
CREATE TABLE releases (key BLOB PRIMARY KEY, rows BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE numbers (number TEXT NOT NULL, key BLOB NOT NULL, PRIMARY KEY (number, key)) WITHOUT ROWID;
CREATE TABLE activities (id BLOB PRIMARY KEY, key BLOB NOT NULL, position TEXT, activity BLOB NOT NULL);
CREATE TABLE rejections (id BLOB PRIMARY KEY, rejection BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE inputs (
    topic TEXT, partition INT, offset INT, key BLOB NOT NULL, event BLOB NOT NULL,
    timestamp_ms INT, record_key BLOB, value BLOB, headers TEXT NOT NULL, unreadable BLOB,
    PRIMARY KEY (topic, partition, offset)
);
CREATE TABLE corrections (rejection BLOB NOT NULL, event BLOB, topic TEXT, partition INT, offset INT, timestamp_ms INT);
CREATE TABLE statuses (key BLOB NOT NULL, topic TEXT, partition INT, offset INT, status BLOB NOT NULL);
CREATE TABLE states (
    key BLOB NOT NULL, record_key TEXT, partition INT, state BLOB NOT NULL, PRIMARY KEY (key, record_key, partition)
) WITHOUT ROWID;
CREATE TABLE dead_letters (
    rejection_id BLOB NOT NULL, topic TEXT, partition INT, offset INT, timestamp_ms INT, dead_letter BLOB, digest BLOB
);
"""
_INDEXES = """
CREATE INDEX activities_key ON activities (key);
CREATE INDEX inputs_key ON inputs (key, topic, partition, offset);
CREATE INDEX inputs_event ON inputs (event, topic, partition, offset);
CREATE INDEX corrections_rejection ON corrections (rejection);
CREATE INDEX statuses_key ON statuses (key, topic, partition, offset);
CREATE INDEX dead_letters_rejection_id ON dead_letters (rejection_id);
"""
_KEYS = (
    "SELECT key FROM inputs UNION SELECT key FROM releases UNION SELECT key FROM statuses UNION SELECT key FROM states"
)


class Scratch:
    """Add everything, in any order; then call `seal`; then ask."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        committed: Mapping[Partition, int],
        begins: Mapping[Partition, int],
        event_bytes_max: int,
        event_ahead_max_seconds: int,
        mapping: ForeignMapping | None = None,
    ) -> None:
        self._connection = connection
        self._committed = committed
        self._limits = PastLimits(
            connection,
            event_bytes_max=event_bytes_max,
            event_ahead_max_seconds=event_ahead_max_seconds,
            mapping=mapping,
        )
        self.deleted_records = DeletedRecords(connection, begins=begins)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}", "temp_store = FILE"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(_TABLES + past_limits.TABLES + deleted_records.TABLES + recreated.TABLES)
        self.recreated = Recreated(connection)
        self.pointers = Pointers(connection)
        connection.execute("BEGIN")

    def add_release(self, rows: ReleaseRows) -> None:
        release_id: UUID = rows.release["id"]
        key = release_id.bytes
        for activity in rows.activities:
            cause = cause_of(activity)
            position = None if cause is None else str(cause[2])
            row = (activity.id.bytes, key, position, pickle.dumps(activity))
            self._connection.execute("INSERT INTO activities VALUES (?, ?, ?, ?)", row)
            if cause is not None:
                self.deleted_records.add_row(cause[2])
                self._add_named_by_activity(activity, *cause)
        rest = (rows.release, rows.version, rows.deployments, rows.base_revisions, rows.settled)
        self._connection.execute("INSERT INTO releases VALUES (?, ?)", (key, pickle.dumps(rest)))
        self.pointers.add_release(rows)
        number = _number(*(rows.release[name] for name in _NUMBER))
        self._connection.execute("INSERT INTO numbers VALUES (?, ?)", (number, key))

    def add_rejection(self, rejection: Rejection) -> None:
        row = (rejection.id.bytes, pickle.dumps(rejection))
        self._connection.execute("INSERT INTO rejections VALUES (?, ?)", row)
        position = position_of(rejection)
        at = (*position, rejection.id.bytes, rejection.reason, rejection.detail)
        self._connection.execute("INSERT INTO rejected_at VALUES (?, ?, ?, ?, ?, ?)", at)
        self.deleted_records.add_row(position)
        source, event_id = rejection.event_source, rejection.event_id
        # A row whose id is not derived from its event was edited.
        if source is None or event_id is None or rejection.id == activity_id(source=source, event_id=event_id):
            self.recreated.add_row(REJECTION, rejection.id, position)

    def _add_named_by_activity(self, activity: Activity, source: str, event_id: str, position: RecordPosition) -> None:
        if activity.id in activity_ids(source=source, event_id=event_id):  # as above
            self.recreated.add_row(ACTIVITY, activity_id(source=source, event_id=event_id), position)

    def is_rejected(self, record: Record) -> bool:
        """Whether this record was rejected."""
        return self._limits.is_rejected(record)

    def is_of_interest(self, record: Record) -> bool:
        return self._limits.is_of_interest(record)

    def add_input(self, record: Record) -> None:
        message = self._limits.read(record)
        for explained in self._limits.explained(record, message):
            self._connection.execute("INSERT OR IGNORE INTO explained VALUES (?)", (explained.bytes,))
        if (rejected := self._limits.rejected_by_position(record)) is not None:
            self.recreated.add_rejected_by_position(rejected)
        position = (record.topic, record.partition, record.offset)
        row = (message.ordering_key.bytes, message.id.bytes, record.timestamp_ms, record.key, record.value)
        if message.corrects is not None:
            named = (message.corrects.bytes, message.id.bytes, *position, record.timestamp_ms)
            self._connection.execute("INSERT INTO corrections VALUES (?, ?, ?, ?, ?, ?)", named)
        headers = json.dumps([(name, raw if raw is None else raw.decode("latin-1")) for name, raw in record.headers])
        unreadable = None if record.unreadable is None else pickle.dumps(record.unreadable)
        self._connection.execute(
            "INSERT INTO inputs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*position, *row, headers, unreadable)
        )

    def add_status(self, release_id: UUID, status: StatusRecord) -> None:
        row = (release_id.bytes, *status.position, pickle.dumps(status))
        self._connection.execute("INSERT INTO statuses VALUES (?, ?, ?, ?, ?)", row)

    def add_state(self, release_id: UUID, state: StateRecord) -> None:
        """The last one that is added of a key and a partition remains."""
        row = (release_id.bytes, state.key, state.position.partition, pickle.dumps(state))
        self._connection.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?)", row)

    def add_dead_letter(self, dead_letter: DeadLetter, digest: bytes) -> None:
        rejection_id, original = dead_letter.rejection_id.bytes, dead_letter.original
        row = (rejection_id, *original, dead_letter.timestamp_ms, pickle.dumps(dead_letter), digest)
        self._connection.execute("INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def seal(self) -> None:
        """Index what was added. Nothing can be added afterwards."""
        self._connection.execute("COMMIT")
        self._connection.executescript(_INDEXES)
        self.recreated.find()

    def histories(self, extents: Extents) -> Iterator[History]:
        """One history for each release, and for each event without a release."""
        for (key,) in self._connection.execute(_KEYS):
            yield self._history(key, extents)

    def orphans(self) -> Iterator[DeadLetter | Rejection]:
        """Rejections without a record of their event, and dead letters without their record."""
        for (pickled,) in self._connection.execute(
            "SELECT rejection FROM rejections r WHERE NOT EXISTS (SELECT 1 FROM inputs i WHERE i.event = r.id) "
            "AND NOT EXISTS (SELECT 1 FROM explained e WHERE e.id = r.id) "
            "AND NOT EXISTS (SELECT 1 FROM earlier e WHERE e.kind = ? AND e.event = r.id)",
            (REJECTION,),
        ):
            yield pickle.loads(pickled)
        for (pickled,) in self._connection.execute(
            "SELECT dead_letter FROM dead_letters l WHERE NOT EXISTS (SELECT 1 FROM inputs i WHERE i.topic = l.topic "
            "AND i.partition = l.partition AND i.offset = l.offset AND i.event = l.rejection_id) "
            "AND NOT EXISTS (SELECT 1 FROM explained e WHERE e.id = l.rejection_id) "
            "AND l.rowid NOT IN (SELECT dead_letter FROM earlier_dead_letters)"
        ):
            yield pickle.loads(pickled)

    def shared_numbers(self) -> Iterator[tuple[UUID, UUID]]:
        """Releases whose date, number and component, and a colliding track, another release has too."""
        found = self._connection.execute(
            "SELECT n.key, min(o.key) FROM numbers n JOIN numbers o ON o.number = n.number AND o.key < n.key "
            "GROUP BY n.number, n.key"
        )
        return ((UUID(bytes=key), UUID(bytes=other)) for key, other in found)

    def _history(self, key: bytes, extents: Extents) -> History:
        rows = self._rows(key)
        inputs = tuple(self._inputs(key))
        logged = {activity.id for activity in rows.activities} if rows else set()
        unlogged = {one.id for one in inputs} - logged
        rejections = {id_: found for id_ in {one.id for one in inputs} if (found := self._rejection(id_)) is not None}
        dead_letters = tuple(found for one in inputs if one.id in rejections for found in self._dead_letters(one))
        positions = {one.position for one in inputs}
        return History(
            key=UUID(bytes=key),
            rows=rows,
            inputs=inputs,
            rejections=rejections,
            dead_letters=dead_letters,
            statuses=tuple(self._statuses(key)),
            states=tuple(self._states(key)),
            elsewhere=dict(self._elsewhere(key, unlogged, rejections, positions, extents)),
            rejected_before=dict(self._rejected_before(key, inputs, rejections)),
            corrections={id_: tuple(self._corrections(rejection)) for id_, rejection in rejections.items()},
            trimmed=frozenset(partition for partition, begin in extents.begins.items() if begin > 0),
            numbers_taken=frozenset(self._numbers_taken(key, inputs, rejections, dead_letters)),
            earlier_activities=self.recreated.earlier(ACTIVITY, key),
            earlier_rejections=self.recreated.earlier(REJECTION, key),
        )

    def _rows(self, key: bytes) -> ReleaseRows | None:
        found = self._one("SELECT rows FROM releases WHERE key = ?", key)
        if found is None:
            return None
        release, version, deployments, base_revisions, settled = pickle.loads(found)
        activities = self._connection.execute("SELECT activity FROM activities WHERE key = ?", (key,))
        return ReleaseRows(
            release=release,
            version=version,
            deployments=deployments,
            base_revisions=base_revisions,
            activities=tuple(pickle.loads(activity) for (activity,) in activities),
            settled=settled,
        )

    def _inputs(self, key: bytes) -> Iterator[InputRecord]:
        found = self._connection.execute(
            "SELECT topic, partition, offset, timestamp_ms, record_key, value, headers, unreadable FROM inputs "
            "WHERE key = ? ORDER BY topic, partition, offset",
            (key,),
        )
        for row in found:
            record = _record(*row)
            committed = self._committed.get(Partition(record.topic, record.partition), 0)
            yield InputRecord(message=self._limits.read(record), in_flight=record.offset >= committed)

    def _rejection(self, event: UUID) -> Rejection | None:
        found = self._one("SELECT rejection FROM rejections WHERE id = ?", event.bytes)
        return None if found is None else pickle.loads(found)

    def _dead_letters(self, one: InputRecord) -> Iterator[DeadLetter]:
        found = self._connection.execute(
            "SELECT dead_letter, digest FROM dead_letters WHERE rejection_id = ? AND topic = ? AND partition = ? "
            "AND offset = ? AND rowid NOT IN (SELECT dead_letter FROM earlier_dead_letters)",
            (one.id.bytes, *one.position),
        )
        digests: frozenset[bytes] | None = None
        for pickled, its_digest in found:
            dead_letter: DeadLetter = pickle.loads(pickled)
            if digests is None:
                digests = frozenset(digest(form) for form in contents_of(one.message.record))
            yield replace(dead_letter, matches_record=its_digest in digests)

    def _statuses(self, key: bytes) -> Iterator[StatusRecord]:
        found = self._connection.execute(
            "SELECT status FROM statuses WHERE key = ? ORDER BY topic, partition, offset", (key,)
        )
        for (pickled,) in found:
            yield pickle.loads(pickled)

    def _states(self, key: bytes) -> Iterator[StateRecord]:
        for (pickled,) in self._connection.execute("SELECT state FROM states WHERE key = ?", (key,)):
            yield pickle.loads(pickled)

    def _elsewhere(
        self,
        key: bytes,
        unlogged: Iterable[UUID],
        rejections: Mapping[UUID, Rejection],
        positions: set[RecordPosition],
        extents: Extents,
    ) -> Iterator[tuple[UUID, RecordPosition]]:
        for event in unlogged:
            pickled = self._one("SELECT activity FROM activities WHERE id = ? AND key <> ?", event.bytes, key)
            if pickled is not None and (cause := cause_of(pickle.loads(pickled))) is not None:
                yield event, cause[2]
            elif (
                event in rejections
                and (position := position_of(rejections[event])) not in positions
                and (
                    self.recreated.is_earlier(REJECTION, event)
                    or not extents.readable(position)
                    or self._holds(event, position)
                )
            ):
                yield event, position

    def _rejected_before(
        self, key: bytes, inputs: Iterable[InputRecord], rejections: Mapping[UUID, Rejection]
    ) -> Iterator[tuple[UUID, Rejection]]:
        """Records of two partitions have no order, except that a redrive follows the record that was rejected."""
        for first in {one.id: one for one in reversed(tuple(inputs))}.values():
            if (rejection := rejections.get(first.id)) is None:
                continue
            named = (first.id.bytes, key, *first.position[:2])
            sql = "SELECT topic, partition, offset FROM inputs WHERE event = ? AND key <> ? AND "
            position = self._connection.execute(
                sql + "topic = ? AND partition = ? AND offset < ? ORDER BY offset DESC LIMIT 1",
                (*named, first.position.offset),
            ).fetchone()
            if position is None and first.message.redrive:
                position = self._connection.execute(sql + "(topic <> ? OR partition <> ?) LIMIT 1", named).fetchone()
            if position is not None:
                topic, partition, offset = position
                yield (
                    first.id,
                    replace(rejection, topic=topic, partition=partition, offset=offset, resolved_at=None),
                )

    def _corrections(self, rejection: Rejection) -> Iterator[Correction]:
        found = self._connection.execute(
            "SELECT c.topic, c.partition, c.offset, c.timestamp_ms, a.position, a.activity FROM corrections c "
            "LEFT JOIN activities a ON a.id = c.event WHERE c.rejection = ? AND c.event <> ?",
            (rejection.id.bytes, rejection.id.bytes),
        ).fetchall()
        for topic, partition, offset, timestamp_ms, effect, pickled in found:
            position = RecordPosition(topic, partition, offset)
            cause = None if pickled is None else cause_of(pickle.loads(pickled))
            same_source = cause is not None and rejection.event_source in {None, cause[0]}
            yield Correction(
                position=position,
                resolved_at=time_of_timestamp(timestamp_ms) or _EPOCH,
                effective=effect == str(position) and same_source,
                unseen=offset >= self._committed.get(Partition(topic, partition), 0),
            )

    def _holds(self, event: UUID, position: RecordPosition) -> bool:
        sql = "SELECT 1 FROM inputs WHERE topic = ? AND partition = ? AND offset = ? AND event = ?"
        return self._one(sql, *position, event.bytes) is not None

    def _numbers_taken(
        self,
        key: bytes,
        inputs: Iterable[InputRecord],
        rejections: Mapping[UUID, Rejection],
        dead_letters: Iterable[DeadLetter],
    ) -> Iterator[UUID]:
        conflicts = {id_ for id_, rejection in rejections.items() if rejection.reason == Reason.RELEASE_CONFLICT}
        conflicts |= {one.rejection_id for one in dead_letters if one.reason == Reason.RELEASE_CONFLICT}
        for one in inputs if conflicts else ():
            if one.id in conflicts and (number := _wanted_number(one.message)) is not None:
                sql = "SELECT 1 FROM numbers WHERE number = ? AND key <> ?"
                if self._one(sql, number, key) is not None:
                    yield one.id

    def _one(self, sql: str, *parameters: object) -> Any:
        row = self._connection.execute(sql, parameters).fetchone()
        return None if row is None else row[0]


@contextmanager
def scratch(
    folder: Path | None,
    *,
    committed: Mapping[Partition, int],
    begins: Mapping[Partition, int] = MappingProxyType({}),
    event_bytes_max: int,
    event_ahead_max_seconds: int = EVENT_AHEAD_MAX_SECONDS,
    mapping: ForeignMapping | None = None,
) -> Iterator[Scratch]:
    """A scratch file in a new folder inside `folder` (None: the system's temporary folder), deleted at the end.

    `begins`: the first offset of each partition of the input topics.

    Raises:
        ConfigurationError: the file cannot be created or written.
    """
    try:
        with (
            TemporaryDirectory(prefix="rudder-verify-", dir=folder) as own_folder,
            closing(sqlite3.connect(Path(own_folder) / "scratch.sqlite3", isolation_level=None)) as connection,
        ):
            yield Scratch(
                connection,
                committed=committed,
                begins=begins,
                event_bytes_max=event_bytes_max,
                event_ahead_max_seconds=event_ahead_max_seconds,
                mapping=mapping,
            )
    except sqlite3.OperationalError as error:
        raise ConfigurationError(
            f"the scratch file cannot be written: {error}; choose another folder with --scratch"
        ) from error
    except FileNotFoundError as error:  # what `tempfile` raises where no folder can be written
        raise ConfigurationError(
            f"no temporary folder is writable: {error.strerror}; choose a folder with --scratch"
        ) from error
    except PermissionError as error:
        raise ConfigurationError(
            f"the scratch file cannot be created: {error}; choose another folder with --scratch"
        ) from error


_NUMBER = ("release_date", "release_number", "component_id", "deployment_track_id")


def _number(date: object, number: object, component: object, track: str) -> str:
    """One text for release numbers that collide: confusable tracks are one track, on every database."""
    return f"{date}\n{number}\n{component}\n{confusable_key(track)}"


def _wanted_number(message: Message) -> str | None:
    wanted = message.release_fields
    if wanted is None or isinstance(wanted, DerivedRelease):
        return None
    return _number(*(getattr(wanted, name) for name in _NUMBER))


def _record(
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: str,
    unreadable: bytes | None,
) -> Record:
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_ms,
        key=key,
        value=value,
        headers=tuple((name, raw if raw is None else raw.encode("latin-1")) for name, raw in json.loads(headers)),
        unreadable=None if unreadable is None else pickle.loads(unreadable),
    )
