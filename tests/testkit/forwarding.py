"""Bytes read from one stream and written to another, by whatever stands between two who speak."""

import asyncio

_BYTES_MAX = 65_536


async def read_some(source: asyncio.StreamReader) -> bytes:
    """What was said next; nothing when that was all, or when it hung up without a word."""
    try:
        return await source.read(_BYTES_MAX)
    except OSError:
        return b""


async def write_some(some: bytes, sink: asyncio.StreamWriter) -> None:
    """Return when there is room for more; where nobody listens any more, the other direction will hear of it."""
    try:
        sink.write(some)
        await sink.drain()
    except OSError:
        sink.transport.abort()
