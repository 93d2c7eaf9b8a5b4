"""Rows and dead letters of an earlier log of a topic: the topic was deleted and created again, with offsets from 0.

They name positions that now hold other records, or none yet. A row does not tell which log it is of, so a topic counts
as recreated only where something contradicts a single log:

- a row, a dead letter or the group's commit beyond the end of its partition, or in a partition that does not exist;
- a row whose position holds another record, while no record of the topics has the row's event;
- a dead letter whose position holds a younger record, or its own event with another timestamp.

Then every row whose event is not at its position is of an earlier log. In other topics such a row is a finding.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from uuid import UUID

from worker.ports import Partition
from worker.rules.message import RecordPosition

TABLES = """
CREATE TABLE named (
    kind TEXT, event BLOB, topic TEXT, partition INT, offset INT, PRIMARY KEY (kind, event, topic, partition, offset)
) WITHOUT ROWID;
CREATE TABLE tombstones (topic TEXT, partition INT, offset INT, PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
CREATE TABLE by_position (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE logs (topic TEXT, partition INT, first INT, beyond INT, PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE recreated (topic TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE earlier (kind TEXT, event BLOB, PRIMARY KEY (kind, event)) WITHOUT ROWID;
CREATE TABLE earlier_dead_letters (dead_letter INTEGER PRIMARY KEY);
"""
"""`named`: the positions that rows name. `by_position`: rejections whose id is derived from a record's position and
timestamp. `logs`: the first offset of each partition, and the one after its last. `earlier`: the events whose row of
that kind is of an earlier log. `earlier_dead_letters`: rowids of `dead_letters`.
"""

ACTIVITY, REJECTION = "activity", "rejection"

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
    AND NOT EXISTS (SELECT 1 FROM by_position i WHERE i.id = n.event)
"""  # noqa: S608
_OTHER = f"""
    (EXISTS (SELECT 1 FROM inputs i WHERE {_AT} AND i.event <> n.event)
     OR EXISTS (SELECT 1 FROM tombstones i WHERE {_AT}))
"""  # noqa: S608
_DEAD_LETTERS = (
    "(SELECT rowid AS dead_letter, rejection_id AS event, topic, partition, offset, timestamp_ms FROM dead_letters)"
)
_REJECTED = "EXISTS (SELECT 1 FROM rejections r WHERE r.id = n.event)"
_REPLACED = f"""
    EXISTS (SELECT 1 FROM inputs i WHERE {_AT} AND (i.timestamp_ms > n.timestamp_ms
        OR (i.event = n.event AND i.timestamp_ms <> n.timestamp_ms)))
"""  # noqa: S608
_FIND = f"""
INSERT OR IGNORE INTO recreated
    SELECT n.topic FROM named n WHERE {_READABLE} AND {_MISPLACED} AND ({_BEYOND} OR ({_OTHER} AND {_UNKNOWN}));
INSERT OR IGNORE INTO recreated
    SELECT n.topic FROM {_DEAD_LETTERS} n WHERE {_READABLE} AND {_REJECTED} AND ({_BEYOND} OR {_REPLACED});
INSERT INTO earlier
    SELECT DISTINCT n.kind, n.event FROM named n
    WHERE n.topic IN (SELECT topic FROM recreated) AND {_READABLE} AND {_MISPLACED};
INSERT INTO earlier_dead_letters
    SELECT n.dead_letter FROM {_DEAD_LETTERS} n
    WHERE n.topic IN (SELECT topic FROM recreated) AND {_READABLE} AND {_REJECTED} AND (({_MISPLACED}) OR {_REPLACED});
INSERT OR IGNORE INTO earlier
    SELECT n.kind, n.event FROM named n WHERE n.kind = '{REJECTION}' AND EXISTS (
        SELECT 1 FROM earlier_dead_letters e JOIN dead_letters i ON i.rowid = e.dead_letter
        WHERE i.rejection_id = n.event AND {_AT});
"""  # noqa: S608


_EARLIER_OF_HISTORY = """
SELECT h.event FROM (SELECT event FROM inputs WHERE key = :key UNION SELECT id FROM activities WHERE key = :key) h
WHERE EXISTS (SELECT 1 FROM earlier e WHERE e.kind = :kind AND e.event = h.event)
"""


class Recreated:
    """Part of the scratch file. Call `find` after all rows were added, and before any other call."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_row(self, kind: str, event: UUID, position: RecordPosition) -> None:
        self._connection.execute("INSERT OR IGNORE INTO named VALUES (?, ?, ?, ?, ?)", (kind, event.bytes, *position))

    def add_rejected_by_position(self, rejection_id: UUID) -> None:
        """A rejection that certainly is of a record of the current log."""
        self._connection.execute("INSERT OR IGNORE INTO by_position VALUES (?)", (rejection_id.bytes,))

    def add_tombstone(self, position: RecordPosition) -> None:
        self._connection.execute("INSERT INTO tombstones VALUES (?, ?, ?)", position)

    def add_logs(
        self, begins: Mapping[Partition, int], ends: Mapping[Partition, int], *, recreated: Iterable[str] = ()
    ) -> None:
        """`begins`: the first offset of each partition of the input topics; `ends`: the one after its last, read after
        the tables. `recreated`: topics that are known to have been created again.
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
        """Events with activities, events with rejections, and dead letters, of earlier logs."""
        sql = "SELECT (SELECT count(*) FROM earlier) + (SELECT count(*) FROM earlier_dead_letters)"
        [count] = self._connection.execute(sql).fetchone()
        return int(count)
