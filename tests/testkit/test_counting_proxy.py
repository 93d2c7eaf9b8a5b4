"""The proxy counts the round trips of a client, whatever the bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Self

import pytest

from tests.testkit.counting_proxy import CountingProxy


class Server:
    """A server whose reads and writes the test controls."""

    def __init__(self) -> None:
        self.clients: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.port = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.clients.put((reader, writer))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    listening = await asyncio.start_server(one.accept, "127.0.0.1", 0)
    one.port = listening.sockets[0].getsockname()[1]
    yield one
    listening.close()


class Link:
    """A client and a server on the two ends of a proxy. The bytes have arrived when `ask` or `answer` returns."""

    def __init__(self, proxy: CountingProxy, server: Server) -> None:
        self._proxy, self._server = proxy, server

    async def __aenter__(self) -> Self:
        self.client = await asyncio.open_connection("127.0.0.1", self._proxy.port)
        self.server = await self._server.clients.get()
        return self

    async def __aexit__(self, *_error: object) -> None:
        for _, writer in (self.client, self.server):
            writer.close()
            with suppress(ConnectionError):  # of a connection that was cut
                await writer.wait_closed()

    async def ask(self, words: bytes) -> None:
        self.client[1].write(words)
        assert await self.server[0].readexactly(len(words)) == words

    async def answer(self, words: bytes) -> None:
        self.server[1].write(words)
        assert await self.client[0].readexactly(len(words)) == words


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_request_and_response_are_one_round_trip(server: Server) -> None:
    """A request or a response in two pieces counts once."""
    async with CountingProxy.running(server.port) as proxy, Link(proxy, server) as link:
        assert proxy.round_trips == 0
        await link.ask(b"sel")
        await link.ask(b"ect")
        assert proxy.round_trips == 1
        await link.answer(b"row ")
        await link.answer(b"row")
        assert proxy.round_trips == 1


async def test_round_trips_are_counted_on_every_connection(server: Server) -> None:
    """Bytes of one connection are no response to another connection's request."""
    async with CountingProxy.running(server.port) as proxy, Link(proxy, server) as one, Link(proxy, server) as other:
        for _ in range(3):
            await one.ask(b"select")
            await other.ask(b"select")
            await one.answer(b"row")
            await other.answer(b"row")
        assert (proxy.round_trips, proxy.connections) == (6, 2)


async def test_closing_by_the_client_reaches_the_server(server: Server) -> None:
    async with CountingProxy.running(server.port) as proxy, Link(proxy, server) as link:
        link.client[1].close()
        assert await link.server[0].read() == b""


async def test_end_of_the_proxy_closes_its_connections(server: Server) -> None:
    """The proxy also closes the connection of a client if it cannot reach the server."""
    async with CountingProxy.running(server.port) as proxy:
        link = await Link(proxy, server).__aenter__()
    assert await link.client[0].read() == b""
    await link.__aexit__()
    async with CountingProxy.running(1) as proxy:  # where no server may listen without privileges
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert proxy.connections == 0


async def test_lost_response_closes_every_connection(server: Server) -> None:
    """The server has read the request and responded; the client gets neither the response nor an end of file."""
    async with CountingProxy.running(server.port) as proxy, Link(proxy, server) as one, Link(proxy, server) as other:
        await one.ask(b"select")
        await one.answer(b"row")
        proxy.cuts_at = proxy.round_trips + 1
        await one.ask(b"commit")
        one.server[1].write(b"committed")
        for link in (one, other):
            assert await is_cut_off(link.client[0])
    async with CountingProxy.running(server.port) as proxy, Link(proxy, server) as link:
        await link.ask(b"select")
        await link.answer(b"row")


async def test_stopped_server_is_reachable_again_after_its_start(server: Server) -> None:
    async with CountingProxy.running(server.port) as proxy:
        proxy.down = True
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await is_cut_off(reader)
        writer.close()
        proxy.down = False
        async with Link(proxy, server) as link:
            await link.ask(b"select")
            await link.answer(b"row")
