"""What the model is given and what it gives back: Kafka records in, events as read, and what is published.

Nothing here, nor anywhere in this package, comes from the worker. Whoever changes a rule changes it twice, once there
and once here, each time from CONTRACT.md: a mistake then has to be made twice to go unseen.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Record:
    """One record as Kafka has it; `timestamp_ms` is milliseconds since 1970, UTC."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    key: bytes | None = None


@dataclass(frozen=True)
class Event:
    """A record that could be read; `data` has every member its type knows, with the default where it was left out."""

    source: str
    id: str
    type: str
    time: datetime
    data: dict[str, Any]


@dataclass(frozen=True)
class Unreadable:
    """A record that can never be an event, with what could be told of it before that was clear."""

    reason: str
    pointers: frozenset[str] = frozenset()
    source: str | None = None
    id: str | None = None
    type: str | None = None
    time: datetime | None = None
    release_id: str | None = None


class Refused(Exception):
    """The event breaks a rule: `reason` is one of the contract's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Published:
    """A status event (`kind` is its type) or a dead letter (`kind` is `dead-letter`); `key` is what orders it."""

    kind: str
    id: str
    key: str | None
    data: dict[str, Any] = field(default_factory=dict)
