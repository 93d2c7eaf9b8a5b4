"""Reading fetched batches so that no record can stop its partition.

`worker.kafka.aiokafka_workarounds` puts it in the place of aiokafka's parser, and names what that does wrong. Here

- a batch is decompressed within a bound, and handed to aiokafka's parser uncompressed;
- header names that are not UTF-8 are read by aiokafka's Python parser, with such bytes written as `\\xe4`;
- the records of a batch that cannot be read are handed out by their offsets, with an `Unreadable` for a checksum.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from schemas.reasons import Reason
from schemas.record import Unreadable
from worker.kafka.decompression import TooLargeError, decompress

BATCH_BYTES_MAX = 32 * 1024 * 1024
"""Of a batch that is decompressed, where no larger event is allowed; and of all that one poll decompresses, but for the
last batch."""

_BATCH_HEAD = struct.Struct(">qi")
"""Base offset, and the length of what follows: the same in every version of the format."""
_LENGTH = struct.Struct(">i")
_MAGIC_AT = 16
_LEGACY_ATTRIBUTES_AT = 17
_LEGACY_KEY_AT = (18, 26)
_ATTRIBUTES = struct.Struct(">h")
_ATTRIBUTES_AT = 21
_HEADER_BYTES = 61
_CODEC_MASK = 0x07
_OFFSETS_MAX = 1_000_000
"""Of a batch whose header cannot be trusted."""

_CORRUPT_READS = 3
"""So often the same bytes with a wrong checksum are fetched again: it is the log that is corrupt, not the transport."""
_CORRUPT_KEPT = 64

_BROKEN = (CorruptRecordException, UnsupportedCodecError, AssertionError, ValueError, IndexError, struct.error)


@dataclass(slots=True)
class _Bounds:
    batch_bytes_max: int = BATCH_BYTES_MAX
    polled_bytes: int = 0


_bounds = _Bounds()
_corrupt: OrderedDict[tuple[int, int], int] = OrderedDict()


def limit_batches(bytes_max: int = BATCH_BYTES_MAX) -> None:
    """The bound for every consumer of this process."""
    _bounds.batch_bytes_max = bytes_max


def begin_poll() -> None:
    """Before each `getmany`: what it decompresses is counted from 0. What exceeds the bound is fetched again later."""
    _bounds.polled_bytes = 0


class LenientRecords:
    """`aiokafka.record.memory_records.MemoryRecords`, as the fetcher uses it."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._position = 0
        self._strict: Any = MemoryRecords(raw)
        self._size_in_bytes: int = self._strict.size_in_bytes()
        self._more: bool = self._strict.has_next()
        self._begun = False

    def size_in_bytes(self) -> int:
        return self._size_in_bytes

    def has_next(self) -> bool:
        # The fetcher looks first, and takes bytes without a batch for a record that is too large to be fetched.
        begun, self._begun = self._begun, True
        return self._more and not (begun and _bounds.polled_bytes >= _bounds.batch_bytes_max)

    def next_batch(self) -> "_Batch | None":
        if not self._more:
            return None
        _, length = _BATCH_HEAD.unpack_from(self._raw, self._position)
        end = self._position + _BATCH_HEAD.size + length
        raw, self._position = memoryview(self._raw)[self._position : end], end
        batch = self._strict.next_batch()
        self._more = self._strict.has_next()
        if not self._more:
            # The fetcher leaves a cycle of itself and its generator behind, until the garbage collector comes by:
            # what was fetched must not hang on it.
            self._raw, self._strict = b"", None
        return _Batch(batch, raw)


