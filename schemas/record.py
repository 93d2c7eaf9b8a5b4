"""A Kafka record as the worker sees it: bytes and positions, no client library's types."""

from dataclasses import dataclass

from schemas.reasons import Reason

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a record's key, value and headers could not be read from its batch."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One consumed record.

    `timestamp_ms` is the record's timestamp in milliseconds since 1970, UTC; -1 where it has none.
    `headers` keep their order and repetitions, as Kafka does. `unreadable`: key, value and headers are unknown.
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
        """Whether the value is null, whatever the headers hold: no event, but a compacted topic's way to delete a key.

        An empty value is none.
        """
        return self.value is None and self.unreadable is None
