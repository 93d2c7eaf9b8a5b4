"""Which compression a publisher uses is its own affair: the worker reads them all."""

import pytest
from confluent_kafka import Producer

from schemas.record import Record
from tests.servers.topics import MakeTopic
from worker.kafka.connection import Connection
from worker.kafka.source import KafkaSource


async def _nothing(_partitions: object) -> None:
    pass


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_a_compressed_record_is_read(bootstrap_servers: str, topics: MakeTopic, codec: str) -> None:
    """A codec that cannot be read would stop a partition for ever, for one publisher's setting."""
    topic = await topics()
    value = b"compressible " * 200
    producer = Producer({"bootstrap.servers": bootstrap_servers, "compression.type": codec})
    producer.produce(topic, value=value)
    assert producer.flush(30) == 0
    source = KafkaSource(
        Connection(bootstrap_servers=bootstrap_servers, client_id="test"), topics=[topic], group_id=f"reads {topic}"
    )
    await source.start(on_assigned=_nothing, on_revoked=_nothing)
    records: list[Record] = []
    try:
        while not records:
            records += await source.poll(timeout_seconds=1.0, records_max=10)
    finally:
        await source.stop()
    assert [record.value for record in records] == [value]
