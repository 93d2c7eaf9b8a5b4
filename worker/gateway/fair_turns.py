"""Turns of processor time, by group: only a few requests are examined in one iteration of the event loop, and groups
with waiting requests take turns. A thousand requests of one key at once delay those of another by a few, not by all.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

TURNS_MAX: Final = 8
"""In one iteration of the event loop; an event takes about 0.2 ms."""


class FairTurns:
    """Requests of one group have their turns in the order of their arrival."""

    def __init__(self, turns_max: int = TURNS_MAX) -> None:
        self._free = turns_max
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, group: str) -> AsyncIterator[None]:
        """Around work without an `await`; the turn ends one iteration of the event loop later."""
        await self._take(group)
        try:
            try:
                yield
            finally:
                await asyncio.sleep(0)
        finally:
            self._give()

    async def _take(self, group: str) -> None:
        if self._free:
            self._free -= 1
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(group, deque()).append(granted)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._give()
            raise

    def _give(self) -> None:
        while self._waiting:
            group, queue = self._waiting.popitem(last=False)
            granted = queue.popleft()
            if queue:
                self._waiting[group] = queue  # behind all other groups
            if not granted.done():  # cancelled
                granted.set_result(None)
                return
        self._free += 1
