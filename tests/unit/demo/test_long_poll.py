"""The relay before the embedded broker changes nothing but the broker's address and the haste of empty fetches."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.protocol.fetch import FetchResponse_v4, FetchResponse_v11

from worker.demo import long_poll
from worker.demo.broker import _can_listen, free_port
from worker.demo.long_poll import BROKER_HOST, RELAY_HOST, LongPollRelay

_NO_RECORDS = [("t", [(0, 0, 5, 5, [], b""), (1, 0, 5, 5, [], None)])]
_RECORDS = [("t", [(0, 0, 5, 5, [], b""), (1, 0, 5, 5, [], b"a record batch")])]
_ERROR = [("t", [(0, 3, 5, 5, [], b"")])]


def frame(response: object) -> bytes:
    return b"\0\0\0\7" + response.encode()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(("topics", "empty"), [(_NO_RECORDS, True), (_RECORDS, False), (_ERROR, False)])
def test_only_a_fetch_without_records_and_errors_is_empty(topics: list[object], empty: bool) -> None:
    """What brings something must not be held back, and neither must what a client has to react to."""
    assert long_poll._is_empty(frame(FetchResponse_v4(throttle_time_ms=0, topics=topics)), 4) is empty


def test_empty_fetch_session_is_empty() -> None:
    response = FetchResponse_v11(throttle_time_ms=0, error_code=0, session_id=0, topics=[])
    assert long_poll._is_empty(frame(response), 11)


@pytest.mark.parametrize("version", [4, 12, 17])
def test_unreadable_frame_is_passed_on_at_once(version: int) -> None:
    assert not long_poll._is_empty(b"\0\0\0\7" + b"\xff" * 20, version)


@asynccontextmanager
async def a_broker_that_answers(*answers: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answers each frame it gets with the next of `answers`, then hangs up."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            got.append(await reader.readexactly(size))
            writer.write(struct.pack(">i", len(answer)) + answer)
            await writer.drain()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(serve, BROKER_HOST, port)
    try:
        yield port, got
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.skipif(not _can_listen(BROKER_HOST), reason="this system's loopback network has but one address")
async def test_frames_change_only_the_broker_address() -> None:
    """A client that is told the broker's own address would go round the relay."""
    metadata, produce = (struct.pack(">hhi", api, 1, api) + b"the rest" for api in (3, 0))
    answers = (b"\0\0\0\3 I am 127.0.0.2", b"\0\0\0\0 I quote 127.0.0.2")
    async with a_broker_that_answers(*answers) as (port, got):
        relay = LongPollRelay(port=port)
        await relay.start()
        reader, writer = await asyncio.open_connection(RELAY_HOST, port)
        try:
            for request in (metadata, produce):
                writer.write(struct.pack(">i", len(request)) + request)
            told = await reader.read(-1)  # until the broker hangs up, which must reach the client
        finally:
            writer.close()
            await relay.stop()
    assert got == [metadata, produce]
    expected = (b"\0\0\0\3 I am 127.0.0.1", b"\0\0\0\0 I quote 127.0.0.2")
    assert told == b"".join(struct.pack(">i", len(answer)) + answer for answer in expected)
