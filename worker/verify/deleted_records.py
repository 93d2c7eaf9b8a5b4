"""Records that retention deleted: those without a row were perhaps never read.

A decided record has a row, unless it repeats another. Of a deleted record only the row is left.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from worker.ports import Partition
from worker.rules.message import RecordPosition

TABLES = """
CREATE TABLE positions_with_rows (
    topic TEXT, partition INT, offset INT, PRIMARY KEY (topic, partition, offset)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """Deleted records of one partition, both ends included."""

    topic: str
    partition: int
    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    def as_json(self) -> dict[str, object]:
        return {
            "topic": self.topic,
            "partition": self.partition,
            "from": self.first,
            "to": self.last,
            "count": self.count,
        }

    def line(self) -> str:
        where, offsets = f"{self.topic}/{self.partition}", f"offsets {self.first} to {self.last} ({self.count})"
        return f"expired {where}: {offsets} are deleted and have no row; they were never read, or were repeats"


class DeletedRecords:
    """`begins`: the first offset that each partition still has."""

    def __init__(self, connection: sqlite3.Connection, *, begins: Mapping[Partition, int]) -> None:
        self._connection = connection
        self._begins = {at: begin for at, begin in begins.items() if begin > 0}

    def add_row(self, position: RecordPosition) -> None:
        """A row names this record."""
        begin = self._begins.get(Partition(position.topic, position.partition))
        if begin is not None and position.offset < begin:
            self._connection.execute("INSERT OR IGNORE INTO positions_with_rows VALUES (?, ?, ?)", position)

    def unread(self, committed: Mapping[Partition, int]) -> Iterator[Gap]:
        """Records deleted at and after the committed offset."""
        for at, begin in sorted(self._begins.items()):
            commit = committed.get(at)
            if commit is not None and commit < begin:
                yield Gap(*at, first=commit, last=begin - 1)

    def without_rows(self, committed: Mapping[Partition, int]) -> Iterator[Gap]:
        """Gaps between the rows, from a partition's first row on; earlier records may predate the worker."""
        for at, begin in sorted(self._begins.items()):
            end = min(begin, committed.get(at, 0))
            previous: int | None = None
            for offset in chain(self._offsets_with_rows(at), (end,)):
                if previous is not None and offset > previous + 1:
                    yield Gap(*at, first=previous + 1, last=min(offset, end) - 1)
                if offset >= end:
                    break
                previous = offset

    def _offsets_with_rows(self, at: Partition) -> Iterator[int]:
        sql = "SELECT offset FROM positions_with_rows WHERE topic = ? AND partition = ? ORDER BY offset"
        return (offset for (offset,) in self._connection.execute(sql, at))
