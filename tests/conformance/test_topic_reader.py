"""The reader of whole topics: records that do not come end in one error, and its clients close all the same."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError

from tests.conformance.deadlines import WAIT_SECONDS
from tests.conformance.producers import ToSend, send
from tests.conftest import MakeTopic
from worker.kafka.connection import Connection
from worker.kafka.topic_reader import KafkaTopicReader
from worker.ports import Partition
from worker.rules.errors import Unavailable


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
async def test_missing_records_end_in_one_error(bootstrap_servers: str, topics: MakeTopic) -> None:
    """As those of a partition whose leader no longer answers; here, of an offset that nothing was written to."""
    topic = await topics()
    await asyncio.to_thread(send, bootstrap_servers, topic, [ToSend(value=b"{}", key=b"k")])
    connection = Connection(bootstrap_servers=bootstrap_servers, client_id="reader")
    reader = KafkaTopicReader(connection, group_id="none", silence_seconds=0.0)
    await reader.start()
    try:
        ends = await reader.ends([topic])
        beyond: dict[Partition, int] = {at: end + 1 for at, end in ends.items() if end}
        with pytest.raises(Unavailable, match=topic):
            _ = [record async for record in reader.records(beyond)]
    finally:
        await reader.stop()
    await reader.stop()  # a second time is harmless


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
async def test_commits_of_a_new_cluster_are_requested_again(
    bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first question makes it create its offsets topic; until that has a leader there is no coordinator."""
    answers: list[Exception | None] = [GroupCoordinatorNotAvailableError(), NotCoordinatorForGroupError(), None]
    upstream = AIOKafkaAdminClient.list_consumer_group_offsets

    async def asked(self: AIOKafkaAdminClient, group_id: str) -> object:
        if (error := answers.pop(0)) is not None:
            raise error
        return await upstream(self, group_id)

    monkeypatch.setattr(AIOKafkaAdminClient, "list_consumer_group_offsets", asked)
    reader = KafkaTopicReader(Connection(bootstrap_servers=bootstrap_servers, client_id="reader"), group_id="none")
    await reader.start()
    try:
        assert await reader.committed(["topic"]) == {}
    finally:
        await reader.stop()
    assert answers == []


@pytest.fixture
async def reader(bootstrap_servers: str) -> AsyncIterator[KafkaTopicReader]:
    connection = Connection(bootstrap_servers=bootstrap_servers, client_id="reader")
    reader = KafkaTopicReader(connection, group_id="none")
    await reader.start()
    yield reader
    await reader.stop()


async def test_records_of_ranges_are_read(bootstrap_servers: str, topics: MakeTopic, reader: KafkaTopicReader) -> None:
    """Of each partition those in its range, in order; none behind the end, and none of a missing partition."""
    topic = await topics(partitions=2)
    sent = [ToSend(value=b"%d" % number, key=b"k", partition=number % 2) for number in range(20)]
    await asyncio.to_thread(send, bootstrap_servers, topic, sent)
    ranges = {
        Partition(topic, 0): range(3, 6),
        Partition(topic, 1): range(8, 99),
        Partition(topic, 7): range(5),
        Partition("missing", 0): range(5),
    }
    found = [record async for record in reader.records_between(ranges)]
    values = {partition: [one.value for one in found if one.partition == partition] for partition in (0, 1)}
    assert values == {0: [b"6", b"8", b"10"], 1: [b"17", b"19"]}
    assert len(found) == 5
    assert [record async for record in reader.records_between({})] == []


async def test_records_at_positions_are_read(
    bootstrap_servers: str, topics: MakeTopic, reader: KafkaTopicReader
) -> None:
    """Near ones in one pass, distant ones after a seek; a position that has no record is left out."""
    topic = await topics()
    sent = [ToSend(value=b"%d" % number, key=b"k", partition=0) for number in range(1_200)]
    await asyncio.to_thread(send, bootstrap_servers, topic, sent)
    offsets = [1_100, 3, 5, 1_199, 1_200, 5]
    found = [record async for record in reader.records_at((topic, 0, offset) for offset in offsets)]
    assert [record.value for record in found] == [b"3", b"5", b"1100", b"1199"]


async def test_offsets_of_several_topics_need_no_retry(
    bootstrap_servers: str, topics: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at first nor after others were read: a retry would come after an hour."""
    monkeypatch.setattr("worker.kafka.connection._RETRY_BACKOFF_MS", 3_600_000)
    names = [await topics(name_hint=f"topic-{number}") for number in range(3)]
    await asyncio.to_thread(send, bootstrap_servers, names[0], [ToSend(value=b"x")])
    reader = KafkaTopicReader(Connection(bootstrap_servers=bootstrap_servers, client_id="reader"), group_id="none")
    await reader.start()
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            assert set(await reader.begins(names)) == {Partition(name, 0) for name in names}
            assert [record.value async for record in reader.records({Partition(names[0], 0): 1})] == [b"x"]
            ends = await reader.ends(names)
    finally:
        await reader.stop()
    assert [ends[Partition(name, 0)] for name in names] == [1, 0, 0]


async def test_offsets_are_found_by_time(bootstrap_servers: str, topics: MakeTopic, reader: KafkaTopicReader) -> None:
    """The first record of that time or later; the log end where there is none."""
    topic = await topics(partitions=2)
    at_ms = 1_773_800_000_000
    sent = [ToSend(value=b"x", partition=0, timestamp_ms=at_ms + number) for number in range(10)]
    await asyncio.to_thread(send, bootstrap_servers, topic, sent)
    found = {partition.partition: offset for partition, offset in (await reader.offsets_at([topic], at_ms + 4)).items()}
    assert found == {0: 4, 1: 0}
    later = await reader.offsets_at([topic], at_ms + 10)
    assert later[Partition(topic, 0)] == 10


async def test_cluster_id_is_that_of_the_cluster(bootstrap_servers: str, reader: KafkaTopicReader) -> None:
    assert await reader.cluster_id()
    assert await reader.cluster_id() == await reader.cluster_id()


async def test_records_by_time_keep_each_partition_in_order(
    bootstrap_servers: str, topics: MakeTopic, reader: KafkaTopicReader
) -> None:
    """Across partitions the earlier timestamp first; the same ranges in the same order again."""
    topic = await topics(partitions=3)
    at_ms = 1_772_357_400_000
    sent = [
        ToSend(value=b"%d" % number, partition=number % 3, timestamp_ms=at_ms + (number * 7919) % 1000)
        for number in range(90)
    ]
    await asyncio.to_thread(send, bootstrap_servers, topic, sent)
    ranges = {Partition(topic, 0): range(5, 25), Partition(topic, 1): range(99), Partition(topic, 2): range(29, 30)}
    found = [record async for record in reader.records_by_time(ranges)]
    for partition, offsets in ranges.items():
        own = [record.offset for record in found if record.partition == partition.partition]
        assert own == [offset for offset in offsets if offset < 30]
    left = {partition: [one for one in found if one.partition == partition.partition] for partition in ranges}
    for record in found:
        heads = [records[0].timestamp_ms for records in left.values() if records]
        assert record.timestamp_ms == min(heads)
        left[Partition(topic, record.partition)].pop(0)
    assert [record async for record in reader.records_by_time(ranges)] == found
    assert [record async for record in reader.records_by_time({})] == []