class _Batch:
    """A strict batch; its records are read leniently from the first on where that fails. One at a time: a batch may
    hold thousands, and every partition has one under way. With the last one it lets go of what it was read from.
    """

    def __init__(self, strict: Any, raw: memoryview) -> None:
        self._strict: Any = strict
        self._raw: Any = raw
        self._corrupt = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strict, name)

    def __next__(self) -> Any:
        return next(self._strict)

    def validate_crc(self) -> bool:
        """False makes the fetcher fetch the batch again, which helps where it was damaged on its way."""
        if self._strict.validate_crc():
            return True
        key = (len(self._raw), hash(bytes(self._raw)))
        reads = _corrupt[key] = _corrupt.pop(key, 0) + 1
        while len(_corrupt) > _CORRUPT_KEPT:
            _corrupt.popitem(last=False)
        self._corrupt = reads >= _CORRUPT_READS
        return self._corrupt

    def __iter__(self) -> Iterator[Any]:
        records: Any = self._records()
        last = next(records, None)
        while last is not None:
            following = next(records, None)
            if following is None:
                self.next_offset = self._next_offset()  # the only attribute that is read afterwards
                self._strict = self._raw = records = None
            yield last
            last = following

    def _records(self) -> Iterator[Any]:
        offset = self._first_offset()
        if self._corrupt:
            yield from self._unreadable(offset, Reason.NOT_A_CLOUDEVENT, "has a wrong checksum: the log is corrupt")
            return
        try:
            for record in self._readable():
                offset = record.offset + 1
                yield record
        except TooLargeError as error:
            yield from self._unreadable(offset, Reason.TOO_LARGE, f"decompresses to {error}: publish smaller batches")
        except _BROKEN as error:
            yield from self._unreadable(offset, Reason.NOT_A_CLOUDEVENT, f"cannot be read: {error}")

    def _readable(self) -> Iterator[Any]:
        if self._raw[_MAGIC_AT] < 2:
            _check_legacy(self._raw)
            yield from self._strict
            return
        strict, raw = self._strict, self._raw
        codec = _ATTRIBUTES.unpack_from(raw, _ATTRIBUTES_AT)[0] & _CODEC_MASK
        if codec:
            raw = decompress(
                codec, raw[_HEADER_BYTES:], bytes_max=_bounds.batch_bytes_max, head=bytes(raw[:_HEADER_BYTES])
            )
            _bounds.polled_bytes += len(raw)
            (attributes,) = _ATTRIBUTES.unpack_from(raw, _ATTRIBUTES_AT)
            _ATTRIBUTES.pack_into(raw, _ATTRIBUTES_AT, attributes & ~_CODEC_MASK)
            strict = DefaultRecordBatch(raw)
            self._strict, self._raw = strict, bytes(raw[:_HEADER_BYTES])  # not the compressed bytes as well
        read = 0
        try:
            for record in strict:
                yield record
                read += 1
        except UnicodeDecodeError:
            yield from islice(_LenientBatch(bytes(raw)), read, None)

    def _unreadable(self, offset: int, reason: Reason, what: str) -> Iterator["_UnreadableRecord"]:
        first, last = self._first_offset(), self._next_offset() - 1
        detail = f"the batch of offsets {first} to {last} {what}"
        timestamp = getattr(self._strict, "first_timestamp", None)
        for number in range(offset, last + 1):
            yield _UnreadableRecord(offset=number, timestamp=timestamp, checksum=Unreadable(reason, detail))

    def _first_offset(self) -> int:
        """Of a compressed set in the first formats only the last offset is known without reading it."""
        return int(_BATCH_HEAD.unpack_from(self._raw)[0])

    def _next_offset(self) -> int:
        if not self._corrupt:
            return int(self._strict.next_offset)
        first = self._first_offset()
        return first + min(max(int(self._strict.next_offset) - first, 1), _OFFSETS_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnreadableRecord:
    """As much of aiokafka's record as the fetcher looks at."""

    offset: int
    timestamp: int | None
    checksum: Unreadable
    timestamp_type: int = 0
    key: None = None
    value: None = None
    headers: tuple[()] = ()


def _check_legacy(raw: memoryview) -> None:
    """Raises as `decompress` for a compressed set of the first formats, which aiokafka decompresses as a whole."""
    codec = raw[_LEGACY_ATTRIBUTES_AT] & _CODEC_MASK
    if not codec:
        return
    position = _LEGACY_KEY_AT[raw[_MAGIC_AT]]
    for _ in range(2):  # the key, then the value
        (length,) = _LENGTH.unpack_from(raw, position)
        start = position + _LENGTH.size
        position = start + max(length, 0)
    _bounds.polled_bytes += len(decompress(codec, raw[start:position], bytes_max=_bounds.batch_bytes_max))


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka is untyped
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        buffer: bytearray = self._buffer
        if not isinstance(buffer, _Lenient):
            self._buffer: bytearray = _Lenient(buffer)


class _Lenient(bytearray):
    """Bytes whose slices decode whatever they hold."""

    def __getitem__(self, key: Any) -> Any:
        got = super().__getitem__(key)
        return _Lenient(got) if isinstance(got, bytearray) else got

    def decode(self, encoding: str = "utf-8", _errors: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace")
