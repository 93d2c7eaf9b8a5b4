"""Where reading begins when the next offset is not in the partition's log: at the log's first record.

aiokafka would do so by itself, and mention it at `info`: that records expired before they were consumed would go
unnoticed. So it is told to reset nothing, and what it raises is handled here.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from worker.telemetry import RECORDS_EXPIRED, LogEvent, Metrics

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
