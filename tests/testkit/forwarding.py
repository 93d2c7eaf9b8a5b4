"""Read bytes from one stream and write them to another: what every proxy does."""

import asyncio

_BYTES_MAX = 65_536


async def read_some(source: asyncio.StreamReader) -> bytes:
    """The next bytes; empty at the end of the stream and after a reset."""
    try:
        return await source.read(_BYTES_MAX)
    except OSError:
        return b""


async def write_some(some: bytes, sink: asyncio.StreamWriter) -> None:
    """Return when the buffer has space. A closed connection is noticed by the reader of the other direction."""
    try:
        sink.write(some)
        await sink.drain()
    except OSError:
        sink.transport.abort()
