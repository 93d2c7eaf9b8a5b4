"""The patience that the embedded broker lacks: a relay in front of it that holds back empty fetch responses.

A Kafka broker answers a fetch that finds nothing after `max_wait_ms`; the embedded one answers at once, and so every
idle consumer asks thousands of times a second and takes a whole core from the work that is to be shown. The relay
knows no more of Kafka's protocol than it needs: frames, the request's header, and whether a fetch brought records.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

import aiokafka.protocol.fetch

BROKER_HOST = "127.0.0.2"
RELAY_HOST = "127.0.0.1"

_HOLD_SECONDS = 0.01
_EMPTY_BYTES_MAX = 4_096
"""A response longer than that holds records, or errors for so many partitions that nobody minds."""

_FETCH = 1
_ADDRESSED = frozenset({3, 10, 60})
"""Metadata, FindCoordinator, DescribeCluster: the responses that name the broker's address."""

_RESPONSES: Mapping[int, Any] = {
    version: getattr(aiokafka.protocol.fetch, f"FetchResponse_v{version}")
    for version in range(12)
    if hasattr(aiokafka.protocol.fetch, f"FetchResponse_v{version}")
}
_SIZE = struct.Struct(">i")
_REQUEST_HEADER = struct.Struct(">hhi")
_RESPONSE_HEADER_BYTES = 4


class LongPollRelay:
    """Listens on `RELAY_HOST` and talks to the broker on `BROKER_HOST`, both at the same port."""

    def __init__(self, *, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, RELAY_HOST, self._port)

    async def stop(self) -> None:
        """Close every connection; they end with their tasks."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
        try:
            broker_reader, broker_writer = await asyncio.open_connection(BROKER_HOST, self._port)
            try:
                await _relay(client_reader, client_writer, broker_reader, broker_writer)
            finally:
                broker_writer.close()
        except (OSError, asyncio.CancelledError):
            pass  # the broker is gone, or the relay stops: the client finds its connection closed
        finally:
            client_writer.close()
            if task is not None:
                self._connections.discard(task)


async def _relay(
    client_reader: asyncio.StreamReader,
    client_writer: asyncio.StreamWriter,
    broker_reader: asyncio.StreamReader,
    broker_writer: asyncio.StreamWriter,
) -> None:
    """Until one side closes. A connection's responses come in the order of its requests; that is how they pair."""
    asked: deque[tuple[int, int]] = deque()

    async def requests() -> None:
        while (frame := await _frame(client_reader)) is not None:
            api, version, _ = _REQUEST_HEADER.unpack_from(frame)
            asked.append((api, version))
            await _send(broker_writer, frame)

    async def responses() -> None:
        while (frame := await _frame(broker_reader)) is not None:
            api, version = asked.popleft()
            if api in _ADDRESSED:
                frame = frame.replace(BROKER_HOST.encode(), RELAY_HOST.encode())
            elif api == _FETCH and _is_empty(frame, version):
                await asyncio.sleep(_HOLD_SECONDS)
            await _send(client_writer, frame)

    ways = [asyncio.ensure_future(requests()), asyncio.ensure_future(responses())]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next frame; None when its sender is gone."""
    try:
        (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
        return await reader.readexactly(size)
    except (OSError, asyncio.IncompleteReadError):
        return None


async def _send(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(_SIZE.pack(len(frame)))
    writer.write(frame)
    await writer.drain()


def _is_empty(frame: bytes, version: int) -> bool:
    """Whether a fetch response brings neither records nor errors; of a version that is not known, never."""
    response_type = _RESPONSES.get(version)
    if response_type is None or len(frame) > _EMPTY_BYTES_MAX:
        return False
    with suppress(ValueError, TypeError, IndexError, struct.error):  # the decoder, on what is no such response
        response = response_type.decode(BytesIO(frame[_RESPONSE_HEADER_BYTES:]))
        return not any(partition[1] or partition[-1] for _, partitions in response.topics for partition in partitions)
    return False
