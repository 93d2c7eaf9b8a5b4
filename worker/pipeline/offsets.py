"""Which offset of a partition may be committed: the one below which everything is done.

Work finishes in any order; an offset is committed only when no earlier record is still under way. Offsets may have
holes (compaction, transaction markers), so the tracker remembers what was started rather than counting.
"""

from collections import deque


class OffsetTracker:
    """One assignment of one partition. Every call is amortised O(1)."""

    __slots__ = ("_committed", "_next", "_order", "_under_way")

    def __init__(self) -> None:
        self._order: deque[int] = deque()  # started offsets, ascending, from the first that is under way
        self._under_way: set[int] = set()
        self._next: int | None = None  # one above the last record below which all is done
        self._committed: int | None = None

    def start(self, offset: int) -> None:
        """Note a record as under way. Records of a partition start in ascending order.

        Raises:
            ValueError: the offset is not above every one started before.
        """
        if offset < self.next_offset:
            raise ValueError(f"offset {offset} does not ascend")
        self._order.append(offset)
        self._under_way.add(offset)

    def done(self, offset: int) -> None:
        """Note a record's work as acknowledged everywhere.

        Raises:
            ValueError: the offset is not under way.
        """
        if offset not in self._under_way:
            raise ValueError(f"offset {offset} is not under way")
        self._under_way.remove(offset)
        while self._order and self._order[0] not in self._under_way:
            self._next = self._order.popleft() + 1

    def to_commit(self) -> int | None:
        """The next offset to read, as Kafka commits it; None where there is nothing new to commit."""
        return None if self._next == self._committed else self._next

    def committed(self, offset: int) -> None:
        """Note what `to_commit` gave as committed."""
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
    def under_way(self) -> int:
        """How many started records are not done."""
        return len(self._under_way)

    @property
    def first_incomplete(self) -> int | None:
        """The offset of the record that holds the commit back."""
        return self._order[0] if self._order else None
