"""How many connections may be in use at once, and how long one is waited for."""

import asyncio

from worker.rules.errors import Unavailable


class ConnectionLimit:
    """A semaphore over the connections. `database`: its name, for the error message."""

    def __init__(self, *, database: str, connections_max: int, timeout_seconds: float) -> None:
        self._database = database
        self._free = asyncio.Semaphore(connections_max)
        self._timeout_seconds = timeout_seconds
        self._withheld = self._to_withhold = 0

    async def take(self) -> None:
        """Raises Unavailable where none becomes free in time."""
        if not self._free.locked():
            await self._free.acquire()  # at once
            return
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise Unavailable(f"{self._database}: no connection was free for {self._timeout_seconds:g} s") from error

    def give_back(self) -> None:
        if self._to_withhold:
            self._to_withhold -= 1
            self._withheld += 1
        else:
            self._free.release()

    def withhold(self) -> None:
        """The next place that is given back is kept from everybody until `restore`."""
        self._to_withhold += 1

    def restore(self) -> None:
        """All places that were withheld are free again."""
        self._to_withhold = 0
        withheld, self._withheld = self._withheld, 0
        for _ in range(withheld):
            self._free.release()
