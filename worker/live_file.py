"""A file that a service reads again on request, as at SIGHUP."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from worker.rules.errors import ConfigurationError

_Content = TypeVar("_Content")


class LiveFile(Generic[_Content]):
    """The content as it was read last. A service: `run` reads the file again on request. `read_again`, `refused`: log
    what came of it; a file that is refused changes nothing.
    """

    def __init__(
        self,
        read: Callable[[], _Content],
        *,
        read_again: Callable[[_Content], None],
        refused: Callable[[ConfigurationError], None],
    ) -> None:
        """Reads the file. Raises ConfigurationError, as `read`."""
        self._read = read
        self._read_again = read_again
        self._refused = refused
        self._requested = asyncio.Event()
        self.current = read()

    def request_reload(self) -> None:
        self._requested.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        async with asyncio.TaskGroup() as group:
            reloading = group.create_task(self._reload_when_requested(), name="read the file again")
            await stop.wait()
            reloading.cancel()

    async def _reload_when_requested(self) -> None:
        while True:
            await self._requested.wait()
            self._requested.clear()
            try:
                self.current = await asyncio.to_thread(self._read)
            except ConfigurationError as error:
                self._refused(error)
            else:
                self._read_again(self.current)
