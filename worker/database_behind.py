"""Whether the database has what the group has committed (docs/contract.md#database-behind).

The last record that the group committed in a partition must be known to the database: in the activity log or among the
rejections. If it is not, the database was restored, or is another one.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from schemas.detail import printable
from schemas.record import Record
from worker.ports import Partition
from worker.rules.message import Message

_WIDTHS = (2, 200)
_WIDTH_FACTOR = 10
"""How many offsets before the committed one are read until one of them has an event: tombstones and transaction markers
have none.
"""

_ID_CHARS_MAX = 300

Read = Callable[[Record], Message | None]


class Records(Protocol):
    """A client that belongs to no group. Raises Unavailable and ConfigurationError."""

    async def committed(self, topics: Sequence[str]) -> Mapping[Partition, int]: ...

    async def begins(self, topics: Sequence[str]) -> Mapping[Partition, int]: ...

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]: ...

    def records_between(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]: ...


class KnownEvents(Protocol):
    async def known(self, ids: Sequence[UUID]) -> AbstractSet[UUID]:
        """Which of these are ids of messages that the database has handled: applied, stale or rejected.

        Raises:
            Unavailable: the database does not answer.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """The database lacks the event at `offset`, the last before the `committed` offset. `event`: its source and id."""

    partition: Partition
    committed: int
    offset: int
    event: str

    def __str__(self) -> str:
        topic, number = self.partition
        return (
            f"{topic}/{number}: the group has committed offset {self.committed}, but the event at offset {self.offset} "
            f"({self.event}) is not in the database"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """The last committed record was deleted by retention, so it cannot be checked. `begin`: the log's first offset."""

    partition: Partition
    committed: int
    begin: int

    def __str__(self) -> str:
        topic, number = self.partition
        return (
            f"{topic}/{number}: the last record before the committed offset {self.committed} was deleted; the log "
            f"begins at offset {self.begin}"
        )


Finding = Behind | Expired | None
"""None: the database has the event, or the group has committed none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldestUnknown:
    """`offset`: where to read again. `complete`: no older record was deleted that may be unknown, too."""

    offset: int
    complete: bool


async def check(
    partitions: Sequence[Partition], records: Records, events: KnownEvents, read: Read
) -> Mapping[Partition, Finding]:
    """The finding of each partition."""
    topics = sorted({partition.topic for partition in partitions})
    committed = await records.committed(topics)
    begins, ends = await records.begins(topics), await records.ends(topics)
    findings: dict[Partition, Finding] = dict.fromkeys(partitions)
    looked_at = {
        partition: committed[partition]
        for partition in partitions
        # A log that ends before the committed offset is a new one, which is read from its start.
        if 0 < committed.get(partition, 0) <= ends.get(partition, 0)
    }
    last = await _last_events(looked_at, begins, records, read)
    known = await events.known([message.id for message in last.values()])
    for partition, offset in looked_at.items():
        message = last.get(partition)
        if message is None:
            begin = begins.get(partition, 0)
            findings[partition] = Expired(partition=partition, committed=offset, begin=begin) if begin else None
        elif message.id not in known:
            findings[partition] = Behind(
                partition=partition, committed=offset, offset=message.record.offset, event=_name(message)
            )
    return findings


async def check_group(
    topics: Sequence[str], records: Records, events: KnownEvents, read: Read
) -> Sequence[Behind | Expired]:
    """The findings of all partitions in which the group has committed; none: the database has all.

    Raises:
        Unavailable, ConfigurationError: the broker or the database does not answer.
    """
    committed = await records.committed(topics)
    findings = await check(sorted(committed), records, events, read)
    return [finding for finding in findings.values() if finding is not None]


async def oldest_unknown(
    behind: Behind, records: Records, events: KnownEvents, read: Read, *, known_records_min: int
) -> OldestUnknown:
    """The oldest event of the partition that the database lacks. It is read backwards, in chunks of `known_records_min`
    offsets, until one chunk is known as a whole: events were completed out of order by no more than that.
    """
    partition, stop = behind.partition, behind.committed
    begin = (await records.begins([partition.topic])).get(partition, 0)
    oldest = behind.offset
    while stop > begin:
        start = max(begin, stop - known_records_min)
        ids = {
            record.offset: message.id
            async for record in records.records_between({partition: range(start, stop)})
            if (message := read(record)) is not None
        }
        known = await events.known(list(ids.values()))
        unknown = [offset for offset, id_ in ids.items() if id_ not in known]
        if ids and not unknown:
            return OldestUnknown(offset=oldest, complete=True)
        oldest = min([oldest, *unknown])
        stop = start
    return OldestUnknown(offset=oldest, complete=begin == 0)


async def _last_events(
    committed: Mapping[Partition, int], begins: Mapping[Partition, int], records: Records, read: Read
) -> dict[Partition, Message]:
    """The last event before each committed offset that still exists."""
    found: dict[Partition, Message] = {}
    widths, left = list(_WIDTHS), dict(committed)
    while left:
        width = widths.pop(0)
        if not widths:
            widths.append(width * _WIDTH_FACTOR)
        ranges = {partition: range(max(begins.get(partition, 0), end - width), end) for partition, end in left.items()}
        async for record in records.records_between(ranges):
            if (message := read(record)) is not None:
                found[Partition(record.topic, record.partition)] = message
        left = {
            partition: end
            for partition, end in left.items()
            if partition not in found and ranges[partition].start > begins.get(partition, 0)
        }
    return found


def _name(message: Message) -> str:
    content = message.content
    if content.source is None or content.id is None:
        return "a record without source and id"
    return printable(f"{content.source} {content.id}"[:_ID_CHARS_MAX])
