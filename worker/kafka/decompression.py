"""Decompressing what publishers compressed, within a bound: a batch of some kilobytes can hold gigabytes.

aiokafka decompresses a batch as a whole, whatever that makes of it (its `codec` module, called by its record parsers).
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
"""Codecs, by the number in a batch's attributes."""

_XERIAL_HEADER = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_GZIP_WINDOW_BITS = 31
_FIRST_RATIO = 16
_GROWTH = 8
_FIRST_BYTES = 64 * 1024
_TOO_SMALL = ("failed to write whole buffer", "smaller than required")
"""What cramjam says where the output is longer than the buffer."""


class TooLargeError(ValueError):
    """The content has more bytes than the bound."""


def decompress(codec: int, compressed: memoryview, *, bytes_max: int, head: bytes = b"") -> bytearray:
    """The content, behind `head`. No more than about twice `bytes_max` is allocated, and for zstd its window (at most
    128 MiB).

    Raises:
        TooLargeError: it has more than `bytes_max` bytes.
        ValueError: it is broken, or the codec is unknown.
    """
    try:
        match codec:
            case 1:
                return _gzip(compressed, bytes_max, head)
            case 2:
                return _snappy(compressed, bytes_max, head)
            case 3:
                return _into_growing(cramjam.lz4.decompress_into, compressed, bytes_max, head)
            case 4:
                return _into_growing(cramjam.zstd.decompress_into, compressed, bytes_max, head)
            case _:
                raise ValueError(f"compression codec {codec} is unknown")
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _into_growing(
    decompress_into: Callable[[Any, Any], int], compressed: memoryview, bytes_max: int, head: bytes
) -> bytearray:
    size = min(bytes_max, max(_FIRST_BYTES, _FIRST_RATIO * len(compressed)))
    while True:
        content = bytearray(len(head) + size)
        content[: len(head)] = head
        try:
            with memoryview(content) as whole, whole[len(head) :] as buffer:
                written = decompress_into(compressed, buffer)
        except cramjam.DecompressionError as error:
            if not any(text in str(error) for text in _TOO_SMALL):
                raise
            if size >= bytes_max:
                raise TooLargeError(f"more than {bytes_max} bytes") from error
            size = min(bytes_max, size * _GROWTH)
        else:
            del content[len(head) + written :]
            return content


def _gzip(compressed: memoryview, bytes_max: int, head: bytes) -> bytearray:
    content, rest = bytearray(head), bytes(compressed)
    while rest:  # a stream of several members is one content
        member = zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
        content += member.decompress(rest, bytes_max + 1 + len(head) - len(content))
        if len(content) - len(head) > bytes_max:
            raise TooLargeError(f"more than {bytes_max} bytes")
        if not member.eof:
            raise ValueError("the gzip stream ends too early")
        rest = member.unused_data.lstrip(b"\x00")
    return content


def _snappy(compressed: memoryview, bytes_max: int, head: bytes) -> bytearray:
    blocks = list(_snappy_blocks(compressed))
    sizes = [cramjam.snappy.decompress_raw_len(block) for block in blocks]  # each begins with its length
    if sum(sizes) > bytes_max:
        raise TooLargeError(f"more than {bytes_max} bytes")
    content = bytearray(len(head) + sum(sizes))
    content[: len(head)] = head
    position = len(head)
    with memoryview(content) as whole:
        for block, size in zip(blocks, sizes, strict=True):
            with whole[position : position + size] as buffer:
                position += cramjam.snappy.decompress_raw_into(block, buffer)
    return content


def _snappy_blocks(compressed: memoryview) -> Iterator[bytes]:
    if compressed[: len(_XERIAL_HEADER)] != _XERIAL_HEADER:
        yield bytes(compressed)
        return
    position = _XERIAL_HEADER_BYTES
    while position < len(compressed):
        (size,) = struct.unpack_from(">i", compressed, position)
        position += 4
        if not 0 <= size <= len(compressed) - position:
            raise ValueError("a block is longer than the batch")
        yield bytes(compressed[position : position + size])
        position += size
