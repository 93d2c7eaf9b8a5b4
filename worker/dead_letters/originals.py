"""The records of rejections: from their input topics, else from complete copies in the dead-letter topic."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from schemas.record import Record
from worker.pipeline.dead_letter import OMISSION_HEADERS, REASON_HEADERS
from worker.ports import Partition
from worker.rules.identity import position_id
from worker.rules.message import Message, RecordPosition
from worker.stored_redrives import Pinned

_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Missing(StrEnum):
    """Why a rejected record cannot be read."""

    EXPIRED = "expired"
    """It is in no topic any more, and the dead-letter topic has no complete copy."""
    REPLACED = "replaced"
    """Another record is at its position: the topic was created again."""
    UNREADABLE = "unreadable"
    """Its batch cannot be decompressed."""


class RecordReader(Protocol):
    """Read only; joins no group. Every method raises Unavailable where no broker answers, and ConfigurationError where
    a topic may not be read.
    """

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """The last stable offset of each partition. A missing topic has no partitions."""
        ...

    def records_at(self, positions: Iterable[tuple[str, int, int]]) -> AsyncIterator[Record]:
        """The records at these positions that still exist, each partition's in order."""
        ...

    def records(self, ends: Mapping[Partition, int]) -> AsyncIterator[Record]:
        """The records of each partition, in order, from its beginning to these offsets."""
        ...


class Decode(Protocol):
    """`worker.pipeline.transaction.read` with the operator's limits."""

    def __call__(self, record: Record, /) -> Message: ...


class Originals:
    """Finds rejected records. `dead_letter_topic`: read, once and whole, only if an input topic lacks a record."""

    def __init__(self, reader: RecordReader, decode: Decode, *, dead_letter_topic: str) -> None:
        self._reader = reader
        self._decode = decode
        self._dead_letter_topic = dead_letter_topic

    async def of(self, pinned: Iterable[Pinned]) -> AsyncIterator[tuple[Pinned, Record | Missing]]:
        """Each with its record, in no order; only one record is held at a time.

        Raises:
            Unavailable, ConfigurationError: as `RecordReader`.
        """
        wanted: dict[RecordPosition, list[Pinned]] = defaultdict(list)
        for one in pinned:
            wanted[one.position].append(one)
        missing: dict[Pinned, Missing] = {one: Missing.EXPIRED for some in wanted.values() for one in some}
        async for record in self._reader.records_at(wanted):
            for one in wanted[RecordPosition(record.topic, record.partition, record.offset)]:
                if not self._is_of(record, one):
                    missing[one] = Missing.REPLACED
                elif record.unreadable is not None:
                    missing[one] = Missing.UNREADABLE
                else:
                    del missing[one]
                    yield one, record
        async for one, record in self._copies(missing):
            del missing[one]
            yield one, record
        for one, why in missing.items():
            yield one, why

    def _is_of(self, record: Record, pinned: Pinned) -> bool:
        """By the event's identity, or by the record's position and timestamp if it had none."""
        unidentified = position_id(
            topic=record.topic, partition=record.partition, offset=record.offset, timestamp_ms=record.timestamp_ms
        )
        return pinned.rejection_id in {unidentified, self._decode(record).id}

    async def _copies(self, wanted: Iterable[Pinned]) -> AsyncIterator[tuple[Pinned, Record]]:
        left = set(wanted)
        if not left:
            return
        async for dead_letter in self._reader.records(await self._reader.ends([self._dead_letter_topic])):
            copy = original_of(dead_letter)
            if copy is not None and copy[0] in left and self._is_of(copy[1], copy[0]):
                left.remove(copy[0])
                yield copy


def original_of(dead_letter: Record) -> tuple[Pinned, Record] | None:
    """The rejection and the record that a dead letter repeats. None: it is not one of the worker's, or not complete."""
    names = [name for name, _ in dead_letter.headers]
    start = len(names) - len(REASON_HEADERS)
    if start < 0 or tuple(names[start:]) != REASON_HEADERS or any(name in OMISSION_HEADERS for name in names):
        return None
    added = {name: (raw or b"").decode("utf-8", "replace") for name, raw in dead_letter.headers[start:]}
    numbers = [added[f"rudder-{name}"] for name in ("partition", "offset", "timestamp")]
    if not all(_INTEGER.fullmatch(number) for number in numbers) or dead_letter.value is None:
        return None
    try:
        rejection_id = UUID(added["rudder-id"])
    except ValueError:
        return None
    partition, offset, timestamp_ms = map(int, numbers)
    record = Record(
        topic=added["rudder-topic"],
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_ms,
        key=dead_letter.key,
        value=dead_letter.value,
        headers=dead_letter.headers[:start],
    )
    return Pinned(rejection_id, RecordPosition(record.topic, partition, offset)), record


def digest(record: Record) -> str:
    """SHA-256, in hexadecimal, of key, value and headers; null and empty differ."""
    return sha256(repr((record.key, record.value, tuple(record.headers))).encode()).hexdigest()
