"""A consumer group member, on every broker: records received, offsets committed, and rebalances."""

import asyncio
import time
from collections import Counter

import pytest
from aiokafka import ConsumerRecord
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.conformance.deadlines import WAIT_SECONDS, until
from tests.conformance.groups import members_of
from tests.conformance.members import Member, connection, member
from tests.conformance.producers import ToSend, ends_and_committed, send
from tests.testkit.clients import HEADERS
from tests.testkit.topics import MakeTopic
from worker.demo.broker import free_port
from worker.kafka.consumer_client import KafkaConsumerClient
from worker.ports import Partition, PartitionsLost
from worker.rules.errors import Unavailable

BROKEN_COMMITS = pytest.param(
    "embedded",
    marks=pytest.mark.xfail(
        run=False, reason="the embedded broker refuses commits of a generation whose rebalance has begun"
    ),
)


async def put(bootstrap_servers: str, topic: str, *records: ToSend) -> None:
    await asyncio.to_thread(send, bootstrap_servers, topic, records)


def numbered(count: int, *, start: int = 0, partitions: int = 1) -> list[ToSend]:
    return [ToSend(value=b"%d" % n, partition=n % partitions) for n in range(start, start + count)]


def values(of: Member) -> list[int]:
    return [int(record.value or b"-1") for record in of.records]


async def test_record_arrives_unchanged(bootstrap_servers: str, topics: MakeTopic) -> None:
    """Position, timestamp, key, value, and headers in order, repeated names and null values among them."""
    topic = await topics()
    sent = ToSend(value=b"\x00value", key=b"\xffkey", headers=tuple(HEADERS), timestamp_ms=1_700_000_000_123)
    await put(bootstrap_servers, topic, sent, ToSend(value=None), ToSend(value=b"", key=b""))
    async with member(bootstrap_servers, topic) as one:
        whole, tombstone, empty = await one.take(3)
    assert (whole.topic, whole.partition, whole.offset) == (topic, 0, 0)
    assert (whole.key, whole.value, whole.timestamp_ms) == (b"\xffkey", b"\x00value", 1_700_000_000_123)
    assert whole.headers == tuple(HEADERS)
    assert (tombstone.key, tombstone.value, tombstone.headers, tombstone.offset) == (None, None, (), 1)
    assert (empty.key, empty.value) == (b"", b"")
    assert abs(empty.timestamp_ms / 1000 - time.time()) < 3600


async def test_records_of_a_partition_arrive_in_order(bootstrap_servers: str, topics: MakeTopic) -> None:
    """A poll returns no more records than its limit."""
    topic = await topics(partitions=2)
    await put(bootstrap_servers, topic, *numbered(50, partitions=2))
    async with member(bootstrap_servers, topic) as one:

        async def polled() -> bool:
            found = await one.source.poll(timeout_seconds=0.05, records_max=7)
            assert len(found) <= 7
            one.records += found
            return len(one.records) == 50

        await until(polled, what="50 records")
    for partition in (0, 1):
        assert [v for v in values(one) if v % 2 == partition] == list(range(partition, 50, 2))


async def test_partition_resumed_during_a_poll_is_part_of_it(bootstrap_servers: str, topics: MakeTopic) -> None:
    topic = await topics(partitions=2)
    resumed, other = Partition(topic, 0), Partition(topic, 1)
    await put(bootstrap_servers, topic, *numbered(4, partitions=2))
    async with member(bootstrap_servers, topic) as one:
        await one.take(4)
        paused = frozenset({resumed})
        for _ in range(3):
            assert not await one.source.poll(timeout_seconds=0.05, records_max=5, paused=paused)
        await put(bootstrap_servers, topic, *numbered(2, start=4, partitions=2)[:1])
        poll = asyncio.create_task(one.source.poll(timeout_seconds=WAIT_SECONDS, records_max=5, paused=paused))
        await asyncio.sleep(0)
        one.source.resume([resumed, other])
        assert [record.partition for record in await poll] == [0]


async def test_new_member_resumes_at_the_committed_offset(bootstrap_servers: str, topics: MakeTopic) -> None:
    """A new group begins at the first offset."""
    topic = await topics()
    await put(bootstrap_servers, topic, *numbered(10))
    async with member(bootstrap_servers, topic) as one:
        await one.take(10)
        await one.source.commit({Partition(topic, 0): 4})
    async with member(bootstrap_servers, topic) as other:
        await other.take(6)
        assert values(other) == [4, 5, 6, 7, 8, 9]
        await other.source.commit({Partition(topic, 0): 10})
    await put(bootstrap_servers, topic, *numbered(1, start=10))
    async with (
        member(bootstrap_servers, topic) as third,
        member(bootstrap_servers, topic, group_id=f"other.{topic}") as stranger,
    ):
        await third.take(1)
        await stranger.take(11)
    assert values(third) == [10]
    assert values(stranger) == list(range(11))


