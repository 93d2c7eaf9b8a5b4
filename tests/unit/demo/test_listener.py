"""A stopped listener leaves no connection open, whenever it was accepted."""

import asyncio
import socket
from contextlib import suppress

import pytest

from worker.demo.listener import Listener

HOST = "127.0.0.1"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(1_000):
        writer.write(some)
    writer.close()


async def test_connections_are_served() -> None:
    listener = Listener(echo)
    listener.start(HOST)
    streams = [await asyncio.open_connection(HOST, listener.port) for _ in range(3)]
    for reader, writer in streams:
        writer.write(b"question")
        assert await reader.readexactly(8) == b"question"
        writer.close()
    await listener.stop()


@pytest.mark.parametrize("passes", range(6))
async def test_stop_closes_what_was_just_accepted(passes: int) -> None:
    """`passes` of the event loop after the client has connected: before its connection is accepted, and in each step
    from then on.
    """
    listener = Listener(echo)
    listener.start(HOST)
    client = await asyncio.to_thread(socket.create_connection, (HOST, listener.port), 10.0)
    with client:
        for _ in range(passes):
            await asyncio.sleep(0)
        await listener.stop()
        with suppress(ConnectionResetError):  # as it was not yet accepted
            assert client.recv(1) == b""


async def test_stopped_listener_gives_its_port_back() -> None:
    listener = Listener(echo)
    listener.start(HOST)
    await listener.stop()
    again = Listener(echo)
    again.start(HOST, listener.port)
    assert again.port == listener.port
    await again.stop()


async def test_stop_without_a_start_does_nothing() -> None:
    await Listener(echo).stop()
