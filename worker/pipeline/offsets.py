"""The committable offset of a partition: the one below which all records are completed.

Records complete in any order; an offset is committed only if no earlier record is in flight. Offsets may have gaps
(compaction, transaction markers), so the tracker keeps the started offsets instead of counting.
"""

from collections import deque


class OffsetTracker:
    """Tracks one lease of one partition. Every call is amortised O(1)."""

    __slots__ = ("_committed", "_in_flight", "_next", "_order")

    def __init__(self) -> None:
        self._order: deque[int] = deque()  # started offsets, ascending, from the first incomplete one
        self._in_flight: set[int] = set()
        self._next: int | None = None  # one above the last completed record without an incomplete one below
        self._committed: int | None = None

    def start(self, offset: int) -> None:
        """Add a record in flight. Records of a partition start in ascending order.

        Raises:
            ValueError: the offset is not above every one started before.
        """
        if offset < self.next_offset:
            raise ValueError(f"offset {offset} does not ascend")
        self._order.append(offset)
        self._in_flight.add(offset)

    def complete(self, offset: int) -> None:
        """Mark a record as completed: its transaction is committed, and its published records are acknowledged.

        Raises:
            ValueError: the offset is not in flight.
        """
        if offset not in self._in_flight:
            raise ValueError(f"offset {offset} is not in flight")
        self._in_flight.remove(offset)
        while self._order and self._order[0] not in self._in_flight:
            self._next = self._order.popleft() + 1

    def to_commit(self) -> int | None:
        """The offset to commit, which is the next one to read; None: nothing new to commit."""
        return None if self._next == self._committed else self._next

    def committed(self, offset: int) -> None:
        """Mark the result of `to_commit` as committed."""
        self._committed = offset

    @property
    def next_offset(self) -> int:
        """The lowest offset that may still be started."""
        return self._order[-1] + 1 if self._order else self._next or 0

    @property
    def commit_lag(self) -> int:
        """The number of records from the first incomplete one to the last started one. Memory grows with it."""
        return len(self._order)

    @property
    def in_flight(self) -> int:
        """The number of started, incomplete records."""
        return len(self._in_flight)

    @property
    def first_incomplete(self) -> int | None:
        """The offset of the record that blocks the commit; None: there is none."""
        return self._order[0] if self._order else None
