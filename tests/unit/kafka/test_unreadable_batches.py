"""A batch that is too long or broken costs its own records and no others, and memory within a bound."""

import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import cramjam
import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from schemas.reasons import Reason
from schemas.record import Unreadable
from tests.conformance.batches import CODECS, batch_around, batch_of_zeros, compressed, lenient_name_batch
from worker.kafka import record_batches
from worker.kafka.decompression import TooLargeError, decompress
from worker.kafka.record_batches import LenientRecords

BOUND = 1_000_000
GOOD = batch_of_zeros("none", records=2, value_bytes=3)


@pytest.fixture(autouse=True)
def _bound() -> Iterator[None]:
    record_batches.limit_batches(BOUND)
    record_batches.begin_poll()
    yield
    record_batches.limit_batches()


def at(offset: int, raw: bytes) -> bytes:
    return offset.to_bytes(8) + raw[8:]


def read(raw: bytes) -> list[Any]:
    """The records that the fetcher makes of it."""
    records, found = LenientRecords(raw), []
    while records.has_next():
        batch = records.next_batch()
        assert batch is not None
        assert batch.validate_crc()
        found += list(batch)
        found.append(batch.next_offset)
    return found


def summary(found: list[Any]) -> list[Any]:
    """Each record's offset, or with what is wrong with it; between them each batch's next offset."""
    return [
        one if isinstance(one, int) else (one.offset, one.checksum.reason)
        if isinstance(one.checksum, Unreadable)
        else (one.offset,)
        for one in found
    ]  # fmt: skip


@pytest.mark.parametrize("codec", CODECS)
def test_compressed_batch_within_the_bound_is_read(codec: str) -> None:
    """Each value whole."""
    found = read(at(7, batch_of_zeros(codec, records=9, value_bytes=100_000)))
    assert [(one.offset, one.value == bytes(100_000)) for one in found[:-1]] == [(n, True) for n in range(7, 16)]
    assert found[-1] == 16


@pytest.mark.parametrize("codec", CODECS)
def test_batch_beyond_the_bound_is_reported_by_its_offsets(codec: str) -> None:
    """None is left out, and the batches around it are read."""
    large = at(2, batch_of_zeros(codec, records=40, value_bytes=30_000))
    found = read(GOOD + large + at(42, GOOD))
    rejected = [(offset, Reason.TOO_LARGE) for offset in range(2, 42)]
    assert summary(found) == [(0,), (1,), 2, *rejected, 42, (42,), (43,), 44]
    detail = found[3].checksum.detail
    assert detail.startswith("the batch of offsets 2 to 41 decompresses to more than 1000000 bytes")


@pytest.mark.parametrize("codec", CODECS)
def test_batch_beyond_the_bound_uses_bounded_memory(codec: str) -> None:
    """However long it is: no more than the buffers."""
    records = 100 if codec in {"snappy", "lz4"} else 1_000
    large = batch_of_zeros(codec, records=records, value_bytes=100_000)
    tracemalloc.start()
    try:
        found = summary(read(large))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == records + 1
    assert peak_bytes < 4 * BOUND + len(large)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("harm", ["truncated", "garbage", "empty", "followed by garbage"])
def test_broken_compression_costs_only_its_own_batch(codec: str, harm: str) -> None:
    """With a right checksum: a publisher made it so, and it will never be readable."""
    content = compressed(codec, iter([lenient_name_batch()]))
    content = {
        "truncated": content[:-9],
        "garbage": b"\x00garbage\xff" * 9,
        "empty": b"",
        "followed by garbage": content + b"\x01garbage",
    }[harm]
    found = summary(read(at(2, batch_around(content, codec=codec, records=3)) + at(5, GOOD)))
    assert found == [*((offset, Reason.NOT_A_CLOUDEVENT) for offset in (2, 3, 4)), 5, (5,), (6,), 7]


@pytest.mark.parametrize("codec", ["none", *CODECS])
def test_broken_record_costs_the_rest_of_its_batch(codec: str) -> None:
    """The first is whole; the second ends beyond the batch."""
    content = lenient_name_batch()
    second = content.index(b"v") + 10
    broken = compressed(codec, iter([content[: second + 2]]))
    found = summary(read(batch_around(broken, codec=codec, records=3) + at(3, GOOD)))
    assert found == [(0,), (1, Reason.NOT_A_CLOUDEVENT), (2, Reason.NOT_A_CLOUDEVENT), 3, (3,), (4,), 5]


@pytest.mark.parametrize("codec", CODECS)
def test_non_utf8_header_name_is_read_in_a_compressed_batch(codec: str) -> None:
    """It is decompressed once, within the bound."""
    found = read(batch_around(compressed(codec, iter([lenient_name_batch()])), codec=codec, records=3))
    assert [one.headers[0][0] for one in found[:-1]] == ["XXXX", "n\\xe4me", "XXXX"]


def test_wrong_checksum_is_fetched_again_then_rejected() -> None:
    """Damage on the way is mended by another fetch; damage in the log never is, and must not stop the partition."""
    raw = bytearray(batch_of_zeros("zstd", records=3, value_bytes=10))
    raw[-1] ^= 1
    for _ in range(2):
        batch = LenientRecords(bytes(raw)).next_batch()
        assert batch is not None
        assert not batch.validate_crc()
    assert summary(read(bytes(raw))) == [*((offset, Reason.NOT_A_CLOUDEVENT) for offset in range(3)), 3]


def test_decompression_per_poll_is_bounded() -> None:
    """Many batches, each within the bound, are not decompressed in one poll; the rest is fetched again."""
    one = batch_of_zeros("zstd", records=1, value_bytes=400_000)
    raw = b"".join(at(offset, one) for offset in range(10))
    assert [each for each in summary(read(raw)) if isinstance(each, int)] == [1, 2, 3]
    assert summary(read(raw)) == [(0,), 1], "one batch at least, or nothing would ever be read"
    record_batches.begin_poll()
    assert len(summary(read(raw))) == 6


@pytest.mark.parametrize(
    ("magic", "codec"), [(0, "gzip"), (0, "snappy"), (1, "gzip"), (1, "snappy"), (1, "lz4")]
)  # all that there were
def test_old_message_formats_are_bounded_too(magic: int, codec: str) -> None:
    """A compressed set has one offset until it is read: that of its last record."""
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=CODECS[codec], batch_size=10_000_000)
    for offset in range(3):
        builder.append(offset, timestamp=1_000, key=None, value=bytes(400_000))
    large = bytes(builder.build())
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=CODECS[codec], batch_size=10_000_000)
    for offset in range(3):
        builder.append(offset, timestamp=1_000, key=None, value=b"small")
    small = bytes(builder.build())
    found = read(large + small)
    assert summary(found)[0] == (found[0].offset, Reason.TOO_LARGE)
    assert [one.value for one in found if not isinstance(one, int)][1:] == [b"small"] * 3


def test_compressed_members_are_bounded_as_a_whole() -> None:
    """gzip, lz4 and zstd allow several in a row."""
    for codec, member in {
        1: zlib.compress(bytes(600_000), wbits=31),
        3: bytes(cramjam.lz4.compress(bytes(600_000))),
        4: bytes(cramjam.zstd.compress(bytes(600_000))),
    }.items():
        assert decompress(codec, memoryview(member), bytes_max=BOUND, head=b"head") == b"head" + bytes(600_000)
        with pytest.raises(TooLargeError):
            decompress(codec, memoryview(member * 2), bytes_max=BOUND)
