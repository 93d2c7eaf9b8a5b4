"""How large a record is for a broker, and what is said of one that is too large for its topic."""

from collections.abc import Mapping

from aiokafka.codec import zstd_encode
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from worker.ports import OutgoingRecord

TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
COMPRESSION = "zstd"

_BATCH_HEADER_BYTES = 61


def size(outgoing_record: OutgoingRecord) -> int:
    """Bytes of a batch with only this record, before it is compressed."""
    record = DefaultRecordBatchBuilder.estimate_size_in_bytes(
        outgoing_record.key, outgoing_record.value, list(outgoing_record.headers)
    )
    return _BATCH_HEADER_BYTES + int(record)


def compressed_size(outgoing_record: OutgoingRecord) -> int:
    """About as many bytes as the batch has for the broker, which compares them with the topic's limit."""
    parts = [outgoing_record.key or b"", outgoing_record.value or b""]
    for name, raw in outgoing_record.headers:
        parts += name.encode(), raw or b""
    return min(size(outgoing_record), _BATCH_HEADER_BYTES + len(zstd_encode(b"".join(parts))))


def described(outgoing_record: OutgoingRecord, error: KafkaError, limits: Mapping[str, int]) -> str:
    """The error in one line; a refusal as too large with the record's size and the topic's limit."""
    topic = outgoing_record.topic
    if not isinstance(error, TOO_LARGE):
        return f"topic {topic}: {error}"
    limit = limits.get(topic)
    refused_bytes = compressed_size(outgoing_record)
    limited = "its max.message.bytes is unknown"
    if limit is not None:
        # A limit above the size was lowered since it was looked up.
        limited = f"its max.message.bytes {'is' if limit < refused_bytes else 'was'} {limit}"
    return f"topic {topic} refuses a record of {refused_bytes} bytes as too large; {limited}: raise it ({error})"
