"""Every broker of the tests speaks Kafka as both client libraries do; Apache Kafka moreover keeps what it took."""

import asyncio
import os
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, ConfigResource

from tests.testkit.apache_kafka import ApacheKafka
from tests.testkit.clients import (
    HEADERS,
    LARGE_BYTES,
    TIMESTAMP_MS,
    WAIT_SECONDS,
    consume_by_aiokafka,
    consume_by_librdkafka,
    produce_by_aiokafka,
    produce_by_librdkafka,
)
from tests.testkit.topic_creation import TopicsNotCreated, create_topics
from tests.testkit.topics import MakeTopic, delete_topics

LARGE_CONFIGS = {"max.message.bytes": str(LARGE_BYTES + 64 * 1024)}


class TestEveryBroker:
    async def test_record_of_librdkafka_reaches_aiokafka_unchanged(
        self, bootstrap_servers: str, topics: MakeTopic
    ) -> None:
        """Key, value, timestamp and headers, repeated, empty and null ones in order, survive the way."""
        topic = await topics(name_hint="servers.in")
        await asyncio.to_thread(produce_by_librdkafka, bootstrap_servers, topic, b"value")
        record = await consume_by_aiokafka(bootstrap_servers, topic)
        assert (record.key, record.value, record.timestamp) == (b"key", b"value", TIMESTAMP_MS)
        assert list(record.headers) == HEADERS

    async def test_record_of_aiokafka_reaches_librdkafka_unchanged(
        self, bootstrap_servers: str, topics: MakeTopic
    ) -> None:
        """The same the other way round."""
        topic = await topics(name_hint="servers.out")
        await produce_by_aiokafka(bootstrap_servers, topic, b"value")
        message = await asyncio.to_thread(consume_by_librdkafka, bootstrap_servers, topic)
        assert (message.key(), message.value(), message.timestamp()[1]) == (b"key", b"value", TIMESTAMP_MS)
        assert message.headers() == HEADERS

    async def test_record_without_a_value_keeps_none(self, bootstrap_servers: str, topics: MakeTopic) -> None:
        """Null is not the empty value."""
        topic = await topics()
        await produce_by_aiokafka(bootstrap_servers, topic, None)
        assert (await consume_by_aiokafka(bootstrap_servers, topic)).value is None

    async def test_offsets_count_from_zero_without_gaps(self, bootstrap_servers: str, topics: MakeTopic) -> None:
        topic = await topics()
        assert [await produce_by_aiokafka(bootstrap_servers, topic, b"v") for _ in range(3)] == [0, 1, 2]

    async def test_ten_mebibytes_pass_where_the_topic_allows_them(
        self, bootstrap_servers: str, topics: MakeTopic
    ) -> None:
        """`max.message.bytes` on the topic is all the broker needs."""
        topic = await topics(configs=LARGE_CONFIGS)
        value = os.urandom(LARGE_BYTES)
        await produce_by_aiokafka(bootstrap_servers, topic, value)
        assert (await consume_by_aiokafka(bootstrap_servers, topic)).value == value

    async def test_topic_has_the_requested_partitions(self, bootstrap_servers: str, topics: MakeTopic) -> None:
        topic = await topics(partitions=3)
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
        await consumer.start()
        try:
            ends = await consumer.end_offsets([TopicPartition(topic, partition) for partition in range(3)])
        finally:
            await consumer.stop()
        assert list(ends.values()) == [0, 0, 0]

    async def test_existing_topic_is_unchanged(self, bootstrap_servers: str, topics: MakeTopic) -> None:
        """Creating topics twice is no error and loses nothing."""
        topic = await topics()
        await produce_by_aiokafka(bootstrap_servers, topic, b"kept")
        await create_topics(bootstrap_servers, {topic: 1})
        assert (await consume_by_aiokafka(bootstrap_servers, topic)).value == b"kept"

    async def test_topic_keeps_records_with_old_timestamps(self, bootstrap_servers: str, topics: MakeTopic) -> None:
        """With a broker's default a record stamped 2023 would be gone within seconds or minutes."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, await topics())
        client = AdminClient({"bootstrap.servers": bootstrap_servers})
        [described] = client.describe_configs([resource]).values()
        assert (await asyncio.to_thread(described.result, WAIT_SECONDS))["retention.ms"].value == "-1"

    async def test_impossible_topic_is_refused(self, bootstrap_servers: str) -> None:
        with pytest.raises(TopicsNotCreated, match="no/such"):
            await create_topics(bootstrap_servers, {"no/such name": 1}, timeout_seconds=10)


class TestApacheKafka:
    @pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
    async def test_acknowledged_record_survives_a_kill(
        self, bootstrap_servers: str, apache_kafka: ApacheKafka, topics: MakeTopic
    ) -> None:
        """A crashed and restarted broker answers at the same address and still has what it acknowledged."""
        topic = await topics(name_hint="servers.kill")
        await asyncio.to_thread(produce_by_librdkafka, bootstrap_servers, topic, b"kept")
        await asyncio.to_thread(apache_kafka.restart)
        assert apache_kafka.bootstrap_servers == bootstrap_servers
        assert (await consume_by_aiokafka(bootstrap_servers, topic)).value == b"kept"

    @pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
    async def test_stopped_broker_is_unreachable_and_restarts(
        self, bootstrap_servers: str, apache_kafka: ApacheKafka, topics: MakeTopic
    ) -> None:
        topic = await topics()
        await produce_by_aiokafka(bootstrap_servers, topic, b"kept")
        await asyncio.to_thread(apache_kafka.stop)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*bootstrap_servers.split(":"))
        await asyncio.to_thread(apache_kafka.start)
        assert (await consume_by_aiokafka(bootstrap_servers, topic)).value == b"kept"

    @pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
    async def test_kafkas_own_tools_run(
        self, bootstrap_servers: str, apache_kafka: ApacheKafka, topics: MakeTopic
    ) -> None:
        """The console consumer prints a record that aiokafka sent."""
        topic = await topics()
        await produce_by_aiokafka(bootstrap_servers, topic, b"from aiokafka")
        tool = "org.apache.kafka.tools.consumer.ConsoleConsumer"
        arguments = ["--bootstrap-server", bootstrap_servers, "--topic", topic, "--from-beginning", "--max-messages=1"]
        assert await asyncio.to_thread(apache_kafka.console_tool, tool, *arguments) == "from aiokafka\n"

    @pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
    async def test_broker_creates_topics_by_default(self, bootstrap_servers: str, apache_kafka: ApacheKafka) -> None:
        """So a client of the worker that creates a topic is noticed: see `tests/conformance/test_topic_creation.py`."""
        topic = f"by-another-client.{uuid.uuid4().hex}"
        producer = Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        errors: list[KafkaError | None] = []
        producer.produce(topic, b"v", on_delivery=lambda error, _: errors.append(error))
        await asyncio.to_thread(producer.flush, WAIT_SECONDS)
        assert errors == [None]
        await asyncio.to_thread(delete_topics, bootstrap_servers, [topic])
