"""Header names that are not UTF-8, which Kafka stores without a look and aiokafka refuses to read.

One such record would stop its partition, and every worker that gets it, for ever. Its batch is read once more by
aiokafka's Python parser, with the bytes that are no UTF-8 written as `\\xe4`; all else of the record is untouched.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any

import aiokafka.consumer.fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_BATCH_HEAD = struct.Struct(">qi")
"""Base offset, and the length of what follows: the same in every version of the format."""


def install() -> None:
    """Have every consumer of this process read so. aiokafka offers no seam for it."""
    aiokafka.consumer.fetcher.MemoryRecords = LenientRecords


class LenientRecords:
    """`aiokafka.record.memory_records.MemoryRecords`, as the fetcher uses it."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._position = 0
        self._strict: Any = MemoryRecords(raw)
        self._size_in_bytes: int = self._strict.size_in_bytes()
        self._more: bool = self._strict.has_next()

    def size_in_bytes(self) -> int:
        return self._size_in_bytes

    def has_next(self) -> bool:
        return self._more

    def next_batch(self) -> "_Batch | None":
        batch = self._strict.next_batch() if self._more else None
        if batch is None:
            return None
        self._more = self._strict.has_next()
        _, length = _BATCH_HEAD.unpack_from(self._raw, self._position)
        end = self._position + _BATCH_HEAD.size + length
        raw, self._position = memoryview(self._raw)[self._position : end], end
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

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strict, name)

    def __next__(self) -> Any:
        return next(self._strict)

    def __iter__(self) -> Iterator[Any]:
        records: Any = self._records()
        last = next(records, None)
        while last is not None:
            following = next(records, None)
            if following is None:
                self.next_offset = self._strict.next_offset  # all that it is asked for afterwards
                self._strict = self._raw = records = None
            yield last
            last = following

    def _records(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._strict:
                yield record
                read += 1
        except UnicodeDecodeError:
            yield from islice(_LenientBatch(bytes(self._raw)), read, None)


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
