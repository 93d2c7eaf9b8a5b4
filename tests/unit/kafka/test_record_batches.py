"""A batch is read record by record, and a header name that is no UTF-8 stops none of them."""

from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from worker.kafka.record_batches import LenientRecords

NAME = "name"


def batch_of(records: int) -> bytearray:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1_000_000,
    )
    for offset in range(records):
        builder.append(offset, timestamp=offset, key=b"k", value=b"value %d" % offset, headers=[(NAME, b"v")])
    return bytearray(builder.build())


def read(raw: bytes) -> Any:
    records = LenientRecords(raw)
    batch = records.next_batch()
    assert batch is not None
    assert not records.has_next()
    return iter(batch)


def test_every_record_is_read_once_with_a_broken_header_name() -> None:
    """Those before it were handed out already; it and those after it follow."""
    names = 3
    for broken in range(names):
        raw = batch_of(names)
        at = -1
        for _ in range(broken + 1):
            at = raw.index(NAME.encode(), at + 1)
        raw[at : at + 4] = b"n\xe4me"
        found = [(record.offset, record.value, record.headers[0][0]) for record in read(bytes(raw))]
        assert found == [
            (offset, b"value %d" % offset, r"n\xe4me" if offset == broken else NAME) for offset in range(names)
        ]


def test_records_are_built_lazily() -> None:
    """A batch may hold thousands, and every partition has one under way: memory must not hold them all."""
    raw = batch_of(3)
    records = read(bytes(raw))
    assert next(records).offset == 0
    assert type(records).__name__ == "generator"


def test_last_record_releases_the_fetched_bytes() -> None:
    """aiokafka's fetcher is a cycle with the generator it does not finish; a megabyte for each fetch hung on it."""
    raw = bytes(batch_of(3))
    records = LenientRecords(raw)
    batch = records.next_batch()
    assert batch is not None
    reading = iter(batch)
    for _ in range(3):
        assert batch._raw is not None
        next(reading)
    assert batch._raw is batch._strict is None
    assert not records.has_next()
    assert records._strict is None
    assert records.size_in_bytes() == len(raw)
