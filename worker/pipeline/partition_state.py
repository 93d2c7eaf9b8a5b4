"""The state of one assigned partition: records in flight, committable offset, and the lease's end."""

import asyncio

from worker.pipeline.in_flight_budget import Usage
from worker.pipeline.linked_event import LinkedEvent
from worker.pipeline.offsets import OffsetTracker
from worker.ports import Partition


class PartitionState:
    """Released once: when the partition is assigned again, it gets a new state."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.ended = LinkedEvent()
        """Set when the partition is released: no message is started, and no attempt repeated."""
        self.usage = Usage()
        self._tracker = OffsetTracker()
        self._blocking: tuple[int, float] | None = None
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self, offset: int) -> None:
        self._tracker.start(offset)

    @property
    def next_offset(self) -> int:
        """The lowest offset that may still be started."""
        return self._tracker.next_offset

    @property
    def commit_lag(self) -> int:
        """The number of records from the first incomplete one to the last dispatched one."""
        return self._tracker.commit_lag

    def blocked_seconds(self, now_seconds: float) -> float:
        """Seconds since the first incomplete record was first seen as such by this method; 0 without one."""
        first = self._tracker.first_incomplete
        if first is None:
            self._blocking = None
            return 0.0
        if self._blocking is None or self._blocking[0] != first:
            self._blocking = first, now_seconds
        return now_seconds - self._blocking[1]

    @property
    def first_incomplete(self) -> int | None:
        """The offset of the record that blocks the commit; None: there is none."""
        return self._tracker.first_incomplete

    def complete(self, offset: int) -> None:
        self._tracker.complete(offset)

    def to_commit(self) -> int | None:
        return self._tracker.to_commit()

    def committed(self, offset: int) -> None:
        self._tracker.committed(offset)

    @property
    def running(self) -> int:
        """The number of messages that are processed now, rather than queued or waiting for their next attempt."""
        return self._running

    def enter(self) -> None:
        self._running += 1
        self._idle.clear()

    def leave(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()

    async def drained(self) -> None:
        """Return when no message of this partition is being processed. When one ends, the next may begin at once."""
        while self._running > 0:
            await self._idle.wait()
