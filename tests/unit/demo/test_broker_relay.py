"""The relay changes nothing but the broker's address and the time of short fetch responses."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from worker.demo.broker import _can_listen, free_port
from worker.demo.broker_relay import BROKER_HOST, RELAY_HOST, BrokerRelay

pytestmark = pytest.mark.skipif(not _can_listen(BROKER_HOST), reason="the loopback network has only one address")
FETCH, METADATA, PRODUCE = 1, 3, 0


@asynccontextmanager
async def broker_with(*responses: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answers each request with the next of `responses`, then closes the connection."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for response in responses:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            requests.append(await reader.readexactly(size))
            writer.write(framed(response))
            await writer.drain()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(serve, BROKER_HOST, port)
    try:
        yield port, requests
    finally:
        server.close()
        await server.wait_closed()


def framed(frame: bytes) -> bytes:
    return struct.pack(">i", len(frame)) + frame


async def test_frames_pass_with_the_relays_address() -> None:
    """A client that was given the broker's own address would bypass the relay."""
    sent = [struct.pack(">hhi", api, 1, api) + b"the rest" for api in (METADATA, PRODUCE, FETCH, FETCH)]
    long = b"\0\0\0\1" + b"records" * 1_000
    responses = (b"\0\0\0\3 at 127.0.0.2", b"\0\0\0\0 quotes 127.0.0.2", b"\0\0\0\1 empty", long)
    async with broker_with(*responses) as (port, received):
        relay = BrokerRelay(port=port)
        relay.start()
        reader, writer = await asyncio.open_connection(RELAY_HOST, port)
        try:
            writer.writelines(map(framed, sent))
            got = await reader.read(-1)  # until the broker closes its connection
        finally:
            writer.close()
            await relay.stop()
    assert received == sent
    assert got == b"".join(map(framed, (b"\0\0\0\3 at 127.0.0.1", *responses[1:])))


async def test_connection_without_a_broker_is_closed() -> None:
    relay = BrokerRelay(port=free_port())
    relay.start()
    reader, writer = await asyncio.open_connection(*_address(relay))
    assert await reader.read(-1) == b""
    writer.close()
    await relay.stop()


async def test_stopped_relay_closes_its_connections() -> None:
    async with broker_with(b"\0\0\0\0", b"\0\0\0\0") as (port, received):
        relay = BrokerRelay(port=port)
        relay.start()
        reader, writer = await asyncio.open_connection(RELAY_HOST, port)
        writer.write(framed(struct.pack(">hhi", PRODUCE, 1, 0)))
        await reader.readexactly(8)
        await relay.stop()
        assert await reader.read(-1) == b""
        writer.close()
    assert len(received) == 1


def _address(relay: BrokerRelay) -> tuple[str, int]:
    return RELAY_HOST, relay._port