async def test_uncommitted_records_are_read_again(bootstrap_servers: str, topics: MakeTopic) -> None:
    """Only `commit` commits offsets; leaving the group does not."""
    topic = await topics()
    await put(bootstrap_servers, topic, *numbered(3))
    for _ in range(2):
        async with member(bootstrap_servers, topic) as one:
            await one.take(3)
        assert values(one) == [0, 1, 2]


async def test_sought_partition_is_read_from_there_again(bootstrap_servers: str, topics: MakeTopic) -> None:
    """Once; the other partition goes on where it is, and a partition that is not assigned is left out."""
    topic = await topics(partitions=2)
    await put(bootstrap_servers, topic, *numbered(20, partitions=2))
    async with member(bootstrap_servers, topic) as one:
        await one.take(20)
        for _ in range(3):
            await one.source.poll(timeout_seconds=0.05, records_max=0)  # a standby between
        one.source.seek({Partition(topic, 0): 7, Partition(topic, 9): 1})
        await put(bootstrap_servers, topic, *numbered(2, start=20, partitions=2))
        await one.take(25)
    again = [record for record in one.records[20:] if record.partition == 0]
    assert [record.offset for record in again] == [7, 8, 9, 10]
    assert [record.offset for record in one.records[20:] if record.partition == 1] == [10]


async def test_seek_leaves_out_what_an_open_poll_took(bootstrap_servers: str, topics: MakeTopic) -> None:
    """A rebalance makes polls return before they have ended; records of before the seek must not arrive after it."""
    topic = await topics()
    await put(bootstrap_servers, topic, *numbered(10))
    async with member(bootstrap_servers, topic) as one:
        await one.take(10)
        taken = asyncio.get_running_loop().create_future()
        one.source._polling = taken
        one.source.seek({Partition(topic, 0): 4})
        taken.set_result([_consumer_record(topic, 7)])
        await one.take(16)
    assert values(one)[10:] == [4, 5, 6, 7, 8, 9]


def _consumer_record(topic: str, offset: int) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(
        topic=topic,
        partition=0,
        offset=offset,
        timestamp=0,
        timestamp_type=0,
        key=None,
        value=b"%d" % offset,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=1,
        headers=(),
    )


async def test_empty_poll_loses_nothing(bootstrap_servers: str, topics: MakeTopic) -> None:
    """Empty polls before the first record and between two records lose none."""
    topic = await topics(partitions=2)
    await put(bootstrap_servers, topic, *numbered(20, partitions=2))
    async with member(bootstrap_servers, topic) as one:

        async def polled() -> bool:
            for _ in range(3):
                assert list(await one.source.poll(timeout_seconds=0.05, records_max=0)) == []
            one.records += await one.source.poll(timeout_seconds=0.05, records_max=3)
            return len(one.records) == 20

        await until(polled, what="20 records")
    assert sorted(values(one)) == list(range(20))


async def test_record_before_the_assignment_callback_is_kept(bootstrap_servers: str, topics: MakeTopic) -> None:
    """aiokafka fetches while the callback still runs; each record is returned once all the same."""
    topic = await topics()
    await put(bootstrap_servers, topic, *numbered(5))
    known = asyncio.Event()

    async def look_up(_partitions: list[Partition]) -> None:
        await known.wait()

    async with member(bootstrap_servers, topic, on_assigned=look_up) as one:
        for _ in range(5):
            await one.poll()
        known.set()
        await one.take(5)
    assert values(one) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
async def test_poll_returns_in_time_during_a_rebalance(bootstrap_servers: str, topics: MakeTopic) -> None:
    """The consumer loop must also report that it is alive and react to a stop, so a poll returns in time."""
    topic = await topics(partitions=2)
    given_up, revoking = asyncio.Event(), asyncio.Event()

    async def give_up_slowly(revoked: list[Partition]) -> None:
        if revoked:
            revoking.set()
            await given_up.wait()

    async with member(bootstrap_servers, topic, on_revoked=give_up_slowly) as one, asyncio.TaskGroup() as group:

        async def join_and_leave() -> None:
            async with member(bootstrap_servers, topic):
                pass

        group.create_task(join_and_leave())
        try:

            async def rebalancing() -> bool:
                async with asyncio.timeout(10):
                    assert await one.poll() == []
                return revoking.is_set()

            await until(rebalancing, what="the partitions are revoked")
            assert await rebalancing()
        finally:
            given_up.set()


@pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
async def test_member_expelled_while_draining_joins_again(bootstrap_servers: str, topics: MakeTopic) -> None:
    """UNKNOWN_MEMBER_ID on a rejoin: a member that drains past the rebalance timeout is removed from the group. Some
    clients hang then; this one joins as a new member, and every partition has a consumer again.
    """
    topic = await topics(partitions=2)
    group_id = f"group.{topic}"
    drained = asyncio.Event()

    async def give_up_slowly(revoked: list[Partition]) -> None:
        if revoked:
            await drained.wait()

    async with member(bootstrap_servers, topic, on_revoked=give_up_slowly, rebalance_timeout_seconds=1.0) as one:

        async def one_has_both() -> bool:
            await one.poll()
            return len(one.partitions) == 2

        await until(one_has_both, what="both partitions are assigned")
        [known_as] = await members_of(bootstrap_servers, group_id)
        async with member(bootstrap_servers, topic, rebalance_timeout_seconds=1.0) as other:
            try:

                async def forgotten() -> bool:
                    await asyncio.gather(one.poll(), other.poll())
                    return known_as not in await members_of(bootstrap_servers, group_id)

                await until(forgotten, what="the group goes on without it")
            finally:
                drained.set()

            async def shared() -> bool:
                await asyncio.gather(one.poll(), other.poll())
                return len(one.partitions) == len(other.partitions) == 1

            await until(shared, what=lambda: f"both have one; {one.partitions}, {other.partitions}")
            await put(bootstrap_servers, topic, *numbered(4, partitions=2))

            async def all_came() -> bool:
                await asyncio.gather(one.poll(), other.poll())
                return len(one.records) + len(other.records) >= 4

            await until(all_came, what="the records after it")
            await one.source.commit(dict.fromkeys(one.partitions, 2))
    assert sorted(values(one) + values(other)) == [0, 1, 2, 3]


async def test_partitions_move_when_a_member_joins_or_leaves(bootstrap_servers: str, topics: MakeTopic) -> None:
    """Each partition has one member at a time, both members get their callbacks, and no record is lost."""
    topic = await topics(partitions=4)
    everything = {Partition(topic, number) for number in range(4)}
    async with member(bootstrap_servers, topic) as one:

        async def one_has_all() -> bool:
            await one.poll()
            return one.partitions == everything

        await until(one_has_all, what=lambda: f"all partitions are assigned; happened: {one.happened}")
        async with member(bootstrap_servers, topic) as other:

            async def shared() -> bool:
                await asyncio.gather(one.poll(), other.poll())
                return len(one.partitions) == len(other.partitions) == 2

            await until(shared, what=lambda: f"both have two; {one.partitions}, {other.partitions}")
            assert one.partitions | other.partitions == everything
            assert one.happened.count("revoked") >= 1
            await put(bootstrap_servers, topic, *numbered(40, partitions=4))

            async def all_came() -> bool:
                await asyncio.gather(one.poll(), other.poll())
                return len(one.records) + len(other.records) >= 40

            await until(all_came, what=lambda: f"40 records; {len(one.records)} and {len(other.records)}")
            for each in (one, other):
                assert {Partition(topic, r.partition) for r in each.records} == each.partitions
            assert sorted(values(one) + values(other)) == list(range(40))
        await until(one_has_all, what=lambda: f"the partitions come back; happened: {one.happened}")


@pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
async def test_added_partitions_are_read_from_their_beginning(bootstrap_servers: str, topics: MakeTopic) -> None:
    """The only member finds added partitions by itself, and reads records written before it found them."""
    topic = await topics()
    await put(bootstrap_servers, topic, *numbered(5))
    async with member(bootstrap_servers, topic) as one:
        await one.take(5)
        await one.source.commit({Partition(topic, 0): 5})
        await asyncio.to_thread(grow, bootstrap_servers, topic, 3)
        await put(bootstrap_servers, topic, *numbered(6, start=5, partitions=3))

        async def all_read() -> bool:
            await one.poll()
            return len(set(values(one))) == 11

        await until(all_read, what=lambda: f"11 records; happened: {one.happened}")
        assert set(values(one)) == set(range(11))
        # What was read before the rebalance, and not committed, is read again.
        repeated = Counter((record.partition, record.offset) for record in one.records)
        assert all(partition == 0 and offset >= 5 for (partition, offset), count in repeated.items() if count > 1)
        assert one.partitions == {Partition(topic, number) for number in range(3)}


