"""What an outcome tells the world: status events, or a dead letter."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, assert_never

from schemas.envelope import write_binary, write_structured
from schemas.types import StatusEventType
from worker.domain.message import Message
from worker.domain.rows import Entry, Rejection
from worker.domain.state import Applied, Duplicate, Outcome, Rejected, Stale
from worker.domain.status_events import StatusEvent, status_events
from worker.handling.dead_letter import dead_letter
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
        whole = self._written(event, event.data)
        if event.data.get("comment") is None:
            return whole
        without_comment = {**event.data, "comment": None, "comment_omitted": True}
        return replace(whole, shorter=partial(self._written, event, without_comment))

    def _written(self, event: StatusEvent, data: Mapping[str, Any]) -> Publication:
        write = write_structured if self.content_mode == "structured" else write_binary
        value, headers = write(
            source=self.source,
            id=str(event.id),
            type=event.type,
            time=event.time,
            subject=str(event.release_id),
            data=data,
        )
        deployment = event.type is StatusEventType.DEPLOYMENT_STATUS_CHANGED
        topic = self.topics.deployment_status if deployment else self.topics.release_status
        return Publication(topic=topic, key=str(event.release_id).encode(), value=value, headers=headers)

    def letter(self, rejection: Rejection, message: Message, *, attempts: int, bare: bool) -> Publication:
        """A dead letter in place of what cannot be published. `bare`: with nothing of the record, in case that its
        content is what fails.
        """
        publication = self._dead_letter(rejection, message, attempts)
        while bare and publication.shorter is not None:
            publication = publication.shorter()
        return replace(publication, key=str(rejection.id).encode()) if bare else publication

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
        return dead_letter(record, added, topic=self.topics.dead_letters)
