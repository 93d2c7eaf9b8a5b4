"""Batches as publishers may compress them, and as no library would make them: far longer than they look, or broken."""

import zlib
from collections.abc import Iterator
from typing import Any

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c, encode_varint

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_HEADER_BYTES = 61
_CRC_AT, _ATTRIBUTES_AT, _LAST_OFFSET_AT, _COUNT_AT = 17, 21, 23, 57


def batch_of_zeros(codec: str, *, records: int, value_bytes: int) -> bytes:
    """Of that many records of that many zero bytes each; it is never whole in memory."""
    return batch_around(compressed(codec, _zeros(records, value_bytes)), codec=codec, records=records)


def batch_around(content: bytes, *, codec: str, records: int) -> bytes:
    """A batch at offset 0 with that content and a right checksum, whatever the content is."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1_000,
    )  # fmt: skip
    builder.append(0, 1_700_000_000_000, None, b"", [])
    batch = bytearray(builder.build()[:_HEADER_BYTES]) + content
    batch[8:12] = (len(batch) - 12).to_bytes(4)
    batch[_ATTRIBUTES_AT : _ATTRIBUTES_AT + 2] = CODECS.get(codec, 0).to_bytes(2)
    batch[_LAST_OFFSET_AT : _LAST_OFFSET_AT + 4] = (records - 1).to_bytes(4)
    batch[_COUNT_AT : _COUNT_AT + 4] = records.to_bytes(4)
    batch[_CRC_AT : _CRC_AT + 4] = calc_crc32c(bytes(batch[_ATTRIBUTES_AT:])).to_bytes(4)
    assert DefaultRecordBatch(bytes(batch)).validate_crc()
    return bytes(batch)


def compressed(codec: str, parts: Iterator[bytes]) -> bytes:
    match codec:
        case "none":
            return b"".join(parts)
        case "snappy":
            header = b"\x82SNAPPY\x00" + (1).to_bytes(4) + (1).to_bytes(4)
            blocks = (bytes(cramjam.snappy.compress_raw(part)) for part in parts)
            return header + b"".join(len(block).to_bytes(4) + block for block in blocks)
        case "gzip":
            deflate = zlib.compressobj(wbits=31)
            return b"".join([*(deflate.compress(part) for part in parts), deflate.flush()])
        case _:
            compressor = cramjam.zstd.Compressor() if codec == "zstd" else cramjam.lz4.Compressor(block_linked=False)
            for part in parts:
                compressor.compress(part)
            return bytes(compressor.finish())


def _zeros(records: int, value_bytes: int) -> Iterator[bytes]:
    for number in range(records):
        body = bytearray(b"\x00\x00")  # attributes, time delta
        for value in (number, -1, value_bytes):
            _varint(value, body)
        length = bytearray()
        _varint(len(body) + value_bytes + 1, length)
        yield bytes(length) + bytes(body) + bytes(value_bytes) + b"\x00"


def _varint(value: int, to: bytearray) -> None:
    encode_varint(value, to.append)


class _Built:
    """What a producer takes for a batch's builder."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def build(self) -> bytes:
        return self._raw

    def size(self) -> int:
        return len(self._raw)


async def put_batch(bootstrap_servers: str, topic: str, raw: bytes, *, records: int) -> None:
    """Into partition 0, as it is."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, max_request_size=64 * 1024 * 1024)
    await producer.start()
    try:
        batch: Any = producer.create_batch()
        batch._builder, batch._relative_offset = _Built(raw), records
        batch.close()
        await (await producer.send_batch(batch, topic, partition=0))
    finally:
        await producer.stop()


def lenient_name_batch() -> bytes:
    """Three records; the second has a header whose name is Latin-1."""
    builder = _DefaultRecordBatchBuilderPy(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=100_000,
    )  # fmt: skip
    for offset in range(3):
        builder.append(offset, timestamp=1000, key=None, value=b"v", headers=[("XXXX", b"1")])
    raw = bytes(builder.build())[_HEADER_BYTES:]
    at = raw.index(b"XXXX", raw.index(b"XXXX") + 1)
    return raw[:at] + b"n\xe4me" + raw[at + 4 :]
