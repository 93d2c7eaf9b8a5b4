"""Where all that was read waits, sorted by release: a SQLite file in a folder of its own, deleted afterwards.

Topics come by partition and offset, tables by id; a history needs all of one release. The file joins them, so that
memory holds one release at a time. It has about 3 KB an event, and nobody but this process reads or writes it.
"""

import json
import pickle
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any
from uuid import UUID

from schemas.confusables import confusable_key
from schemas.decode import EVENT_AHEAD_MAX_SECONDS
from schemas.event import Event
from schemas.incoming import DeploymentChange, ReleaseCreated
from schemas.reasons import Reason
from schemas.record import Record
from worker.pipeline.dead_letter import Content, contents_of
from worker.ports import Partition
from worker.rules.errors import ConfigurationError
from worker.rules.identity import activity_id, entry_ids
from worker.rules.message import Message
from worker.rules.rows import Activity, Rejection
from worker.stored_rows import ReleaseRows
from worker.verify import expired, past_limits, recreated
from worker.verify.expired import Expired
from worker.verify.findings import Place
from worker.verify.history import Extents, History, Input, Letter, Status, cause_of, place_of
from worker.verify.past_limits import PastLimits
from worker.verify.pointer_scratch import PointingScratch
from worker.verify.recreated import ENTRY, REJECTION, Recreated

# ruff: noqa: S301 - what is unpickled was pickled by this process, in a folder that is its user's alone

_CACHE_KIB = 32 * 1024

_TABLES = """
CREATE TABLE releases (key BLOB PRIMARY KEY, rows BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE numbers (number TEXT NOT NULL, key BLOB NOT NULL, PRIMARY KEY (number, key)) WITHOUT ROWID;
CREATE TABLE entries (id BLOB PRIMARY KEY, key BLOB NOT NULL, place TEXT, entry BLOB NOT NULL);
CREATE TABLE rejections (id BLOB PRIMARY KEY, rejection BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE inputs (
    topic TEXT, partition INT, offset INT, key BLOB NOT NULL, event BLOB NOT NULL,
    timestamp_ms INT, record_key BLOB, value BLOB, headers TEXT NOT NULL, unreadable BLOB,
    PRIMARY KEY (topic, partition, offset)
);
CREATE TABLE statuses (key BLOB NOT NULL, topic TEXT, partition INT, offset INT, status BLOB NOT NULL);
CREATE TABLE letters (
    rejection_id BLOB NOT NULL, topic TEXT, partition INT, offset INT, timestamp_ms INT, letter BLOB, digest BLOB
);
"""
_INDEXES = """
CREATE INDEX entries_key ON entries (key);
CREATE INDEX inputs_key ON inputs (key, topic, partition, offset);
CREATE INDEX inputs_event ON inputs (event, topic, partition, offset);
CREATE INDEX statuses_key ON statuses (key, topic, partition, offset);
CREATE INDEX letters_rejection_id ON letters (rejection_id);
"""
_KEYS = "SELECT key FROM inputs UNION SELECT key FROM releases UNION SELECT key FROM statuses"


