"""An event that sets other events: a wait for the first of two events is a wait for one linked event."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class LinkedEvent(asyncio.Event):
    """The end of a partition's lease, for example. It saves two tasks for each of a thousand waits."""

    def __init__(self) -> None:
        super().__init__()
        self._followers: dict[asyncio.Event, None] = {}  # in the order in which they are set

    def set(self) -> None:
        super().set()
        for follower in self._followers:
            follower.set()

    @contextmanager
    def followed_by(self, follower: asyncio.Event) -> Iterator[None]:
        """Within the block, setting this event sets the follower too."""
        self._followers[follower] = None
        if self.is_set():
            follower.set()
        try:
            yield
        finally:
            del self._followers[follower]
