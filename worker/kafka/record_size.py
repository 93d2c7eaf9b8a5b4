"""How large a record is for a broker, and what is said of one that is too large for its topic."""

from collections.abc import Mapping

from aiokafka.codec import zstd_encode
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from worker.ports import Publication

TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
COMPRESSION = "zstd"

_BATCH_HEADER_BYTES = 61


def size(publication: Publication) -> int:
    """Bytes of a batch with only this record, before it is compressed."""
    record = DefaultRecordBatchBuilder.estimate_size_in_bytes(
        publication.key, publication.value, list(publication.headers)
    )
    return _BATCH_HEADER_BYTES + int(record)


def compressed_size(publication: Publication) -> int:
    """About as many bytes as the batch has for the broker, which compares them with the topic's limit."""
    parts = [publication.key or b"", publication.value or b""]
    for name, raw in publication.headers:
        parts += name.encode(), raw or b""
    return min(size(publication), _BATCH_HEADER_BYTES + len(zstd_encode(b"".join(parts))))


def described(publication: Publication, error: KafkaError, limits: Mapping[str, int]) -> str:
    """The error in one line; a refusal as too large with the record's size and the topic's limit."""
    topic = publication.topic
    if not isinstance(error, TOO_LARGE):
        return f"topic {topic}: {error}"
    limit = limits.get(topic)
    refused_bytes = compressed_size(publication)
    limited = "its max.message.bytes is unknown"
    if limit is not None:
        # A limit above the size was lowered since it was looked up.
        limited = f"its max.message.bytes {'is' if limit < refused_bytes else 'was'} {limit}"
    return f"topic {topic} refuses a record of {refused_bytes} bytes as too large; {limited}: raise it ({error})"
