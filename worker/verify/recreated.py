"""Rows and dead letters of a topic's earlier log: the topic was deleted and created again, and its offsets began anew.

They name places at which other records are now, or none yet. Nothing in a row tells the two logs apart, so a topic
counts as recreated only where something is there that one log cannot have:

- a row, a dead letter or the group's commit beyond the end of its partition, or in a partition that is not there;
- a row at whose place another record is, while no record of the topics is the row's event;
- a dead letter at whose place a younger record is, or its own event with another timestamp.

Then every row whose event is not at its place is of an earlier log. In other topics such a row is a fault.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from uuid import UUID

from worker.ports import Partition
from worker.verify.findings import Place

TABLES = """
CREATE TABLE named (
    kind TEXT, event BLOB, topic TEXT, partition INT, offset INT, PRIMARY KEY (kind, event, topic, partition, offset)
) WITHOUT ROWID;
CREATE TABLE tombstones (topic TEXT, partition INT, offset INT, PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
CREATE TABLE unnamed (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE logs (topic TEXT, partition INT, first INT, beyond INT, PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE recreated (topic TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE earlier (kind TEXT, event BLOB, PRIMARY KEY (kind, event)) WITHOUT ROWID;
CREATE TABLE earlier_letters (letter INTEGER PRIMARY KEY);
"""
"""`named`: the places that rows name. `unnamed`: rejections that have their id from a record's place and timestamp.
`logs`: the first offset of each partition, and the one after its last. `earlier`: the events whose row of that kind is
of an earlier log. `earlier_letters`: the rowids of `letters`.
"""

ENTRY, REJECTION = "entry", "rejection"

_READABLE = """
    n.topic IN (SELECT topic FROM logs) AND NOT EXISTS (
        SELECT 1 FROM logs l WHERE l.topic = n.topic AND l.partition = n.partition AND n.offset < l.first)
"""
_BEYOND = """
    NOT EXISTS (SELECT 1 FROM logs l WHERE l.topic = n.topic AND l.partition = n.partition AND n.offset < l.beyond)
"""
_AT = "i.topic = n.topic AND i.partition = n.partition AND i.offset = n.offset"
_UNKNOWN = "NOT EXISTS (SELECT 1 FROM inputs i WHERE i.event = n.event)"
_MISPLACED = f"""
    NOT EXISTS (SELECT 1 FROM inputs i WHERE {_AT} AND i.event = n.event)
    AND NOT EXISTS (SELECT 1 FROM explained i WHERE i.id = n.event)
    AND NOT EXISTS (SELECT 1 FROM unnamed i WHERE i.id = n.event)
"""  # noqa: S608
_OTHER = f"""
    (EXISTS (SELECT 1 FROM inputs i WHERE {_AT} AND i.event <> n.event)
     OR EXISTS (SELECT 1 FROM tombstones i WHERE {_AT}))
"""  # noqa: S608
_LETTERS = "(SELECT rowid AS letter, rejection_id AS event, topic, partition, offset, timestamp_ms FROM letters)"
_REJECTED = "EXISTS (SELECT 1 FROM rejections r WHERE r.id = n.event)"
_REPLACED = f"""
    EXISTS (SELECT 1 FROM inputs i WHERE {_AT} AND (i.timestamp_ms > n.timestamp_ms
        OR (i.event = n.event AND i.timestamp_ms <> n.timestamp_ms)))
"""  # noqa: S608
_FIND = f"""
INSERT OR IGNORE INTO recreated
    SELECT n.topic FROM named n WHERE {_READABLE} AND {_MISPLACED} AND ({_BEYOND} OR ({_OTHER} AND {_UNKNOWN}));
INSERT OR IGNORE INTO recreated
    SELECT n.topic FROM {_LETTERS} n WHERE {_READABLE} AND {_REJECTED} AND ({_BEYOND} OR {_REPLACED});
INSERT INTO earlier
    SELECT DISTINCT n.kind, n.event FROM named n
    WHERE n.topic IN (SELECT topic FROM recreated) AND {_READABLE} AND {_MISPLACED};
INSERT INTO earlier_letters
    SELECT n.letter FROM {_LETTERS} n
    WHERE n.topic IN (SELECT topic FROM recreated) AND {_READABLE} AND {_REJECTED} AND (({_MISPLACED}) OR {_REPLACED});
INSERT OR IGNORE INTO earlier
    SELECT n.kind, n.event FROM named n WHERE n.kind = '{REJECTION}' AND EXISTS (
        SELECT 1 FROM earlier_letters e JOIN letters i ON i.rowid = e.letter WHERE i.rejection_id = n.event AND {_AT});
"""  # noqa: S608


_EARLIER_OF_HISTORY = """
SELECT h.event FROM (SELECT event FROM inputs WHERE key = :key UNION SELECT id FROM entries WHERE key = :key) h
WHERE EXISTS (SELECT 1 FROM earlier e WHERE e.kind = :kind AND e.event = h.event)
"""


class Recreated:
    """Filled first, then `find`, then asked."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_row(self, kind: str, event: UUID, place: Place) -> None:
        self._connection.execute("INSERT OR IGNORE INTO named VALUES (?, ?, ?, ?, ?)", (kind, event.bytes, *place))

    def add_unnamed(self, rejection_id: UUID) -> None:
        """A rejection that is certain to be of a record of this log."""
        self._connection.execute("INSERT OR IGNORE INTO unnamed VALUES (?)", (rejection_id.bytes,))

    def add_tombstone(self, place: Place) -> None:
        self._connection.execute("INSERT INTO tombstones VALUES (?, ?, ?)", place)

    def add_logs(
        self, begins: Mapping[Partition, int], ends: Mapping[Partition, int], *, recreated: Iterable[str] = ()
    ) -> None:
        """`begins`: the first offset of each partition of the input topics; `ends`: the one after its last, as they
        were after the tables were read. `recreated`: topics that are known to have been created again.
        """
        rows = [(*at, begin, ends.get(at, begin)) for at, begin in begins.items()]
        self._connection.executemany("INSERT INTO logs VALUES (?, ?, ?, ?)", rows)
        self._connection.executemany("INSERT INTO recreated VALUES (?)", [(topic,) for topic in recreated])

    def find(self) -> None:
        self._connection.executescript(_FIND)

    def is_earlier(self, kind: str, event: UUID) -> bool:
        """Whether the event's row of this kind is of an earlier log of its topic."""
        sql = "SELECT 1 FROM earlier WHERE kind = ? AND event = ?"
        return self._connection.execute(sql, (kind, event.bytes)).fetchone() is not None

    def earlier(self, kind: str, key: bytes) -> frozenset[UUID]:
        """The events of one history whose row of this kind is of an earlier log."""
        found = self._connection.execute(_EARLIER_OF_HISTORY, {"kind": kind, "key": key})
        return frozenset(UUID(bytes=event) for (event,) in found)

    def count(self) -> int:
        """Events with rows of earlier logs, once for the activity log and once for the rejections, and dead letters."""
        sql = "SELECT (SELECT count(*) FROM earlier) + (SELECT count(*) FROM earlier_letters)"
        [count] = self._connection.execute(sql).fetchone()
        return int(count)
