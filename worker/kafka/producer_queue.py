"""Queues a batch with aiokafka's producer.

aiokafka's own way, `send_batch`, waits until the partition's queue is empty, and has two faults there:

- Each wait takes the time since the first wait off its timeout. Where many batches wait for one partition, it raises
  KafkaTimeoutError after less than a second of its 40 seconds.
- After a wait it does not look whether the producer was closed. The batch is then queued with a producer that sends
  nothing any more, and its future is never done.

Here the batch stands behind what is queued, and nothing waits. How much is queued is bounded by what is in flight.
"""

import asyncio
import copy

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerClosed
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata


def queued_batch(
    producer: AIOKafkaProducer, batch: BatchBuilder, partition: TopicPartition
) -> asyncio.Future[RecordMetadata]:
    """A future of the batch's acknowledgement. The metadata of its topic must be known.

    Cancelling the future leaves the batch queued.

    Raises:
        KafkaError: the producer is closed, or has failed for good.
    """
    accumulator = producer._message_accumulator  # noqa: SLF001
    if accumulator._closed:  # noqa: SLF001
        raise ProducerClosed
    if accumulator._exception is not None:  # noqa: SLF001
        raise copy.copy(accumulator._exception)  # noqa: SLF001
    return asyncio.shield(accumulator._append_batch(batch, partition).future)  # noqa: SLF001
