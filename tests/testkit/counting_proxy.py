"""A proxy that counts the round trips between a client and its server, and fails as networks and servers do.

A round trip begins when the client sends and ends when the server responds. It counts once, whatever the number of
packets, the protocol and the encryption.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.testkit.forwarding import read_some, write_some
from worker.demo.listener import Listener


class CountingProxy:
    """Forwards bytes in both directions. `round_trips` and `connections` count from the start, over all connections.

    `down`: new connections are refused; `turned_away` counts them. `cuts_at`: the round trip whose response is lost,
    together with every connection, after the server has executed the request. `bytes_before_cut`: how much of the
    server's answers is still forwarded before every connection is cut. `heard`: the bytes that clients send while
    `listens` is set.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.round_trips = 0
        self.connections = 0
        self.down = False
        self.turned_away = 0
        self.cuts_at: int | None = None
        self.bytes_before_cut: int | None = None
        self.listens = False
        self.heard = bytearray()

    @classmethod
    @asynccontextmanager
    async def running(cls, server_port: int, *, port: int = 0) -> "AsyncIterator[CountingProxy]":
        """Listens on `port` of 127.0.0.1 (0: a free one), forwards to `server_port`, and ends with all connections."""
        proxy = cls(server_port)
        listener = Listener(proxy._serve)
        listener.start("127.0.0.1", port)
        proxy.port = listener.port
        try:
            yield proxy
        finally:
            proxy.down = True
            proxy._end_in_order()
            await listener.stop()

    def go_down(self) -> None:
        """Behaves like a crashed server: ends every connection and refuses new ones."""
        self.down = True
        self.cut()

    def cut(self) -> None:
        """Aborts every connection on both sides."""
        for writer in list(self._open):
            writer.transport.abort()

    def _end_in_order(self) -> None:
        """Ends every connection; what was forwarded still arrives, as an abort does not promise."""
        for writer in list(self._open):
            writer.close()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self.down:
            self.turned_away += 1
            to_client.transport.abort()
            return
        self._opened(to_client)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            self._closed(to_client)
            return
        self._opened(to_server)
        if self.down:
            self._closed(to_server)
            self._closed(to_client)
            return
        self.connections += 1
        turn = _Turn()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._requests(from_client, to_server, turn))
                both.create_task(self._answers(from_server, to_client, turn))
        finally:
            self._closed(to_server)
            self._closed(to_client)

    async def _requests(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, turn: "_Turn") -> None:
        while some := await read_some(source):
            if self.listens:
                self.heard += some
            if not turn.clients:
                turn.clients = True
                self.round_trips += 1
            await write_some(some, sink)
        sink.close()

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, turn: "_Turn") -> None:
        while some := await read_some(source):
            if self.cuts_at is not None and self.round_trips >= self.cuts_at:
                self.cuts_at = None
                self.cut()
                return
            if self.bytes_before_cut is not None:
                if self.bytes_before_cut < len(some):
                    await write_some(some[: self.bytes_before_cut], sink)
                    self.bytes_before_cut = None
                    self._end_in_order()
                    return
                self.bytes_before_cut -= len(some)
            turn.clients = False  # before the client can receive it and send again
            await write_some(some, sink)
        sink.close()

    def _opened(self, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)

    def _closed(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        self._open.discard(writer)


class _Turn:
    """Whether the client sent last."""

    def __init__(self) -> None:
        self.clients = False
