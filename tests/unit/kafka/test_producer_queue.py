"""The faults of aiokafka's `send_batch` that `worker.kafka.producer_queue` avoids: once they are mended it can go."""

import asyncio

from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator

PARTITION = TopicPartition("out", 0)
WAIT_SECONDS = 60.0


def accumulator() -> MessageAccumulator:
    return MessageAccumulator(ClusterMetadata(), 16_384, 0, WAIT_SECONDS)


def a_batch(queue: MessageAccumulator) -> BatchBuilder:
    batch = queue.create_builder()
    batch.append(timestamp=None, key=b"key", value=b"value")
    batch.close()
    return batch


async def test_batch_is_queued_with_a_closed_producer() -> None:
    queue = accumulator()
    first = await queue.add_batch(a_batch(queue), PARTITION, WAIT_SECONDS)
    waiting = asyncio.ensure_future(queue.add_batch(a_batch(queue), PARTITION, WAIT_SECONDS))
    await asyncio.sleep(0)
    sent = queue._pop_batch(PARTITION)
    queue._closed = True
    second = await waiting  # mended, this raises ProducerClosed
    assert not second.done()
    sent.done_noack()
    queue._pop_batch(PARTITION).done_noack()
    assert await asyncio.gather(first, second) == [None, None]
