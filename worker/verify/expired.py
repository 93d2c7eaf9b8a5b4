"""Records that retention deleted: which of them no row tells of, so that they were perhaps never read.

A record that was decided has a row, unless it repeats another. Of a deleted one nothing but the row is left.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from worker.ports import Partition
from worker.verify.findings import Place

TABLES = """
CREATE TABLE traces (topic TEXT, partition INT, offset INT, PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
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
        return f"expired {where}: {offsets} are deleted and have no row: passed over unread, or repeats"


class Expired:
    """`begins`: the first offset that each partition still has."""

    def __init__(self, connection: sqlite3.Connection, *, begins: Mapping[Partition, int]) -> None:
        self._connection = connection
        self._begins = {at: begin for at, begin in begins.items() if begin > 0}

    def add_trace(self, place: Place) -> None:
        """A row names this record."""
        begin = self._begins.get(Partition(place.topic, place.partition))
        if begin is not None and place.offset < begin:
            self._connection.execute("INSERT OR IGNORE INTO traces VALUES (?, ?, ?)", place)

    def unread(self, committed: Mapping[Partition, int]) -> Iterator[Gap]:
        """What was deleted beyond the group's commit."""
        for at, begin in sorted(self._begins.items()):
            commit = committed.get(at)
            if commit is not None and commit < begin:
                yield Gap(*at, first=commit, last=begin - 1)

    def untraced(self, committed: Mapping[Partition, int]) -> Iterator[Gap]:
        """Gaps between the rows, from a partition's first row on: before it the worker may not have been there."""
        for at, begin in sorted(self._begins.items()):
            end = min(begin, committed.get(at, 0))
            previous: int | None = None
            for offset in chain(self._traces(at), (end,)):
                if previous is not None and offset > previous + 1:
                    yield Gap(*at, first=previous + 1, last=min(offset, end) - 1)
                if offset >= end:
                    break
                previous = offset

    def _traces(self, at: Partition) -> Iterator[int]:
        sql = "SELECT offset FROM traces WHERE topic = ? AND partition = ? ORDER BY offset"
        return (offset for (offset,) in self._connection.execute(sql, at))
