"""Records into topics, records out of them, and how far a group has come: by librdkafka, which no contender's speed
depends on. Everything here blocks.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.conformance.producers import ToSend
from tests.oracle.records import Record
from tests.testkit.topic_creation import create_topics

WAIT_SECONDS: Final = 60.0
_BATCH_RECORDS: Final = 5_000
_BATCH_TIMEOUT_SECONDS: Final = 0.2
_QUEUE_RECORDS_MAX: Final = 50_000
_LOG_APPEND_TIME: Final = {"message.timestamp.type": "LogAppendTime"}


class TopicsFailed(Exception):
    """The broker did not take or give a record in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The output topics of one contender in one run."""

    deployment_status: str
    release_status: str
    dead_letters: str

    @property
    def status(self) -> tuple[str, str]:
        return self.deployment_status, self.release_status


def create_input(bootstrap_servers: str, topic: str, *, partitions: int) -> None:
    asyncio.run(create_topics(bootstrap_servers, {topic: partitions}))


def create_outputs(bootstrap_servers: str, name: str, *, partitions: int) -> Outputs:
    """Fresh topics, in which the broker's clock stamps every record: the same clock for all."""
    outputs = Outputs(
        deployment_status=f"{name}.deployment-status",
        release_status=f"{name}.release-status",
        dead_letters=f"{name}.dead-letters",
    )
    names = (*outputs.status, outputs.dead_letters)
    asyncio.run(create_topics(bootstrap_servers, dict.fromkeys(names, partitions), _LOG_APPEND_TIME))
    return outputs


def fill(bootstrap_servers: str, topic: str, records: Iterable[ToSend]) -> int:
    """Produce all, keyed, in their order within each partition; return how many. Raises TopicsFailed."""
    problems: list[str] = []
    producer = Producer(
        {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 20, "log_level": 2}
    )
    count = 0
    for record in records:
        while len(producer) >= _QUEUE_RECORDS_MAX:
            producer.poll(0.1)
        producer.produce(
            topic,
            record.value,
            key=record.key,
            headers=list(record.headers),
            timestamp=record.timestamp_ms,
            on_delivery=lambda error, _: problems.append(str(error)) if error else None,
        )
        producer.poll(0)
        count += 1
    if producer.flush(WAIT_SECONDS) or problems:
        raise TopicsFailed(f"{topic}: not all records were taken: {problems[:3]}")
    return count


def read_topic(bootstrap_servers: str, topic: str) -> list[Record]:
    """Return every record that the topic holds now, by partition and offset."""
    settings = {"bootstrap.servers": bootstrap_servers, "group.id": "benchmarks.read", "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
    try:
        ends = {partition: end for partition, end in TopicOffsets(bootstrap_servers).ends(topic).items() if end}
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        found: list[Record] = []
        missing = dict(ends)
        heard_at_seconds = time.monotonic()
        while missing:
            messages = consumer.consume(_BATCH_RECORDS, timeout=_BATCH_TIMEOUT_SECONDS)
            if messages:
                heard_at_seconds = time.monotonic()
            elif time.monotonic() - heard_at_seconds > WAIT_SECONDS:
                raise TopicsFailed(f"{topic}: nothing came for {WAIT_SECONDS:.0f} s, still missing {missing}")
            for message in messages:
                record = record_of(message)
                found.append(record)
                if record.offset + 1 >= ends[record.partition]:
                    missing.pop(record.partition, None)
        return sorted(found, key=lambda record: (record.partition, record.offset))
    finally:
        consumer.close()


class TopicOffsets:
    """How far topics and groups are; one for a lap, since each is a connection."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        self._partitions: dict[str, list[TopicPartition]] = {}

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end offset of each partition; a topic's leaders may still be settling in. Raises TopicsFailed."""
        give_up_at_seconds = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return self._ends(topic)
            except KafkaException as error:
                if time.monotonic() > give_up_at_seconds:
                    raise TopicsFailed(f"the end offsets of {topic} cannot be read: {error}") from error
                time.sleep(_BATCH_TIMEOUT_SECONDS)

    def _ends(self, topic: str) -> dict[int, int]:
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = dict.fromkeys(self._of(topic), latest)
        answers = self._admin.list_offsets(asked, request_timeout=WAIT_SECONDS)
        return {partition.partition: answer.result().offset for partition, answer in answers.items()}

    def count(self, *topics: str) -> int:
        """Return how many records the topics hold; none has gaps but behind transactions, which nobody here uses."""
        return sum(sum(self.ends(topic).values()) for topic in topics)

    def committed(self, group_id: str, topic: str) -> int:
        """Return how many records the group has committed; 0 while there is no such group."""
        asked = ConsumerGroupTopicPartitions(group_id, self._of(topic))
        try:
            [answer] = self._admin.list_consumer_group_offsets([asked], request_timeout=WAIT_SECONDS).values()
            places = answer.result().topic_partitions or []
        except KafkaException:  # the coordinator has only just begun to look after the group
            return 0
        return sum(max(resources.offset, 0) for resources in places)

    def _of(self, topic: str) -> list[TopicPartition]:
        if topic not in self._partitions:
            described = self._admin.list_topics(topic, timeout=WAIT_SECONDS).topics[topic]
            self._partitions[topic] = [TopicPartition(topic, partition) for partition in sorted(described.partitions)]
        return self._partitions[topic]


def record_of(message: Message) -> Record:
    """Return the library's record as the oracle reads it. Raises TopicsFailed for an error."""
    topic, partition, offset, key = message.topic(), message.partition(), message.offset(), message.key()
    if message.error() is not None or topic is None or partition is None or offset is None:
        raise TopicsFailed(str(message.error()))
    headers: Sequence[tuple[str, bytes | None]] = message.headers() or ()  # type: ignore[assignment]
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        key=key.encode() if isinstance(key, str) else key,
        value=bytes(message.value() or b""),
        headers=tuple((name, value or b"") for name, value in headers),
        timestamp_ms=message.timestamp()[1],
    )
