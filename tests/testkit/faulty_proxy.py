"""Stands between a client and its server, and fails as networks do: slowly, silently, by halves, at the worst moment.

What has been begun stays possible: a connection that lost bytes is never made to look whole again, since TCP would not
do that either.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.testkit.forwarding import read_some, write_some

_Loses = Callable[[bytes, asyncio.StreamWriter], bool]
"""Whether what was said is lost on its way to where it was to go."""


class FaultyProxy:
    """Passes bytes to and fro, until it is told to do worse. `connections` counts those that were let in."""

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
        """On a port of 127.0.0.1 (0: any that is free), before a server on another. What passes takes up to
        `latency_seconds`.
        """
        proxy = cls(server_port, seed=seed, latency_seconds=latency_seconds)
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", port)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            proxy.cut()
            while proxy._links:
                await asyncio.gather(*(link.task for link in proxy._links), return_exceptions=True)

    def cut(self) -> None:
        """Every connection, without a goodbye to either side."""
        for link in list(self._links):
            link.abort()
        for writer in self._unanswered:
            writer.transport.abort()

    def half_close(self, *, towards_server: bool) -> None:
        """One side of every connection hears that the other has finished, and the other does not hear of it."""
        for link in self._links:
            link.half_close(towards_server=towards_server)

    def lose_answers(self, count: int) -> None:
        """The server does what it is asked the next so many times; its answer, and the connection, are lost."""
        self._answers_to_lose += count

    def lose_requests(self, count: int) -> None:
        """The next so many requests arrive in part, or not at all, and their connections are lost."""
        self._requests_to_lose += count

    def forget(self) -> None:
        """Every connection, as a firewall does that has rebooted: it stays, and nothing arrives by it any more. Whoever
        connects anew is served.
        """
        for link in self._links:
            link.lossy = True

    @contextmanager
    def slow(self, delay_seconds: float) -> Iterator[None]:
        """All that is said takes up to so long."""
        self._delay_seconds = delay_seconds
        try:
            yield
        finally:
            self._delay_seconds = self._latency_seconds

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Nothing arrives and nobody is told, as behind a firewall that drops packets; what lost bytes is cut after.
        The end of a connection does not arrive either. New connections are accepted, and have no answer.
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
        """Nobody is let in, and nobody stays."""
        self._refusing = True
        self.cut()
        try:
            yield
        finally:
            self._refusing = False

    def heal(self) -> None:
        """What was to happen next, and has not, will not; all is as quick as it can be."""
        self._latency_seconds = self._delay_seconds = 0.0
        self._answers_to_lose = self._requests_to_lose = 0

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self._refusing:
            to_client.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            if self._silent:
                await self._leave_unanswered(from_client, to_client)
            to_client.transport.abort()
            return
        self.connections += 1
        link = _Link(self, (from_client, to_client), (from_server, to_server))
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    async def _leave_unanswered(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Until the client closes, or the silence ends."""
        self._unanswered.add(to_client)
        try:
            while await read_some(from_client):
                pass
        finally:
            self._unanswered.discard(to_client)

    def loses_request(self, some: bytes, sink: asyncio.StreamWriter) -> bool:
        """Whether what the client said is lost; then it arrives in part."""
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
    """One client's connection, and the one to the server that was made for it."""

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
        task = asyncio.current_task()
        assert task is not None
        self.task = task

    async def run(self) -> None:
        """Until both sides have finished, or one is gone."""
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
        """What is to be passed on; nothing once there is nobody to pass it on to."""
        some = await read_some(source)
        if some:
            await self._proxy.take_time()
        return b"" if sink.is_closing() and not self._proxy.is_silent else some

    def _swallows(self, sink: asyncio.StreamWriter) -> bool:
        self.lossy |= self._proxy.is_silent
        return self.lossy or sink in self._shut


def _finish(sink: asyncio.StreamWriter) -> None:
    """Say that nothing more will come, and go on listening."""
    if not sink.transport.is_closing() and sink.can_write_eof():
        try:
            sink.write_eof()
        except OSError:
            sink.transport.abort()  # it is gone already
