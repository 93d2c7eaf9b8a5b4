"""An event that others follow: who waits for the first of two things waits for one event that either of them sets."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class LinkedEvent(asyncio.Event):
    """The end of a partition's time with this worker. Two tasks for each wait, of a thousand, would do as well."""

    def __init__(self) -> None:
        super().__init__()
        self._followers: dict[asyncio.Event, None] = {}  # set in the order in which they came

    def set(self) -> None:
        super().set()
        for follower in self._followers:
            follower.set()

    @contextmanager
    def followed_by(self, follower: asyncio.Event) -> Iterator[None]:
        """While it lasts, what sets this sets the follower too."""
        self._followers[follower] = None
        if self.is_set():
            follower.set()
        try:
            yield
        finally:
            del self._followers[follower]
