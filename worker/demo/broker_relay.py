"""A relay in front of the embedded broker that delays its short fetch responses.

Kafka answers a fetch that finds nothing after `max_wait_ms`. The embedded broker answers at once, so each idle consumer
fetches thousands of times a second and uses a whole core. An empty response is short; a short one with records waits
no longer than the delay.
"""

import asyncio
import struct
from collections import deque
from contextlib import closing

from worker.demo.listener import Listener

BROKER_HOST = "127.0.0.2"
RELAY_HOST = "127.0.0.1"

_DELAY_SECONDS = 0.01
_SHORT_BYTES_MAX = 1_024
_FETCH = 1
_WITH_ADDRESS = frozenset({3, 10, 60})
"""Metadata, FindCoordinator, DescribeCluster: the responses that contain the broker's address."""


class BrokerRelay:
    """Listens on `RELAY_HOST` and connects to the broker on `BROKER_HOST`, both at the same port."""

    def __init__(self, *, port: int) -> None:
        self._port = port
        self._listener = Listener(self._serve)

    def start(self) -> None:
        self._listener.start(RELAY_HOST, self._port)

    async def stop(self) -> None:
        """Close every connection."""
        await self._listener.stop()

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        """Until one side closes. A connection's responses come in the order of its requests."""
        try:
            broker_reader, broker_writer = await asyncio.open_connection(BROKER_HOST, self._port)
            with closing(broker_writer):
                requested: deque[int] = deque()
                async with asyncio.TaskGroup() as both:
                    both.create_task(_requests(client_reader, broker_writer, requested))
                    both.create_task(_responses(broker_reader, client_writer, requested))
        except* (OSError, EOFError):
            pass  # one side has closed its connection; the other is closed as well
        finally:
            client_writer.close()


async def _requests(client: asyncio.StreamReader, broker: asyncio.StreamWriter, requested: deque[int]) -> None:
    while True:
        frame = await _frame(client)
        requested.append(struct.unpack_from(">h", frame)[0])
        await _send(broker, frame)


async def _responses(broker: asyncio.StreamReader, client: asyncio.StreamWriter, requested: deque[int]) -> None:
    while True:
        frame = await _frame(broker)
        api_key = requested.popleft()
        if api_key in _WITH_ADDRESS:
            frame = frame.replace(BROKER_HOST.encode(), RELAY_HOST.encode())
        elif api_key == _FETCH and len(frame) <= _SHORT_BYTES_MAX:
            await asyncio.sleep(_DELAY_SECONDS)
        await _send(client, frame)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)


async def _send(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(struct.pack(">i", len(frame)) + frame)
    await writer.drain()
