"""What a member of a group may commit, and what it knows of its membership: on Apache Kafka, whose groups are real."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import RequestTimedOutError

from tests.conformance.deadlines import WAIT_SECONDS, until
from tests.conformance.members import Member, member
from tests.conformance.producers import ToSend, ends_and_committed, send
from tests.testkit.topics import MakeTopic
from worker.kafka.aiokafka_workarounds import Membership
from worker.ports import Partition, PartitionsLost
from worker.rules.errors import Unavailable

pytestmark = pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)


async def put(bootstrap_servers: str, topic: str, count: int, *, partitions: int = 1) -> None:
    records = [ToSend(value=b"%d" % n, partition=n % partitions) for n in range(count)]
    await asyncio.to_thread(send, bootstrap_servers, topic, records)


async def committed(bootstrap_servers: str, topic: str) -> list[int]:
    _, offsets = await asyncio.to_thread(ends_and_committed, bootstrap_servers, topic, f"group.{topic}")
    return offsets


def membership_of(one: Member) -> Membership:
    assert one.source._membership is not None
    return one.source._membership


async def shared_by(one: Member, other: Member) -> None:
    """Waits until each has one of two partitions."""

    async def shared() -> bool:
        await asyncio.gather(one.poll(), other.poll())
        return len(one.partitions) == len(other.partitions) == 1

    await until(shared, what=lambda: f"both have one; {one.partitions}, {other.partitions}")


async def test_commit_is_not_repeated_under_the_next_generation(bootstrap_servers: str, topics: MakeTopic) -> None:
    """Otherwise it would take the offset of a partition back that is another member's by then."""
    topic = await topics(partitions=2)
    await put(bootstrap_servers, topic, 10, partitions=2)
    async with member(bootstrap_servers, topic) as one:
        await one.take(10)
        one.source._commit_timeout_seconds = WAIT_SECONDS
        membership, timed_out = membership_of(one), asyncio.Event()
        to_broker = membership._send

        async def times_out_once(_assignment: Any, _offsets: Any) -> None:
            membership._send = to_broker
            await timed_out.wait()
            raise RequestTimedOutError

        membership._send = times_out_once
        committing = asyncio.ensure_future(one.source.commit({Partition(topic, 0): 1, Partition(topic, 1): 1}))
        async with member(bootstrap_servers, topic) as other:
            await shared_by(one, other)
            (theirs,) = other.partitions
            await other.source.commit({theirs: 5})
            timed_out.set()
            with pytest.raises(PartitionsLost):
                await committing
    expected = [0, 0]
    expected[theirs.partition] = 5
    assert await committed(bootstrap_servers, topic) == expected


async def test_commit_that_timed_out_has_ended(bootstrap_servers: str, topics: MakeTopic) -> None:
    """aiokafka shields its request: it would be sent after the next one, and its answer be taken for that one's."""
    topic = await topics()
    await put(bootstrap_servers, topic, 5)
    async with member(bootstrap_servers, topic) as one:
        await one.take(5)
        membership = membership_of(one)
        to_broker, under_way = membership._send, []

        async def unanswered(_assignment: Any, _offsets: Any) -> None:
            under_way.append(asyncio.current_task())
            await asyncio.Event().wait()

        membership._send = unanswered
        one.source._commit_timeout_seconds = 0.1
        with pytest.raises(Unavailable):
            await one.source.commit({Partition(topic, 0): 3})
        [request] = under_way
        assert request is not None
        assert request.cancelled()
        membership._send = to_broker
        one.source._commit_timeout_seconds = WAIT_SECONDS
        await one.source.commit({Partition(topic, 0): 5})
    assert await committed(bootstrap_servers, topic) == [5]


async def test_rebalance_drops_no_member(bootstrap_servers: str, topics: MakeTopic) -> None:
    """Only the group's own word does, and until it has joined again."""
    topic = await topics(partitions=2)
    async with member(bootstrap_servers, topic) as one:
        await until(lambda: "assigned" in one.happened, what="it has joined")
        seen: set[bool] = set()

        async def note(_partitions: list[Partition]) -> None:
            seen.add(one.source.dropped)

        async with member(bootstrap_servers, topic, on_assigned=note) as other:
            await shared_by(one, other)
        assert seen == {False}
        await membership_of(one)._coordinator._maybe_leave_group()  # as when it has not polled for too long
        assert one.source.dropped

        async def joined_again() -> bool:
            await one.poll()
            return not one.source.dropped

        await until(joined_again, what="it has joined again")
