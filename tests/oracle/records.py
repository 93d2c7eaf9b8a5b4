"""What the oracle takes and gives: Kafka records in, events as read, and what is published.

Nothing in this package comes from the worker. A change of a rule is made twice, here and there, each time from the
contract: a mistake must be made twice to stay unseen.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Record:
    """One record as Kafka has it; `timestamp_ms` is milliseconds since 1970, UTC."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes | None
    headers: Headers = ()
    key: bytes | None = None

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"


@dataclass(frozen=True)
class Event:
    """A readable record; `data` has every member that its type knows, with the default where it was left out.

    `trace`: those of `traceparent` and `tracestate` that are valid.
    """

    source: str
    id: str
    type: str
    time: datetime
    data: dict[str, Any]
    trace: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InvalidRecord:
    """A record that is no event, with what could be read before that was clear."""

    reason: str
    pointers: frozenset[str] = frozenset()
    source: str | None = None
    id: str | None = None
    type: str | None = None
    time: datetime | None = None
    release_id: str | None = None


class Rejected(Exception):
    """The event breaks a rule: `reason` is one of the contract's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


DEAD_LETTER = "dead-letter"


@dataclass(frozen=True)
class Published:
    """A status event (`kind` is its type) or a dead letter (`kind` is `dead-letter`); `key` is what orders it.

    `trace`: the extension attributes of a status event.
    """

    kind: str
    id: str
    key: str | None
    data: dict[str, Any] = field(default_factory=dict)
    trace: dict[str, str] = field(default_factory=dict)
