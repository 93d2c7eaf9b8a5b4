"""The plain loop: what most teams write first, written well. One message, one transaction, its status events, the next.

Offsets are committed once a second behind what is done; on uvloop, like the worker.
"""

import asyncio
import signal
import time
from typing import Final

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from benchmarks.contenders.environment import Environment, read_environment
from benchmarks.contenders.orm_events import DeploymentEvent
from benchmarks.contenders.orm_handler import OrmHandler
from benchmarks.contenders.orm_log import Place
from benchmarks.contenders.status_records import StatusRecord

_COMMIT_INTERVAL_SECONDS: Final = 1.0
_POLL_TIMEOUT_MS: Final = 200


async def main(environment: Environment) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    consumer = AIOKafkaConsumer(
        environment.input_topic,
        bootstrap_servers=environment.bootstrap_servers,
        group_id=environment.group_id,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=environment.bootstrap_servers, acks="all", enable_idempotence=True, linger_ms=0
    )
    handler = OrmHandler(environment.database_url, connections=1)
    async with producer, consumer:
        try:
            await _consume(consumer, producer, handler, environment, stop)
        finally:
            await handler.close()


async def _consume(
    consumer: AIOKafkaConsumer,
    producer: AIOKafkaProducer,
    handler: OrmHandler,
    environment: Environment,
    stop: asyncio.Event,
) -> None:
    done: dict[TopicPartition, int] = {}
    committed_at_seconds = time.monotonic()
    while not stop.is_set():
        batches = await consumer.getmany(timeout_ms=_POLL_TIMEOUT_MS)
        for record in (record for batch in batches.values() for record in batch):
            await _publish(producer, await _handle(handler, record), environment)
            done[TopicPartition(record.topic, record.partition)] = record.offset + 1
            if stop.is_set():
                break
            if time.monotonic() - committed_at_seconds >= _COMMIT_INTERVAL_SECONDS:
                await consumer.commit(done)
                committed_at_seconds = time.monotonic()
                done.clear()
        if done and (not batches or stop.is_set()):
            await consumer.commit(done)
            done.clear()


async def _handle(handler: OrmHandler, record: ConsumerRecord[bytes, bytes]) -> list[StatusRecord]:
    event = DeploymentEvent.model_validate_json(record.value or b"")
    return await handler.handle(event, Place(topic=record.topic, partition=record.partition, offset=record.offset))


async def _publish(producer: AIOKafkaProducer, records: list[StatusRecord], environment: Environment) -> None:
    """All are queued in order, then awaited together: they share a round trip."""
    topics = {"deployment": environment.deployment_status_topic, "release": environment.release_status_topic}
    sent = [
        await producer.send(topics[record.about], record.value, key=record.key, headers=record.raw_headers)
        for record in records
    ]
    await asyncio.gather(*sent)


if __name__ == "__main__":
    uvloop.run(main(read_environment()))
