"""Which compression a publisher uses is its own affair: the worker reads them all, and past what cannot be read."""

import asyncio
import contextlib

import pytest
from confluent_kafka import Producer

from schemas.record import Record
from tests.conformance.deadlines import until
from tests.conformance.members import member
from tests.conformance.producers import ToSend, send
from tests.testkit.apache_kafka import ApacheKafka
from tests.testkit.topics import MakeTopic
from worker.kafka.connection import Connection
from worker.kafka.consumer_client import KafkaConsumerClient
from worker.rules.errors import Unavailable


async def _nothing(_partitions: object) -> None:
    pass


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_compressed_record_is_read(bootstrap_servers: str, topics: MakeTopic, codec: str) -> None:
    """A codec that cannot be read would stop a partition for ever, for one publisher's setting."""
    topic = await topics()
    value = b"compressible " * 200
    producer = Producer({"bootstrap.servers": bootstrap_servers, "compression.type": codec})
    producer.produce(topic, value=value)
    assert producer.flush(30) == 0
    source = KafkaConsumerClient(
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


@pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
async def test_corrupt_batch_does_not_stop_its_partition(
    bootstrap_servers: str, apache_kafka: ApacheKafka, topics: MakeTopic
) -> None:
    """A bad disk: the broker serves what it finds, and its checksum is wrong at every fetch."""
    topic = await topics()
    for value in (b"first", b"corrupt", b"last"):
        await asyncio.to_thread(send, bootstrap_servers, topic, [ToSend(value=value)])
    apache_kafka.corrupt(topic, b"corrupt", b"carrupt")
    async with member(bootstrap_servers, topic) as one:

        async def read() -> bool:
            with contextlib.suppress(Unavailable):
                await one.poll()
            return len(one.records) == 3

        await until(read, what=lambda: f"three records; {one.records}")
    first, corrupt, last = one.records
    assert (first.value, last.value, corrupt.value) == (b"first", b"last", None)
    assert corrupt.unreadable is not None
    assert "offsets 1 to 1 has a wrong checksum" in corrupt.unreadable.detail