def grow(bootstrap_servers: str, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for grown in admin.create_partitions([NewPartitions(topic, partitions)]).values():
        grown.result(WAIT_SECONDS)


@pytest.mark.parametrize("bootstrap_servers", [BROKEN_COMMITS, "apache"], indirect=True)
async def test_commit_during_a_revocation_counts(bootstrap_servers: str, topics: MakeTopic) -> None:
    """The partitions' next member continues at the committed offset: it repeats and skips no record."""
    topic = await topics(partitions=2)
    await put(bootstrap_servers, topic, *numbered(20, partitions=2))

    async def commit_all(revoked: list[Partition]) -> None:
        if revoked:
            await one.source.commit(dict.fromkeys(revoked, 10))

    async with member(bootstrap_servers, topic, on_revoked=commit_all) as one:
        await one.take(20)
        async with member(bootstrap_servers, topic) as other:

            async def shared() -> bool:
                await asyncio.gather(one.poll(), other.poll())
                return len(one.partitions) == len(other.partitions) == 1

            await until(shared, what=lambda: f"both have one; {one.partitions}, {other.partitions}")
            await put(bootstrap_servers, topic, *numbered(2, start=20, partitions=2))

            async def all_came() -> bool:
                await asyncio.gather(one.poll(), other.poll())
                return len(one.records) + len(other.records) >= 22

            await until(all_came, what="the records after the rebalance")
    assert len(values(other)) == 1
    assert sorted(values(one) + values(other)) == list(range(22))


async def test_aborted_records_are_not_read(bootstrap_servers: str, topics: MakeTopic) -> None:
    """Records of an aborted transaction are skipped; records of committed transactions are returned."""
    topic = await topics()

    def transact() -> None:
        producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "transactional.id": f"tx.{topic}", "log_level": 0, "linger.ms": 0}
        )
        producer.init_transactions(30)
        for number in range(6):
            producer.begin_transaction()
            producer.produce(topic, b"%d" % number)
            assert producer.flush(30) == 0
            if number % 2:
                producer.abort_transaction(30)
            else:
                producer.commit_transaction(30)

    await asyncio.to_thread(transact)
    async with member(bootstrap_servers, topic) as one:
        await one.take(3)
    assert values(one) == [0, 2, 4]


async def test_commit_for_a_partition_of_another_member_is_reported(bootstrap_servers: str, topics: MakeTopic) -> None:
    """Only the member that owns a partition may commit its offset."""
    topic = await topics()
    await put(bootstrap_servers, topic, *numbered(1))
    async with member(bootstrap_servers, topic) as one:
        await one.take(1)
        with pytest.raises(PartitionsLost):
            await one.source.commit({Partition(topic, 7): 1})
        await one.source.commit({Partition(topic, 0): 1})


@pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
async def test_expelled_member_commits_nothing(bootstrap_servers: str, topics: MakeTopic) -> None:
    """An empty group accepts a commit without a generation from any client; an expelled member must not send one."""
    topic = await topics()
    await put(bootstrap_servers, topic, *numbered(5))
    async with member(bootstrap_servers, topic) as one:
        await one.take(5)
        await one.source.commit({Partition(topic, 0): 5})
        assert one.source._consumer is not None
        await one.source._consumer._coordinator._maybe_leave_group()  # as after UNKNOWN_MEMBER_ID
        with pytest.raises(PartitionsLost):
            await one.source.commit({Partition(topic, 0): 3})
    assert await asyncio.to_thread(ends_and_committed, bootstrap_servers, topic, f"group.{topic}") == ([5], [5])


async def test_large_record_arrives(bootstrap_servers: str, topics: MakeTopic) -> None:
    """The record is larger than the default size of one fetch."""
    topic = await topics(configs={"max.message.bytes": str(12 * 1024 * 1024)})
    value = bytes(range(256)) * (10 * 1024 * 4)
    await put(bootstrap_servers, topic, ToSend(value=value), *numbered(1))
    async with member(bootstrap_servers, topic) as one:
        large, small = await one.take(2)
    assert (large.value == value, small.value) == (True, b"0")


async def test_unresponsive_broker_is_unavailable() -> None:
    """The start fails with an error that the caller may retry."""
    nowhere = connection(f"127.0.0.1:{free_port()}", request_timeout_seconds=2.0)
    source = KafkaConsumerClient(nowhere, topics=["none"], group_id="none")

    async def ignore(_partitions: object) -> None: ...

    for _ in range(2):
        with pytest.raises(Unavailable, match=nowhere.bootstrap_servers):
            await source.start(on_assigned=ignore, on_revoked=ignore)
    await source.stop()
