"""What an outcome tells the world: status events, or a dead letter."""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, assert_never

from schemas.envelope import write_binary, write_structured
from schemas.record import Headers
from schemas.types import StatusEventType
from worker.domain.message import Message
from worker.domain.rows import Entry, Rejection
from worker.domain.state import Applied, Duplicate, Outcome, Rejected, Stale
from worker.domain.status_events import StatusEvent, status_events
from worker.ports import Publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """Where the worker publishes."""

    deployment_status: str
    release_status: str
    dead_letters: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publications:
    """Turns outcomes into records. `source` is the status events' CloudEvents source, `worker` names this process."""

    topics: Topics
    content_mode: Literal["binary", "structured"]
    source: str
    worker: str

    def of(self, outcome: Outcome, message: Message, *, attempts: int) -> tuple[Publication, ...]:
        """The records to produce, in order; `attempts` is how often the message was tried."""
        match outcome:
            case Applied(changes=changes):
                return self._changes(changes.entries)
            case Stale():
                return ()
            case Rejected(rejection=rejection):
                return (self._dead_letter(rejection, message, attempts),)
            case Duplicate(entries=entries, rejection=rejection):
                if entries or rejection is None:
                    return self._changes(entries)
                return (self._dead_letter(rejection, message, attempts),)
            case _:
                assert_never(outcome)

    def _changes(self, entries: tuple[Entry, ...]) -> tuple[Publication, ...]:
        return tuple(self._status_event(event) for event in status_events(entries))

    def _status_event(self, event: StatusEvent) -> Publication:
        write = write_structured if self.content_mode == "structured" else write_binary
        value, headers = write(
            source=self.source,
            id=str(event.id),
            type=event.type,
            time=event.time,
            subject=str(event.release_id),
            data=event.data,
        )
        deployment = event.type is StatusEventType.DEPLOYMENT_STATUS_CHANGED
        topic = self.topics.deployment_status if deployment else self.topics.release_status
        return Publication(topic=topic, key=str(event.release_id).encode(), value=value, headers=headers)

    def letter(self, rejection: Rejection, message: Message, *, attempts: int, bare: bool) -> Publication:
        """A dead letter in place of what cannot be published. `bare`: with nothing of the record, in case that its
        content is what fails.
        """
        whole = self._dead_letter(rejection, message, attempts)
        if not bare:
            return whole
        value, added = message.record.value or b"", whole.headers[len(message.record.headers) :]
        omitted: Headers = (
            ("rudder-value-omitted", str(len(value)).encode()),
            ("rudder-value-sha256", sha256(value).hexdigest().encode()),
        )
        return replace(whole, key=str(rejection.id).encode(), value=None, headers=(*omitted, *added))

    def _dead_letter(self, rejection: Rejection, message: Message, attempts: int) -> Publication:
        """The record as it came, and why it ends here. A repeat's letter has the same `rudder-id`."""
        record = message.record
        added = {
            "rudder-id": str(rejection.id),
            "rudder-reason": rejection.reason,
            "rudder-detail": rejection.detail,
            "rudder-topic": record.topic,
            "rudder-partition": str(record.partition),
            "rudder-offset": str(record.offset),
            "rudder-timestamp": str(record.timestamp_ms),
            "rudder-attempts": str(attempts),
            "rudder-worker": self.worker,
        }
        headers: Headers = (*record.headers, *((name, text.encode()) for name, text in added.items()))
        return Publication(topic=self.topics.dead_letters, key=record.key, value=record.value, headers=headers)
