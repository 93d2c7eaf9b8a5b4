"""Kafka takes any bytes for a header's name, and C and PHP clients send them in the encoding they happen to have."""

from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy

from schemas.record import Record
from tests.testkit.topics import MakeTopic
from worker.kafka.connection import Connection
from worker.kafka.consumer_client import KafkaConsumerClient
from worker.kafka.record_batches import LenientRecords


def a_batch(*, codec: int = 0) -> bytes:
    """Three records; the second has a header whose name is Latin-1."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=100_000,
    )  # fmt: skip
    builder.append(0, 1000, b"key", b"first", [("plain", b"1")])
    builder.append(1, 1001, None, b"second", [("XXXXXX", b"\xff"), ("empty", None)])
    builder.append(2, 1002, b"key", None, [])
    return bytes(builder.build())


def test_non_utf8_header_name_changes_only_its_spelling() -> None:
    """Every record of the batch is read, before and behind it, with keys, values, offsets and headers."""
    raw = a_batch().replace(b"XXXXXX", b"gr\xfc\xdfe!")
    records = LenientRecords(raw)
    assert records.has_next()
    batch = records.next_batch()
    assert batch is not None
    read = [(record.offset, record.key, record.value, list(record.headers)) for record in batch]
    assert read == [
        (0, b"key", b"first", [("plain", b"1")]),
        (1, None, b"second", [("gr\\xfc\\xdfe!", b"\xff"), ("empty", None)]),
        (2, b"key", None, []),
    ]
    assert not records.has_next()


def test_several_batches_are_distinguished() -> None:
    raw = a_batch() + a_batch().replace(b"XXXXXX", b"\xff" * 6) + a_batch()
    records, names = LenientRecords(raw), []
    while records.has_next():
        batch = records.next_batch()
        assert batch is not None
        assert batch.base_offset == 0
        names += [name for record in batch for name, _ in record.headers]
    assert names == ["plain", "XXXXXX", "empty", "plain", "\\xff" * 6, "empty", "plain", "XXXXXX", "empty"]


async def _nothing(_partitions: object) -> None:
    pass


async def test_consumer_reads_past_a_non_utf8_header_name(bootstrap_servers: str, topics: MakeTopic) -> None:
    """One record must not be able to stop every worker of the group."""
    topic = await topics()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    try:
        for name in ("before", _Latin1("gr\xfc\xdfe"), "after"):
            written = await producer.send_batch(a_raw_batch(producer, name), topic, partition=0)
            await written
    finally:
        await producer.stop()
    source = KafkaConsumerClient(
        Connection(bootstrap_servers=bootstrap_servers, client_id="test"), topics=[topic], group_id=f"reads {topic}"
    )
    await source.start(on_assigned=_nothing, on_revoked=_nothing)
    records: list[Record] = []
    try:
        while len(records) < 3:
            records += await source.poll(timeout_seconds=1.0, records_max=10)
    finally:
        await source.stop()
    assert [name for record in records for name, _ in record.headers] == ["before", "gr\\xfc\\xdfe", "after"]


def a_raw_batch(producer: AIOKafkaProducer, name: str) -> Any:
    """A batch of one record, built by the parser's Python twin, which asks a name for its bytes."""
    builder = _DefaultRecordBatchBuilderPy(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=100_000,
    )  # fmt: skip
    builder.append(0, timestamp=1000, key=b"key", value=b"value", headers=[(name, b"header")])
    batch = producer.create_batch()
    batch._builder, batch._relative_offset = builder, 1
    batch.close()
    return batch


class _Latin1(str):
    """A name that a client's `encode` makes Latin-1 of."""

    __slots__ = ()

    def encode(self, _encoding: str = "utf-8", _errors: str = "strict") -> bytes:
        return super().encode("latin-1")
