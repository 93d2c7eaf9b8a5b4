"""The proxy has the faults that a test sets, and forwards every byte without one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.testkit.faulty_proxy import FaultyProxy
from worker.demo.listener import Listener

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Line:
    """A client and its server, with the proxy between them."""

    def __init__(self, proxy: FaultyProxy, client: Streams, server: Streams) -> None:
        self.proxy = proxy
        self.from_server, self.to_server = client
        self.from_client, self.to_client = server

    async def ask(self, words: bytes = b"question") -> None:
        self.to_server.write(words)
        assert await self.from_client.readexactly(len(words)) == words

    async def answer(self, words: bytes = b"answer") -> None:
        self.to_client.write(words)
        assert await self.from_server.readexactly(len(words)) == words


@asynccontextmanager
async def connected(proxy: FaultyProxy, calls: "asyncio.Queue[Streams]") -> AsyncIterator[Line]:
    client = await asyncio.open_connection("127.0.0.1", proxy.port)
    server = await calls.get()
    try:
        yield Line(proxy, client, server)
    finally:
        for _, writer in (client, server):
            writer.transport.abort()


@pytest.fixture
def calls() -> "asyncio.Queue[Streams]":
    """The server's ends of its connections."""
    return asyncio.Queue()


@pytest.fixture
async def proxy(calls: "asyncio.Queue[Streams]") -> AsyncIterator[FaultyProxy]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await calls.put((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with FaultyProxy.running(server.sockets[0].getsockname()[1], seed=1) as running:
        yield running
    server.close()


@pytest.fixture
async def line(proxy: FaultyProxy, calls: "asyncio.Queue[Streams]") -> AsyncIterator[Line]:
    async with connected(proxy, calls) as one:
        yield one


async def ends(reader: asyncio.StreamReader) -> bytes:
    """The bytes that arrive before the connection ends, by an end of file or a reset."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_bytes_pass_through(line: Line) -> None:
    await line.ask()
    await line.answer()
    line.to_server.write_eof()
    assert await line.from_client.read() == b""
    await line.answer(b"one may still answer who only hears no more")


async def test_cut_closes_both_sides(line: Line) -> None:
    await line.ask()
    line.proxy.cut()
    assert await ends(line.from_client) == b""
    assert await ends(line.from_server) == b""


async def test_lost_response_follows_a_received_request(line: Line) -> None:
    line.proxy.lose_answers(1)
    await line.ask()
    line.to_client.write(b"answer")
    assert await ends(line.from_server) == b""
    assert await ends(line.from_client) == b""


async def test_lost_request_never_arrives_whole(line: Line) -> None:
    line.proxy.lose_requests(1)
    line.to_server.write(b"question")
    assert len(await ends(line.from_client)) < len(b"question")
    assert await ends(line.from_server) == b""


async def test_losses_stop_after_their_number_and_after_healing(
    proxy: FaultyProxy, calls: "asyncio.Queue[Streams]"
) -> None:
    proxy.lose_answers(2)
    async with connected(proxy, calls) as first:
        await first.ask()
        first.to_client.write(b"answer")
        assert await ends(first.from_server) == b""
    proxy.heal()
    async with connected(proxy, calls) as second:
        await second.ask()
        await second.answer()


@pytest.mark.parametrize("towards_server", [True, False])
async def test_half_closed_connection_continues(line: Line, towards_server: bool) -> None:
    line.proxy.half_close(towards_server=towards_server)
    closed = line.from_client if towards_server else line.from_server
    assert await closed.read() == b""
    if towards_server:
        await line.answer()
    else:
        await line.ask()


async def test_silence_drops_bytes_and_closes_when_it_ends(proxy: FaultyProxy, calls: "asyncio.Queue[Streams]") -> None:
    async with connected(proxy, calls) as talking, connected(proxy, calls) as idle:
        with proxy.silent():
            talking.to_server.write(b"lost")
            async with connected(proxy, calls) as later:  # a new connection is accepted and gets no response
                later.to_client.write(b"lost")
                while not all(link.lossy for link in proxy._links if link is not _of(proxy, idle)):
                    await asyncio.sleep(0)
        assert await ends(talking.from_client) == b""
        assert await ends(talking.from_server) == b""
        await idle.ask()
        await idle.answer()


def _of(proxy: FaultyProxy, line: Line) -> object:
    """The proxy's object for the line, found by the client's port."""
    port = line.to_server.get_extra_info("sockname")[1]
    return next(link for link in proxy._links if link._to_client.get_extra_info("peername")[1] == port)


async def test_forgotten_connection_stays_open_without_effect(
    proxy: FaultyProxy, calls: "asyncio.Queue[Streams]"
) -> None:
    async with connected(proxy, calls) as before:
        await before.ask()
        proxy.forget()
        before.to_server.write(b"question")
        before.to_client.write(b"answer")
        async with connected(proxy, calls) as after:
            await after.ask()
            await after.answer()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await before.from_client.read()


async def test_refusal_resets_new_and_existing_connections(proxy: FaultyProxy, calls: "asyncio.Queue[Streams]") -> None:
    async with connected(proxy, calls) as before:
        with proxy.refusing():
            assert await ends(before.from_server) == b""
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            assert await ends(reader) == b""
            writer.transport.abort()
        assert proxy.connections == 1
    async with connected(proxy, calls) as after:
        await after.ask()


async def test_delayed_bytes_arrive_in_order(line: Line) -> None:
    with line.proxy.slow(0.02):
        line.to_server.write(b"first ")
        await asyncio.sleep(0)
        line.to_server.write(b"second")
        assert await line.from_client.readexactly(12) == b"first second"


async def test_connection_to_a_missing_server_is_closed() -> None:
    async with FaultyProxy.running(1) as proxy:  # where no server may listen without privileges
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ends(reader) == b""
        writer.transport.abort()
        assert proxy.connections == 0


@pytest.mark.parametrize("passes", range(8))
async def test_end_closes_a_connection_in_any_state(passes: int) -> None:
    """`passes` of the event loop after the client has connected: accepted, connecting to the server, forwarding."""
    server = Listener(_until_the_end)
    server.start("127.0.0.1")
    async with FaultyProxy.running(server.port) as proxy:
        client = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", proxy.port), 10.0)
        for _ in range(passes):
            await asyncio.sleep(0)
    with client, suppress(ConnectionResetError):  # as it was not yet accepted
        assert client.recv(1) == b""
    await server.stop()


async def _until_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await ends(reader)
    writer.close()