class Scratch:
    """Filled first, in any order; then `seal`, then asked."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        committed: Mapping[Partition, int],
        begins: Mapping[Partition, int],
        event_bytes_max: int,
        event_ahead_max_seconds: int,
    ) -> None:
        self._connection = connection
        self._committed = committed
        self._limits = PastLimits(
            connection, event_bytes_max=event_bytes_max, event_ahead_max_seconds=event_ahead_max_seconds
        )
        self.expired = Expired(connection, begins=begins)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}", "temp_store = FILE"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(_TABLES + past_limits.TABLES + expired.TABLES + recreated.TABLES)
        self.recreated = Recreated(connection)
        self.pointing = PointingScratch(connection)
        connection.execute("BEGIN")

    def add_release(self, rows: ReleaseRows) -> None:
        release_id: UUID = rows.release["id"]
        key = release_id.bytes
        for activity in rows.activities:
            cause = cause_of(activity)
            place = None if cause is None else cause[2]
            row = (activity.id.bytes, key, place and str(place), pickle.dumps(activity))
            self._connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)
            if cause is not None:
                self.expired.add_trace(cause[2])
                self._add_named_by_entry(activity, *cause)
        rest = (rows.release, rows.deployments, rows.base_revisions, rows.settled)
        self._connection.execute("INSERT INTO releases VALUES (?, ?)", (key, pickle.dumps(rest)))
        self.pointing.add_release(rows)
        number = _number(*(rows.release[name] for name in _NUMBER))
        self._connection.execute("INSERT INTO numbers VALUES (?, ?)", (number, key))

    def add_rejection(self, rejection: Rejection) -> None:
        row = (rejection.id.bytes, pickle.dumps(rejection))
        self._connection.execute("INSERT INTO rejections VALUES (?, ?)", row)
        place = place_of(rejection)
        at = (*place, rejection.id.bytes, rejection.reason, rejection.detail)
        self._connection.execute("INSERT INTO rejected_at VALUES (?, ?, ?, ?, ?, ?)", at)
        self.expired.add_trace(place)
        source, event_id = rejection.event_source, rejection.event_id
        # A row whose id does not follow from its event was edited.
        if source is None or event_id is None or rejection.id == activity_id(source=source, event_id=event_id):
            self.recreated.add_row(REJECTION, rejection.id, place)

    def _add_named_by_entry(self, activity: Activity, source: str, event_id: str, place: Place) -> None:
        if activity.id in entry_ids(source=source, event_id=event_id):  # as above
            self.recreated.add_row(ENTRY, activity_id(source=source, event_id=event_id), place)

    def is_rejected(self, record: Record) -> bool:
        """Whether this very record was rejected."""
        return self._limits.is_rejected(record)

    def add_input(self, record: Record) -> None:
        message = self._limits.read(record)
        for explained in self._limits.explained(record, message):
            self._connection.execute("INSERT OR IGNORE INTO explained VALUES (?)", (explained.bytes,))
        if (unnamed := self._limits.unnamed(record)) is not None:
            self.recreated.add_unnamed(unnamed)
        place = (record.topic, record.partition, record.offset)
        row = (message.ordering_key.bytes, message.id.bytes, record.timestamp_ms, record.key, record.value)
        headers = json.dumps([(name, raw if raw is None else raw.decode("latin-1")) for name, raw in record.headers])
        unreadable = None if record.unreadable is None else pickle.dumps(record.unreadable)
        self._connection.execute(
            "INSERT INTO inputs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*place, *row, headers, unreadable)
        )

    def add_status(self, release_id: UUID, status: Status) -> None:
        row = (release_id.bytes, *status.place, pickle.dumps(status))
        self._connection.execute("INSERT INTO statuses VALUES (?, ?, ?, ?, ?)", row)

    def add_letter(self, letter: Letter, digest: bytes) -> None:
        row = (letter.rejection_id.bytes, *letter.of, letter.timestamp_ms, pickle.dumps(letter), digest)
        self._connection.execute("INSERT INTO letters VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def seal(self) -> None:
        """Nothing is added any more."""
        self._connection.execute("COMMIT")
        self._connection.executescript(_INDEXES)
        self.recreated.find()

    def histories(self, extents: Extents) -> Iterator[History]:
        """Each release, and each event of none, once."""
        for (key,) in self._connection.execute(_KEYS):
            yield self._history(key, extents)

    def orphans(self) -> Iterator[Letter | Rejection]:
        """Rejections of events of which no record was read, and dead letters that belong to no such record."""
        for (pickled,) in self._connection.execute(
            "SELECT rejection FROM rejections r WHERE NOT EXISTS (SELECT 1 FROM inputs i WHERE i.event = r.id) "
            "AND NOT EXISTS (SELECT 1 FROM explained e WHERE e.id = r.id) "
            "AND NOT EXISTS (SELECT 1 FROM earlier e WHERE e.kind = ? AND e.event = r.id)",
            (REJECTION,),
        ):
            yield pickle.loads(pickled)
        for (pickled,) in self._connection.execute(
            "SELECT letter FROM letters l WHERE NOT EXISTS (SELECT 1 FROM inputs i WHERE i.topic = l.topic "
            "AND i.partition = l.partition AND i.offset = l.offset AND i.event = l.rejection_id) "
            "AND NOT EXISTS (SELECT 1 FROM explained e WHERE e.id = l.rejection_id) "
            "AND l.rowid NOT IN (SELECT letter FROM earlier_letters)"
        ):
            yield pickle.loads(pickled)

    def _history(self, key: bytes, extents: Extents) -> History:
        rows = self._rows(key)
        inputs = tuple(self._inputs(key))
        logged = {activity.id for activity in rows.activities} if rows else set()
        unlogged = {one.id for one in inputs} - logged
        rejections = {id_: found for id_ in {one.id for one in inputs} if (found := self._rejection(id_)) is not None}
        letters = tuple(letter for one in inputs if one.id in rejections for letter in self._letters(one))
        places = {one.place for one in inputs}
        return History(
            key=UUID(bytes=key),
            rows=rows,
            inputs=inputs,
            rejections=rejections,
            letters=letters,
            statuses=tuple(self._statuses(key)),
            elsewhere=dict(self._elsewhere(key, unlogged, rejections, places, extents)),
            rejected_before=dict(self._rejected_before(key, inputs, rejections)),
            numbers_taken=frozenset(self._numbers_taken(key, inputs, rejections, letters)),
            earlier_entries=self.recreated.earlier(ENTRY, key),
            earlier_rejections=self.recreated.earlier(REJECTION, key),
        )

    def _rows(self, key: bytes) -> ReleaseRows | None:
        found = self._one("SELECT rows FROM releases WHERE key = ?", key)
        if found is None:
            return None
        release, deployments, base_revisions, settled = pickle.loads(found)
        activities = self._connection.execute("SELECT entry FROM entries WHERE key = ?", (key,))
        return ReleaseRows(
            release=release,
            deployments=deployments,
            base_revisions=base_revisions,
            activities=tuple(pickle.loads(activity) for (activity,) in activities),
            settled=settled,
        )

    def _inputs(self, key: bytes) -> Iterator[Input]:
        found = self._connection.execute(
            "SELECT topic, partition, offset, timestamp_ms, record_key, value, headers, unreadable FROM inputs "
            "WHERE key = ? ORDER BY topic, partition, offset",
            (key,),
        )
        for row in found:
            record = _record(*row)
            committed = self._committed.get(Partition(record.topic, record.partition), 0)
            yield Input(message=self._limits.read(record), in_flight=record.offset >= committed)

    def _rejection(self, event: UUID) -> Rejection | None:
        found = self._one("SELECT rejection FROM rejections WHERE id = ?", event.bytes)
        return None if found is None else pickle.loads(found)

    def _letters(self, one: Input) -> Iterator[Letter]:
        found = self._connection.execute(
            "SELECT letter, digest FROM letters WHERE rejection_id = ? AND topic = ? AND partition = ? AND offset = ? "
            "AND rowid NOT IN (SELECT letter FROM earlier_letters)",
            (one.id.bytes, *one.place),
        )
        digests: frozenset[bytes] | None = None
        for pickled, its_digest in found:
            letter: Letter = pickle.loads(pickled)
            if digests is None:
                digests = frozenset(digest(form) for form in contents_of(one.message.record))
            yield replace(letter, same=its_digest in digests)

    def _statuses(self, key: bytes) -> Iterator[Status]:
        found = self._connection.execute(
            "SELECT status FROM statuses WHERE key = ? ORDER BY topic, partition, offset", (key,)
        )
        for (pickled,) in found:
            yield pickle.loads(pickled)

    def _elsewhere(
        self,
        key: bytes,
        unlogged: Iterable[UUID],
        rejections: Mapping[UUID, Rejection],
        places: set[Place],
        extents: Extents,
    ) -> Iterator[tuple[UUID, Place]]:
        for event in unlogged:
            pickled = self._one("SELECT entry FROM entries WHERE id = ? AND key <> ?", event.bytes, key)
            if pickled is not None and (cause := cause_of(pickle.loads(pickled))) is not None:
                yield event, cause[2]
            elif (
                event in rejections
                and (place := place_of(rejections[event])) not in places
                and (
                    self.recreated.is_earlier(REJECTION, event)
                    or not extents.readable(place)
                    or self._holds(event, place)
                )
            ):
                yield event, place

    def _rejected_before(
        self, key: bytes, inputs: Iterable[Input], rejections: Mapping[UUID, Rejection]
    ) -> Iterator[tuple[UUID, Rejection]]:
        """Of two partitions nobody can tell which came first; but a redrive comes after something."""
        for first in {one.id: one for one in reversed(tuple(inputs))}.values():
            if (rejection := rejections.get(first.id)) is None:
                continue
            named = (first.id.bytes, key, *first.place[:2])
            sql = "SELECT topic, partition, offset FROM inputs WHERE event = ? AND key <> ? AND "
            place = self._connection.execute(
                sql + "topic = ? AND partition = ? AND offset < ? ORDER BY offset DESC LIMIT 1",
                (*named, first.place.offset),
            ).fetchone()
            if place is None and first.message.redrive:
                place = self._connection.execute(sql + "(topic <> ? OR partition <> ?) LIMIT 1", named).fetchone()
            if place is not None:
                topic, partition, offset = place
                yield (
                    first.id,
                    replace(rejection, topic=topic, partition=partition, offset=offset, resolved_at=None),
                )

    def _holds(self, event: UUID, place: Place) -> bool:
        sql = "SELECT 1 FROM inputs WHERE topic = ? AND partition = ? AND offset = ? AND event = ?"
        return self._one(sql, *place, event.bytes) is not None

    def _numbers_taken(
        self, key: bytes, inputs: Iterable[Input], rejections: Mapping[UUID, Rejection], letters: Iterable[Letter]
    ) -> Iterator[UUID]:
        conflicts = {id_ for id_, rejection in rejections.items() if rejection.reason == Reason.RELEASE_CONFLICT}
        conflicts |= {letter.rejection_id for letter in letters if letter.reason == Reason.RELEASE_CONFLICT}
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
) -> Iterator[Scratch]:
    """A scratch file in a new folder of `folder` (None: where temporary files go), which is deleted at the end.

    `begins`: the first offset of each partition of the input topics.

    Raises:
        ConfigurationError: the file cannot be made, or not be written to its end.
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
            )
    except sqlite3.OperationalError as error:
        raise ConfigurationError(
            f"the scratch file cannot be written: {error}; --scratch names another folder"
        ) from error
    except FileNotFoundError as error:  # what `tempfile` raises where no folder can be written
        raise ConfigurationError(f"no folder for a scratch file: {error.strerror}; --scratch names one") from error
    except PermissionError as error:
        raise ConfigurationError(f"the scratch file cannot be made: {error}; --scratch names another folder") from error


def digest(content: Content) -> bytes:
    """Of all that a dead letter repeats of its record, or says that it leaves out."""
    parts = (content.key, content.value, tuple(content.headers), tuple(content.omissions))
    return blake2b(repr(parts).encode(), digest_size=16).digest()


_NUMBER = ("release_date", "release_number", "component_id", "deployment_track_id")


def _number(date: object, number: object, component: object, track: str) -> str:
    """One text for all that are taken for the same; a track that is alike is one to the worker, on every database."""
    return f"{date}\n{number}\n{component}\n{confusable_key(track)}"


def _wanted_number(message: Message) -> str | None:
    data = message.content.data if isinstance(message.content, Event) else None
    block = data if isinstance(data, ReleaseCreated) else data.release if isinstance(data, DeploymentChange) else None
    return None if block is None else _number(*(getattr(block, name) for name in _NUMBER))


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
