"""Where a partition begins and ends: what expired before it was consumed is reported, and its end is known."""

import asyncio

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.conformance.deadlines import WAIT_SECONDS, until
from tests.conformance.members import Member, member
from tests.conformance.producers import ToSend, send
from tests.testkit.topics import MakeTopic
from worker.ports import LogEnd, Partition
from worker.telemetry import LogEvent

pytestmark = pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)


async def put(bootstrap_servers: str, topic: str, count: int, *, partition: int = 0) -> None:
    await asyncio.to_thread(send, bootstrap_servers, topic, [ToSend(value=b"x", partition=partition)] * count)


async def expire(bootstrap_servers: str, topic: str, before: int, *, partition: int = 0) -> None:
    """What retention does, at once."""

    def delete() -> None:
        admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        for deleted in admin.delete_records([TopicPartition(topic, partition, before)]).values():
            deleted.result(WAIT_SECONDS)

    await asyncio.to_thread(delete)


def expired(logs: list[EventDict]) -> list[tuple[int, int, int, int]]:
    return [
        (log["partition"], log["from_offset"], log["to_offset"], log["count"])
        for log in logs
        if log["event"] == LogEvent.RECORDS_EXPIRED and log["log_level"] == "warning"
    ]


def counted(one: Member, topic: str, *, partition: int = 0) -> float | None:
    labels = {"topic": topic, "partition": str(partition)}
    return one.source._metrics.registry.get_sample_value("rudder_records_expired_total", labels)


async def test_expired_records_before_the_commit_are_reported(bootstrap_servers: str, topics: MakeTopic) -> None:
    topic = await topics(partitions=2)
    await put(bootstrap_servers, topic, 70)
    await put(bootstrap_servers, topic, 3, partition=1)
    async with member(bootstrap_servers, topic) as one:
        await one.take(73)
        await one.source.commit({Partition(topic, 0): 10, Partition(topic, 1): 1})
    await expire(bootstrap_servers, topic, 60)
    with capture_logs() as logs:
        async with member(bootstrap_servers, topic) as one:
            await one.take(12)
            assert counted(one, topic) == 50
            assert counted(one, topic, partition=1) is None
    assert sorted(record.offset for record in one.records if record.partition == 0) == list(range(60, 70))
    assert expired(logs) == [(0, 10, 60, 50)]


async def test_expired_records_of_a_running_member_are_reported(bootstrap_servers: str, topics: MakeTopic) -> None:
    """It was not fetching the partition: another record of it was not completed, for one."""
    topic = await topics()
    await put(bootstrap_servers, topic, 5)
    with capture_logs() as logs:
        async with member(bootstrap_servers, topic) as one:
            await one.take(5)
            await until(lambda: no_fetch_in_flight(one), what="no fetch is in flight")
            await put(bootstrap_servers, topic, 20)
            await expire(bootstrap_servers, topic, 15)
            await one.take(15)
            assert counted(one, topic) == 10
    assert [record.offset for record in one.records] == [*range(5), *range(15, 25)]
    assert expired(logs) == [(0, 5, 15, 10)]


async def no_fetch_in_flight(one: Member) -> bool:
    """A paused partition is not fetched, and what was fetched ahead is dropped."""
    await one.source.poll(timeout_seconds=0.05, records_max=0)
    consumer = one.source._consumer
    assert consumer is not None
    return not consumer._fetcher._in_flight


async def test_new_group_reports_no_expired_records(bootstrap_servers: str, topics: MakeTopic) -> None:
    topic = await topics()
    await put(bootstrap_servers, topic, 10)
    await expire(bootstrap_servers, topic, 4)
    with capture_logs() as logs:
        async with member(bootstrap_servers, topic) as one:
            await one.take(6)
    assert [record.offset for record in one.records] == list(range(4, 10))
    assert expired(logs) == []


async def test_truncated_log_is_read_from_its_start(bootstrap_servers: str, topics: MakeTopic) -> None:
    """As after a topic was created anew."""
    topic = await topics()
    await put(bootstrap_servers, topic, 5)
    async with member(bootstrap_servers, topic) as one:
        await one.take(5)
        await one.source.commit({Partition(topic, 0): 100})
    with capture_logs() as logs:
        async with member(bootstrap_servers, topic) as one:
            await one.take(5)
            assert counted(one, topic) is None
    assert [record.offset for record in one.records] == list(range(5))
    [truncated] = [log for log in logs if log["event"] == LogEvent.LOG_TRUNCATED]
    assert (truncated["partition"], truncated["from_offset"], truncated["to_offset"]) == (0, 100, 0)


async def ends_of(one: Member, partition: Partition, expected: LogEnd, *, polling: bool) -> None:
    """Waits until this is how far the partition reaches."""

    async def is_so() -> bool:
        if polling:
            await one.poll()
        else:
            await one.source.poll(timeout_seconds=0.05, records_max=0)
        seen.update(await one.source.log_ends())
        return seen.get(partition) == expected

    seen: dict[Partition, LogEnd] = {}
    await until(is_so, what=lambda: f"{expected}: {seen}")


async def test_log_end_is_known_while_nothing_is_fetched(bootstrap_servers: str, topics: MakeTopic) -> None:
    topic = await topics()
    await put(bootstrap_servers, topic, 5)
    async with member(bootstrap_servers, topic) as one:
        await ends_of(one, Partition(topic, 0), LogEnd(position=0, stable=5, end=5), polling=False)
        await one.take(5)
        await put(bootstrap_servers, topic, 20)
        await ends_of(one, Partition(topic, 0), LogEnd(position=5, stable=25, end=25), polling=False)


async def test_open_transaction_shows_in_the_log_end(bootstrap_servers: str, topics: MakeTopic) -> None:
    """And the records behind it arrive when it ends."""
    topic = await topics()
    producer = Producer({"bootstrap.servers": bootstrap_servers, "transactional.id": f"tx.{topic}", "log_level": 0})

    def begin() -> None:
        producer.init_transactions(WAIT_SECONDS)
        producer.begin_transaction()
        producer.produce(topic, b"open")
        assert producer.flush(WAIT_SECONDS) == 0

    await asyncio.to_thread(begin)
    await put(bootstrap_servers, topic, 100)
    async with member(bootstrap_servers, topic) as one:
        await ends_of(one, Partition(topic, 0), LogEnd(position=0, stable=0, end=101), polling=True)
        assert one.records == []
        await asyncio.to_thread(producer.abort_transaction, WAIT_SECONDS)
        await one.take(100)
        await ends_of(one, Partition(topic, 0), LogEnd(position=102, stable=102, end=102), polling=True)
