"""The last committed record of each partition, and the oldest one that a restored database lacks."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from schemas.record import Record
from tests.unit.pipeline.scripted import created
from worker.database_behind import Behind, Expired, Finding, OldestUnknown, check, check_group, oldest_unknown
from worker.pipeline.transaction import read
from worker.ports import Partition
from worker.rules.message import Message

P0, P1 = Partition("in", 0), Partition("in", 1)


def decoded(record: Record) -> Message | None:
    return None if record.is_tombstone else read(record, event_bytes_max=1_000_000)


class Topics:
    """Logs in memory; offsets without a record are gaps. `read`: how many records were read."""

    def __init__(
        self, *records: Record, committed: Mapping[Partition, int], begins: Mapping[Partition, int] | None = None
    ) -> None:
        self.records = records
        self._committed = committed
        self._begins = begins or {}
        self.read = 0

    async def committed(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        return {one: offset for one, offset in self._committed.items() if one.topic in topics}

    async def begins(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        return {one: self._begins.get(one, 0) for one in (P0, P1) if one.topic in topics}

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        ends = dict.fromkeys(await self.begins(topics), 0)
        for record in self.records:
            ends[Partition(record.topic, record.partition)] = record.offset + 1
        return ends

    async def records_between(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        for record in self.records:
            partition = Partition(record.topic, record.partition)
            if record.offset in ranges.get(partition, ()) and record.offset >= self._begins.get(partition, 0):
                self.read += 1
                yield record


class Database:
    def __init__(self, records: Iterable[Record]) -> None:
        self.ids = {message.id for record in records if (message := decoded(record)) is not None}

    async def known(self, ids: Sequence[UUID]) -> set[UUID]:
        return self.ids & set(ids)


def log(count: int, *, partition: int = 0, first: int = 0) -> list[Record]:
    return [created(f"r{offset}", offset=offset, partition=partition) for offset in range(first, first + count)]


def tombstone(offset: int) -> Record:
    return replace(created("gone", offset=offset), value=None, headers=())


async def finding(topics: Topics, database: Database, partition: Partition = P0) -> Finding:
    return (await check([partition], topics, database, decoded))[partition]


async def test_known_last_record_is_current() -> None:
    """Records behind the committed offset are not looked at, nor partitions without a commit."""
    records = [*log(10), *log(3, partition=1)]
    topics = Topics(*records, committed={P0: 7})
    found = await check([P0, P1], topics, Database(records[6:7]), decoded)
    assert found == {P0: None, P1: None}
    assert topics.read <= 2


async def test_unknown_last_record_is_behind() -> None:
    records = log(10)
    found = await finding(Topics(*records, committed={P0: 7}), Database(records[:6]))
    assert found == Behind(partition=P0, committed=7, offset=6, event="/test r6 in/0@6")
    assert str(found).startswith("in/0: the group has committed offset 7, but the event at offset 6 (/test r6 in/0@6)")


async def test_offsets_without_an_event_are_skipped() -> None:
    """Tombstones, and gaps of any length: transaction markers, compaction."""
    records = [*log(5), tombstone(5), tombstone(20_000), *log(1, first=20_001)]
    topics = Topics(*records, committed={P0: 20_001})
    assert await finding(topics, Database(records[4:5])) is None
    behind = await finding(topics, Database(records[:4]))
    assert isinstance(behind, Behind)
    assert behind.offset == 4
    only = Topics(tombstone(0), *log(1, first=1), committed={P0: 1})
    assert await finding(only, Database([])) is None


async def test_deleted_record_cannot_be_checked() -> None:
    topics = Topics(*log(3, first=7), committed={P0: 7}, begins={P0: 7})
    assert await finding(topics, Database([])) == Expired(partition=P0, committed=7, begin=7)


async def test_log_that_is_shorter_than_the_commit_is_new() -> None:
    """As after a topic was created anew; it is read from its start."""
    assert await finding(Topics(*log(3), committed={P0: 7}), Database([])) is None


async def test_group_has_the_findings_of_its_partitions() -> None:
    records = [*log(5), *log(5, partition=1)]
    topics = Topics(*records, committed={P0: 3, P1: 4})
    [behind] = await check_group(["in"], topics, Database(records[:5]), decoded)
    assert isinstance(behind, Behind)
    assert behind.partition == P1
    assert await check_group(["in"], topics, Database(records), decoded) == []


async def oldest(
    records: Sequence[Record], known: Iterable[Record], *, committed: int, begin: int = 0
) -> OldestUnknown:
    topics = Topics(*records, committed={P0: committed}, begins={P0: begin})
    database = Database(known)
    behind = await finding(topics, database)
    assert isinstance(behind, Behind)
    return await oldest_unknown(behind, topics, database, decoded, known_records_min=10)


async def test_rewind_begins_at_the_oldest_unknown_record() -> None:
    """Although later ones are known, which were completed out of order before the backup."""
    records = log(100)
    known = [*records[:40], *records[41:45], records[49]]
    assert await oldest(records, known, committed=80) == OldestUnknown(offset=40, complete=True)


async def test_rewind_of_an_empty_database_reads_all() -> None:
    assert await oldest(log(100), [], committed=80) == OldestUnknown(offset=0, complete=True)


async def test_rewind_reports_deleted_records() -> None:
    records = log(50, first=50)
    assert await oldest(records, [], committed=80, begin=50) == OldestUnknown(offset=50, complete=False)


@given(
    out_of_order=st.sets(st.integers(0, 9)),
    complete_until=st.integers(0, 60),
    committed=st.integers(1, 60),
    gaps=st.sets(st.integers(0, 59)),
)
async def test_no_unknown_record_is_older_than_the_rewind(
    out_of_order: set[int], complete_until: int, committed: int, gaps: set[int]
) -> None:
    """Of a backup that has all records up to an offset, and some of those that were in flight behind it."""
    records = [record for record in log(60) if record.offset not in gaps]
    in_flight = {complete_until + number for number in out_of_order}
    known = [record for record in records if record.offset < complete_until or record.offset in in_flight]
    topics, database = Topics(*records, committed={P0: committed}), Database(known)
    behind = await finding(topics, database)
    below = [record.offset for record in records if record.offset < committed]
    missing = [offset for offset in below if offset >= complete_until and offset not in in_flight]
    if behind is None:
        ends = await topics.ends(["in"])
        assert not below or committed > ends[P0] or below[-1] not in missing
        return
    assert isinstance(behind, Behind)
    found = await oldest_unknown(behind, topics, database, decoded, known_records_min=10)
    assert found == OldestUnknown(offset=missing[0], complete=True)
