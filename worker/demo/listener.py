"""A server of TCP connections that leaves none open when it stops.

`asyncio.start_server` has a gap in Python 3.11 and later: a connection that was accepted in the same pass of the event
loop in which the server is closed gets no transport, is not closed, and its client waits until the next garbage
collection.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable

_BACKLOG = 100

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Runs `serve` in a task for each connection. `port` is 0 until it is started."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    def start(self, host: str, port: int = 0) -> None:
        """Listen on the port (0: a free one). OSError: it is in use."""
        listening = socket.create_server((host, port), backlog=_BACKLOG)
        listening.setblocking(False)  # noqa: FBT003 - its only parameter
        self._socket = listening
        self.port = listening.getsockname()[1]
        asyncio.get_running_loop().add_reader(listening.fileno(), self._accept, listening)

    async def stop(self) -> None:
        """Accept no more, abort every connection, and return when their tasks have ended, as they do then."""
        listening, self._socket = self._socket, None
        if listening is not None:
            asyncio.get_running_loop().remove_reader(listening.fileno())
            listening.close()
        for writer in self._writers:
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client has gone again
        connection.setblocking(False)  # noqa: FBT003 - its only parameter
        task = asyncio.get_running_loop().create_task(self._run(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        if self._socket is None:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
        finally:
            self._writers.discard(writer)
