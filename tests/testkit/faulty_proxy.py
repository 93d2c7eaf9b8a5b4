"""A proxy between a client and its server that fails as networks do: slow, silent, half-closed or cut connections.

It keeps TCP's guarantees: a connection that lost bytes never transfers bytes again.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.testkit.forwarding import read_some, write_some
from worker.demo.listener import Listener

_Loses = Callable[[bytes, asyncio.StreamWriter], bool]
"""Whether the bytes are lost before they reach the sink."""


class FaultyProxy:
    """Forwards bytes in both directions until a fault is set. `connections` counts the forwarded connections."""

    def __init__(self, server_port: int, *, seed: int, latency_seconds: float) -> None:
        self._server_port = server_port
        self._dice = random.Random(seed)
        self._links: set[_Link] = set()
        self._unanswered: set[asyncio.StreamWriter] = set()
        self._latency_seconds = self._delay_seconds = latency_seconds
        self._silent = self._refusing = False
        self._answers_to_lose = self._requests_to_lose = 0
        self.port = 0
        self.connections = 0

    @classmethod
    @asynccontextmanager
    async def running(
        cls, server_port: int, *, port: int = 0, seed: int = 0, latency_seconds: float = 0.0
    ) -> "AsyncIterator[FaultyProxy]":
        """Listens on `port` of 127.0.0.1 (0: a free one) and forwards to `server_port`, with a delay of up to
        `latency_seconds`.
        """
        proxy = cls(server_port, seed=seed, latency_seconds=latency_seconds)
        listener = Listener(proxy._serve)
        listener.start("127.0.0.1", port)
        proxy.port = listener.port
        try:
            yield proxy
        finally:
            proxy._refusing = True
            proxy.cut()
            await listener.stop()

    def cut(self) -> None:
        """Aborts every connection on both sides."""
        for link in list(self._links):
            link.abort()
        for writer in self._unanswered:
            writer.transport.abort()

    def half_close(self, *, towards_server: bool) -> None:
        """Closes one direction of every connection: the receiver gets an end of file, the sender gets no notice."""
        for link in self._links:
            link.half_close(towards_server=towards_server)

    def lose_answers(self, count: int) -> None:
        """The server executes the next `count` requests; their responses and connections are lost."""
        self._answers_to_lose += count

    def lose_requests(self, count: int) -> None:
        """The next `count` requests arrive in part or not at all, and their connections are lost."""
        self._requests_to_lose += count

    def forget(self) -> None:
        """Behaves like a rebooted firewall: present connections stay open and transfer no more bytes; new ones work."""
        for link in self._links:
            link.lossy = True

    @contextmanager
    def slow(self, delay_seconds: float) -> Iterator[None]:
        """Delays all bytes by up to `delay_seconds`."""
        self._delay_seconds = delay_seconds
        try:
            yield
        finally:
            self._delay_seconds = self._latency_seconds

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Drops all bytes and the ends of connections without an error, like a firewall that drops packets. New
        connections are accepted and get no response. Connections that lost bytes are cut when the context ends.
        """
        self._silent = True
        try:
            yield
        finally:
            self._silent = False
            for link in list(self._links):
                if link.lossy:
                    link.abort()
            for writer in self._unanswered:
                writer.transport.abort()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Cuts all connections and refuses new ones."""
        self._refusing = True
        self.cut()
        try:
            yield
        finally:
            self._refusing = False

    def heal(self) -> None:
        """Cancels the losses that are still due, and removes all delays."""
        self._latency_seconds = self._delay_seconds = 0.0
        self._answers_to_lose = self._requests_to_lose = 0

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self._refusing:
            to_client.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            if self._silent and not self._refusing:
                await self._leave_unanswered(from_client, to_client)
            to_client.transport.abort()
            return
        if self._refusing:
            for writer in (to_client, to_server):
                writer.transport.abort()
            return
        self.connections += 1
        link = _Link(self, (from_client, to_client), (from_server, to_server))
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    async def _leave_unanswered(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Reads until the client closes or the silence ends."""
        self._unanswered.add(to_client)
        try:
            while await read_some(from_client):
                pass
        finally:
            self._unanswered.discard(to_client)

    def loses_request(self, some: bytes, sink: asyncio.StreamWriter) -> bool:
        """Whether the client's bytes are lost; if so, a part of them arrives."""
        if not self._requests_to_lose:
            return False
        self._requests_to_lose -= 1
        sink.write(some[: self._dice.randrange(len(some))])
        return True

    def loses_answer(self, _some: bytes, _sink: asyncio.StreamWriter) -> bool:
        if not self._answers_to_lose:
            return False
        self._answers_to_lose -= 1
        return True

    @property
    def is_silent(self) -> bool:
        return self._silent

    async def take_time(self) -> None:
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds * self._dice.random())


class _Link:
    """One client's connection, and the connection to the server that belongs to it."""

    def __init__(
        self,
        proxy: FaultyProxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._shut: set[asyncio.StreamWriter] = set()
        self.lossy = False

    async def run(self) -> None:
        """Forwards until both sides have finished or one has closed."""
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(self._from_client, self._to_server, self._proxy.loses_request))
                both.create_task(self._pass(self._from_server, self._to_client, self._proxy.loses_answer))
        finally:
            self.abort()

    def abort(self) -> None:
        for writer in (self._to_client, self._to_server):
            writer.transport.abort()

    def half_close(self, *, towards_server: bool) -> None:
        sink = self._to_server if towards_server else self._to_client
        self._shut.add(sink)
        _finish(sink)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, loses: _Loses) -> None:
        while some := await self._said(source, sink):
            if self._swallows(sink):
                continue
            if loses(some, sink):
                self.abort()
                return
            await write_some(some, sink)
        if not self._swallows(sink):
            _finish(sink)

    async def _said(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> bytes:
        """The bytes to forward; empty once the receiver has closed its connection."""
        some = await read_some(source)
        if some:
            await self._proxy.take_time()
        return b"" if sink.is_closing() and not self._proxy.is_silent else some

    def _swallows(self, sink: asyncio.StreamWriter) -> bool:
        self.lossy |= self._proxy.is_silent
        return self.lossy or sink in self._shut


def _finish(sink: asyncio.StreamWriter) -> None:
    """Send the end of file, and keep receiving."""
    if not sink.transport.is_closing() and sink.can_write_eof():
        try:
            sink.write_eof()
        except OSError:
            sink.transport.abort()  # it is gone already
