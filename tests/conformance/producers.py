"""Produces records and reads them back with confluent-kafka, a client library that the worker does not use."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.record import Headers, Record

WAIT_SECONDS = 60
_BYTES_MAX = 64 * 1024 * 1024
_NOT_YET = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)
"""Errors of a broker that has just started and has not loaded its groups and partitions; the caller retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToSend:
    """`partition` -1: the key decides. `timestamp_ms` 0: now."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int = -1
    timestamp_ms: int = 0


def send(
    bootstrap_servers: str,
    topic: str,
    records: Iterable[ToSend],
    *,
    compression: str = "none",
    idempotent: bool = True,
) -> None:
    """Returns when all replicas have acknowledged all records; each partition keeps their order. Blocks.

    An idempotent producer of this library first waits for half a second. Without that, a record whose acknowledgement
    is lost may be written twice.
    """
    problems: list[KafkaError] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": idempotent,
            "max.in.flight": 5 if idempotent else 1,
            "message.max.bytes": _BYTES_MAX,
            "linger.ms": 0,
            "compression.type": compression,
        }
    )
    for record in records:
        produce(producer, topic, record, problems)
    assert producer.flush(WAIT_SECONDS) == 0
    assert problems == []


def produce(producer: Producer, topic: str, record: ToSend, problems: list[KafkaError]) -> None:
    """Queues one record; a delivery error is appended to `problems`."""
    producer.produce(
        topic,
        record.value,
        key=record.key,
        headers=list(record.headers),
        partition=record.partition,
        timestamp=record.timestamp_ms,
        on_delivery=lambda error, _: problems.append(error) if error is not None else None,
    )
    producer.poll(0)


def read_all(bootstrap_servers: str, topic: str) -> list[Message]:
    """Every record that the topic holds now, by partition and offset. Blocks."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "tests.read-all",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": _BYTES_MAX,
            "receive.message.max.bytes": _BYTES_MAX + 1024,
        }
    )
    try:
        ends = _ends(consumer, topic)
        consumer.assign([TopicPartition(topic, partition, 0) for partition, end in ends.items() if end])
        found: list[Message] = []
        missing = {partition: end for partition, end in ends.items() if end}
        while missing:
            message = consumer.poll(WAIT_SECONDS)
            assert message is not None, f"{topic}: nothing came; still missing {missing}"
            assert message.error() is None, message.error()
            found.append(message)
            partition, offset = _place(message)
            if offset + 1 >= missing.get(partition, 0):
                missing.pop(partition, None)
        return sorted(found, key=_place)
    finally:
        consumer.close()


def ends_and_committed(bootstrap_servers: str, topic: str, group_id: str) -> tuple[list[int], list[int]]:
    """Each partition's end and its committed offset (0: none; -1: the broker cannot report it yet). Blocks."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group_id, "enable.auto.commit": False})
    ends: dict[int, int] = {}
    try:
        ends = _ends(consumer, topic)
        committed = consumer.committed([TopicPartition(topic, partition) for partition in ends], timeout=WAIT_SECONDS)
        return list(ends.values()), [max(place.offset, 0) for place in committed]
    except KafkaException as error:
        if error.args[0].code() not in _NOT_YET:
            raise
        return list(ends.values()) or [0], [-1 for _ in ends] or [-1]
    finally:
        consumer.close()


def headers_of(message: Message) -> Headers:
    headers: Sequence[tuple[str, bytes | None]] = message.headers() or ()  # type: ignore[assignment]
    return tuple(headers)


def record_of(message: Message) -> Record:
    """The message as the worker's consumer would return it."""
    partition, offset = _place(message)
    key: Any = message.key()
    value: Any = message.value()
    return Record(
        topic=str(message.topic()),
        partition=partition,
        offset=offset,
        timestamp_ms=message.timestamp()[1],
        key=None if key is None else bytes(key),
        value=None if value is None else bytes(value),
        headers=headers_of(message),
    )


def _ends(consumer: Consumer, topic: str) -> dict[int, int]:
    partitions = sorted(consumer.list_topics(topic, timeout=WAIT_SECONDS).topics[topic].partitions)
    ends = {}
    for partition in partitions:
        watermarks = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=WAIT_SECONDS)
        assert watermarks is not None
        ends[partition] = watermarks[1]
    return ends


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset
