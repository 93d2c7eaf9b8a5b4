"""One record in, one record out, by either client library: what the tests hold the brokers against."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from confluent_kafka import Consumer, KafkaError, Message, Producer

WAIT_SECONDS = 30
LARGE_BYTES = 10 * 1024 * 1024
TIMESTAMP_MS = 1_700_000_000_123
HEADERS: list[tuple[str, bytes | None]] = [
    ("ce_id", b"1"),
    ("none", None),
    ("empty", b""),
    ("ce_id", "zwei ü".encode()),
]


def produce_by_librdkafka(bootstrap_servers: str, topic: str, value: bytes | None) -> Message:
    """Sends one record to partition 0 and returns it as acknowledged by all."""
    done: list[tuple[KafkaError | None, Message]] = []
    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all", "message.max.bytes": LARGE_BYTES * 2})
    producer.produce(
        topic,
        value,
        key=b"key",
        partition=0,
        headers=HEADERS,  # type: ignore[arg-type]  # the stub leaves out the null values that the library takes
        timestamp=TIMESTAMP_MS,
        on_delivery=lambda error, message: done.append((error, message)),
    )
    assert producer.flush(WAIT_SECONDS) == 0
    [(error, message)] = done
    assert error is None
    return message


def consume_by_librdkafka(bootstrap_servers: str, topic: str) -> Message:
    """The first record of the topic, read as a member of a new group."""
    settings: dict[str, str | int | bool] = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": f"group.{topic}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    consumer = Consumer(settings)
    try:
        consumer.subscribe([topic])
        message = consumer.poll(WAIT_SECONDS)
        assert message is not None
        assert message.error() is None
        return message
    finally:
        consumer.close()


async def produce_by_aiokafka(bootstrap_servers: str, topic: str, value: bytes | None) -> int:
    """Sends one record to partition 0 and returns its offset."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True, max_request_size=LARGE_BYTES * 2
    )
    await producer.start()
    try:
        sent = await producer.send_and_wait(
            topic, value, key=b"key", partition=0, headers=HEADERS, timestamp_ms=TIMESTAMP_MS
        )
        return int(sent.offset)
    finally:
        await producer.stop()


async def consume_by_aiokafka(bootstrap_servers: str, topic: str) -> ConsumerRecord[bytes, bytes]:
    """The first record of the topic, read as a member of a new group."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        group_id=f"group.{topic}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            return await consumer.getone()
    finally:
        await consumer.stop()
