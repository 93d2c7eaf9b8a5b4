"""The shapes of a Kafka record, before it is sent and after it is read back.

The demo keeps its own, so that the recount shares no code with the worker it checks.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """A record as a publisher hands it over; the topic is implied, the partition follows from the key."""

    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRecord(RawRecord):
    """A record as a consumer finds it, with its place in the topic."""

    topic: str
    partition: int
    offset: int

    @property
    def place(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    def header(self, name: str) -> str | None:
        """Return the last header of that name as text, whatever bytes it holds."""
        for candidate, value in reversed(self.headers):
            if candidate == name:
                return value.decode("utf-8", "replace")
        return None
