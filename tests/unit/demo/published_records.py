"""The day's records as a topic has them, by partition and offset."""

import zlib
from collections import Counter
from collections.abc import Iterable

from tests.oracle.oracle import Oracle
from tests.oracle.records import Record
from worker.demo.release_publisher import EventRecord

PARTITIONS = 4


def in_topic(records: Iterable[EventRecord]) -> list[Record]:
    offsets: Counter[int] = Counter()
    found = []
    for record in records:
        partition = zlib.crc32(record.key) % PARTITIONS
        headers = tuple(record.headers)
        found.append(Record("t", partition, offsets[partition], record.timestamp_ms, record.value, headers, record.key))
        offsets[partition] += 1
    return sorted(found, key=lambda record: (record.partition, record.offset))


def decided(records: Iterable[Record]) -> Oracle:
    oracle = Oracle()
    for record in records:
        oracle.handle(record)
    return oracle
