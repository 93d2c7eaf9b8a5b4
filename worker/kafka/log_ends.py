"""How far the partitions of a consumer reach, whether or not their records are fetched."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from worker.ports import LogEnd, Partition
from worker.rules.errors import Unavailable

_TIMEOUT_SECONDS = 5.0
_POSITION_TIMEOUT_SECONDS = 0.1


async def log_ends(consumer: AIOKafkaConsumer) -> Mapping[Partition, LogEnd]:
    """As `worker.ports.LogEnds` says, of a consumer that reads committed records only."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            stable = await consumer.end_offsets(consumer.assignment())
    except (KafkaError, TimeoutError) as error:
        raise Unavailable(f"the ends of the partitions are not available: {error!r}") from error
    ends: dict[Partition, LogEnd] = {}
    for partition in consumer.assignment() & stable.keys():
        position = await _position(consumer, partition)
        if position is not None and partition in consumer.assignment():
            # The high watermark comes with fetched records: while nothing is fetched it may be behind.
            end = max(consumer.highwater(partition) or 0, stable[partition])
            ends[Partition(*partition)] = LogEnd(position=position, stable=stable[partition], end=end)
    return ends


async def _position(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The next offset to be fetched; None where it is not known yet, or the partition is gone."""
    try:
        async with asyncio.timeout(_POSITION_TIMEOUT_SECONDS):
            return int(await consumer.position(partition))
    except (KafkaError, TimeoutError):
        return None
