"""One partition while this worker has it: what is under way, what may be committed, and when that ends."""

import asyncio

from worker.pipeline.in_flight_budget import Usage
from worker.pipeline.linked_event import LinkedEvent
from worker.pipeline.offsets import OffsetTracker
from worker.ports import Partition


class PartitionState:
    """Given up once, for good: when the partition comes back it is a new assignment with a new tracker."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.ended = LinkedEvent()
        """Set when the partition is given up: nothing more is begun, and no try is repeated."""
        self.usage = Usage()
        self._tracker = OffsetTracker()
        self._held: tuple[int, float] | None = None
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
        """For how long the first record that is not done has been the first, as far as this was asked; 0 if none is."""
        first = self._tracker.first_incomplete
        if first is None:
            self._held = None
            return 0.0
        if self._held is None or self._held[0] != first:
            self._held = first, now_seconds
        return now_seconds - self._held[1]

    @property
    def first_incomplete(self) -> int | None:
        """The offset of the record that holds the commit back."""
        return self._tracker.first_incomplete

    def done(self, offset: int) -> None:
        self._tracker.done(offset)

    def to_commit(self) -> int | None:
        return self._tracker.to_commit()

    def committed(self, offset: int) -> None:
        self._tracker.committed(offset)

    @property
    def running(self) -> int:
        """How many messages are being worked on, rather than queued or waiting for their next try."""
        return self._running

    def enter(self) -> None:
        self._running += 1
        self._idle.clear()

    def leave(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()

    async def drained(self) -> None:
        """Return when nothing of this partition is being worked on."""
        await self._idle.wait()
