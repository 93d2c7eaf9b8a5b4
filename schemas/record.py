"""A Kafka record: bytes and positions, without a client library's types."""

from dataclasses import dataclass

from schemas.reasons import Reason

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The reason why a record's key, value and headers could not be read from its batch."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One consumed record.

    `timestamp_ms`: milliseconds since 1970, UTC; -1: no timestamp.
    `headers`: in order, with repetitions. `unreadable`: if set, key, value and headers are unknown.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    unreadable: Unreadable | None = None

    @property
    def is_tombstone(self) -> bool:
        """Whether the value is null, which deletes a key in a compacted topic. An empty value is not null."""
        return self.value is None and self.unreadable is None
