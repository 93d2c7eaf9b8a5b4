"""A tombstone without a key is the one record that aiokafka's producer refuses by assertion; its letter is sent."""

from confluent_kafka import Consumer

from tests.testkit.topics import MakeTopic
from worker.kafka.connection import Connection
from worker.kafka.publisher import KafkaPublisher
from worker.ports import OutgoingRecord


async def test_record_without_key_and_value_is_published(bootstrap_servers: str, topics: MakeTopic) -> None:
    """One such record must not be able to end the worker, or to lose its dead letter."""
    topic = await topics(partitions=2)
    publisher = KafkaPublisher(Connection(bootstrap_servers=bootstrap_servers, client_id="test"))
    await publisher.start()
    headers = (("rudder-reason", b"not_a_cloudevent"), ("empty", None))
    try:
        for expected_offset in range(3):
            written = await publisher.produce(OutgoingRecord(topic=topic, key=None, value=None, headers=headers))
            assert written == (0, expected_offset)
    finally:
        await publisher.stop()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"reads {topic}",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    try:
        record = consumer.poll(30.0)
    finally:
        consumer.close()
    assert record is not None
    assert record.error() is None
    assert (record.key(), record.value()) == (None, None)
    assert record.headers() == [("rudder-reason", b"not_a_cloudevent"), ("empty", None)]
