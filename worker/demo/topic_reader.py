"""Read a whole topic again, from the first record to the last one there is now, by a consumer of one's own."""

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from worker.demo.record import TopicRecord

READ_TIMEOUT_SECONDS: Final = 20.0
FETCH_BYTES_MAX: Final = 8 * 1024 * 1024


async def read_topic(*, bootstrap_servers: str, topic: str) -> tuple[TopicRecord, ...]:
    """Return the topic's records by partition and offset; raises TimeoutError where the broker does not serve them."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(READ_TIMEOUT_SECONDS):
            return await _read(consumer, topic)
    finally:
        await consumer.stop()


def record_of(message: ConsumerRecord[bytes, bytes]) -> TopicRecord:
    """Return the library's record as the demo's own; an absent value is an empty one."""
    return TopicRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value or b"",
        headers=tuple((name, bytes(value or b"")) for name, value in message.headers),
        timestamp_ms=message.timestamp,
    )


async def _read(consumer: AIOKafkaConsumer, topic: str) -> tuple[TopicRecord, ...]:
    await consumer.topics()  # fetches the metadata that partitions_for_topic looks at
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    if not partitions:
        return ()
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    found: dict[TopicPartition, list[TopicRecord]] = {partition: [] for partition in partitions}
    while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
        for partition, batch in (await consumer.getmany(timeout_ms=200)).items():
            found[partition] += [record_of(message) for message in batch if message.offset < ends[partition]]
    return tuple(record for partition in partitions for record in found[partition])
