"""Records that were fetched before a rebalance and not yet returned by a poll are dropped."""

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace

from aiokafka import ConsumerRecord, TopicPartition

from worker.kafka.connection import Connection
from worker.kafka.consumer_client import KafkaConsumerClient
from worker.ports import Partition


class SlowConsumer:
    """Its first `getmany` outlasts the poll, as during a rebalance; each call gives one record."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.calls = 0

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("t", 0)}

    def paused(self) -> set[TopicPartition]:
        return set()

    def pause(self, *partitions: TopicPartition) -> None:
        assert not partitions

    def resume(self, *partitions: TopicPartition) -> None:
        assert not partitions

    async def getmany(self, **_: object) -> dict[TopicPartition, list[ConsumerRecord]]:
        self.calls += 1
        call = self.calls
        if call == 1:
            await self.gate.wait()
        record = SimpleNamespace(topic="t", partition=0, offset=call, timestamp=0, key=None, value=None, headers=())
        return {TopicPartition("t", 0): [record]}

    async def stop(self) -> None:
        pass


async def test_untaken_records_of_a_revoked_partition_are_dropped() -> None:
    """The worker no longer owns the partition; its next owner gets these records."""
    source = KafkaConsumerClient(
        Connection(bootstrap_servers="127.0.0.1:1", client_id="test"), topics=["t"], group_id="g"
    )
    consumer = SlowConsumer()
    source._consumer = consumer
    revoked: list[Partition] = []

    async def note(partitions: Iterable[Partition]) -> None:
        revoked.extend(partitions)

    try:
        assert list(await source.poll(timeout_seconds=0.0, records_max=10)) == []
        consumer.gate.set()
        while source._polling is not None and not source._polling.done():
            await asyncio.sleep(0)
        await source._forgetting(note)([Partition("t", 0)])
        assert revoked == [Partition("t", 0)]
        assert [record.offset for record in await source.poll(timeout_seconds=1.0, records_max=10)] == [2]
    finally:
        await source.stop()
