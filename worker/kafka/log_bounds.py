"""Where the logs of a consumer's partitions begin and end.

Reading begins at a log's first record when the next offset is not in the log. aiokafka would do so by itself and log it
at `info`: records that expired before they were consumed would go unnoticed. So it resets nothing
(`auto_offset_reset="none"`), and what it raises is handled here.
"""

import asyncio
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from worker.ports import LogEnd, Partition
from worker.rules.errors import Unavailable
from worker.telemetry import RECORDS_EXPIRED, LogEvent, Metrics

_TIMEOUT_SECONDS = 5.0
_POSITION_TIMEOUT_SECONDS = 0.1

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.kafka")


async def fetch(consumer: AIOKafkaConsumer, metrics: Metrics, **options: Any) -> list[ConsumerRecord]:
    """`getmany` of a consumer with `auto_offset_reset="none"`, its partitions moved to the start of their logs where
    that is needed; then there are no records yet.

    Raises:
        KafkaError: as `getmany`.
    """
    try:
        batches = await consumer.getmany(**options)
    except NoOffsetForPartitionError as error:
        await _to_log_start(consumer, error.args)
        return []
    except OffsetOutOfRangeError as error:
        (wanted,) = error.args
        _report(wanted, await _to_log_start(consumer, wanted), metrics)
        return []
    return list(chain.from_iterable(batches.values()))


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


async def _to_log_start(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> Mapping[TopicPartition, int]:
    """The first offset of each of those that are still assigned."""
    first = await consumer.beginning_offsets(list(partitions))
    moved = {partition: offset for partition, offset in first.items() if partition in consumer.assignment()}
    for partition, offset in moved.items():
        consumer.seek(partition, offset)
    return moved


def _report(wanted: Mapping[TopicPartition, int], moved: Mapping[TopicPartition, int], metrics: Metrics) -> None:
    for partition, to_offset in moved.items():
        from_offset = wanted[partition]
        count = to_offset - from_offset
        if count <= 0:
            _log.warning(LogEvent.LOG_TRUNCATED, **partition._asdict(), from_offset=from_offset, to_offset=to_offset)
            continue
        metrics.count(RECORDS_EXPIRED, partition.topic, str(partition.partition), by=count)
        _log.warning(
            LogEvent.RECORDS_EXPIRED,
            **partition._asdict(),
            from_offset=from_offset,
            to_offset=to_offset,
            count=count,
        )
