"""The records that an outcome publishes: status events and the environment's state, or a dead letter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, assert_never

from schemas.envelope import write_binary, write_structured
from schemas.record import Headers
from schemas.types import StatusEventType
from worker.pipeline.dead_letter import dead_letter
from worker.ports import OutgoingRecord
from worker.rules.deployment_state import StateEvent, state_event
from worker.rules.message import Message
from worker.rules.rows import Activity, Deployment, Rejection
from worker.rules.state import Applied, Duplicate, Outcome, Rejected, Stale
from worker.rules.status_events import StatusEvent, status_events


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The output topics. `deployment_state`: None: no states are published."""

    deployment_status: str
    release_status: str
    dead_letters: str
    deployment_state: str | None = None

    @property
    def by_setting(self) -> Mapping[str, str]:
        """Each topic, by the setting that names it."""
        named = {
            "RUDDER_DEPLOYMENT_STATUS_TOPIC": self.deployment_status,
            "RUDDER_RELEASE_STATUS_TOPIC": self.release_status,
            "RUDDER_DEAD_LETTER_TOPIC": self.dead_letters,
        }
        state = {} if self.deployment_state is None else {"RUDDER_DEPLOYMENT_STATE_TOPIC": self.deployment_state}
        return named | state


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRecords:
    """Creates records from outcomes. `source`: of status events, in CloudEvents. `worker`: identifies this process."""

    topics: Topics
    content_mode: Literal["binary", "structured"]
    source: str
    worker: str

    def of(
        self, outcome: Outcome, message: Message, *, attempts: int, trace_headers: Headers = ()
    ) -> tuple[OutgoingRecord, ...]:
        """The records to produce, in order. `attempts`: the number of transactions of the message. `trace_headers`:
        further headers of status events; a dead letter has none.
        """
        match outcome:
            case Applied(changes=changes):
                return (*self._changes(changes.activities, trace_headers), *self._states(changes.activities))
            case Stale():
                return ()
            case Rejected(rejection=rejection):
                return (self._dead_letter(rejection, message, attempts),)
            case Duplicate(activities=activities, rejection=rejection, counted=counted):
                if activities or rejection is None:
                    states = () if counted is None else self._states(activities, counted)
                    return (*self._changes(activities, trace_headers), *states)
                return (self._dead_letter(rejection, message, attempts),)
            case _:
                assert_never(outcome)

    def _changes(self, activities: tuple[Activity, ...], trace_headers: Headers) -> tuple[OutgoingRecord, ...]:
        return tuple(self._status_event(event, trace_headers) for event in status_events(activities))

    def _states(
        self, activities: tuple[Activity, ...], counted: Mapping[str, Deployment] | None = None
    ) -> tuple[OutgoingRecord, ...]:
        """The state after the event. `counted`: what the environments count with by now: compaction keeps the last
        record of a key, so an earlier state must not be published again.
        """
        if self.topics.deployment_state is None:
            return ()
        event = state_event(activities)
        if event is None or (counted is not None and not event.is_current(counted)):
            return ()
        return (self.state(event),)

    @property
    def state_topic(self) -> str:
        """Raises ValueError: no topic for states is set."""
        if self.topics.deployment_state is None:
            raise ValueError("no topic for states is set")
        return self.topics.deployment_state

    def tombstones(self, key: str, partitions: Sequence[int]) -> Sequence[OutgoingRecord]:
        """The records by which compaction deletes the key. `partitions`: those that have it; empty: the one that the
        key belongs to. Raises ValueError as `state_topic`.
        """
        record = OutgoingRecord(topic=self.state_topic, key=key.encode(), value=None, headers=())
        return [replace(record, partition=partition) for partition in partitions or (None,)]

    def state(self, event: StateEvent) -> OutgoingRecord:
        """Raises ValueError as `state_topic`."""
        value, headers = self._write(
            source=self.source,
            id=event.id,
            type=event.type,
            time=event.time,
            subject=event.key,
            data=event.data,
            trace=event.trace,
        )
        return OutgoingRecord(topic=self.state_topic, key=event.key.encode(), value=value, headers=headers)

    @property
    def _write(self) -> Callable[..., tuple[bytes, Headers]]:
        return write_structured if self.content_mode == "structured" else write_binary

    def _status_event(self, event: StatusEvent, trace_headers: Headers) -> OutgoingRecord:
        whole = self._written(event, event.data, trace_headers)
        if event.data.get("comment") is None:
            return whole
        without_comment = {**event.data, "comment": None, "comment_omitted": True}
        return replace(whole, shorter=partial(self._written, event, without_comment, trace_headers))

    def _written(self, event: StatusEvent, data: Mapping[str, Any], trace_headers: Headers) -> OutgoingRecord:
        value, headers = self._write(
            source=self.source,
            id=str(event.id),
            type=event.type,
            time=event.time,
            subject=str(event.release_id),
            data=data,
            trace=event.trace,
        )
        deployment = event.type is StatusEventType.DEPLOYMENT_STATUS_CHANGED
        topic = self.topics.deployment_status if deployment else self.topics.release_status
        return OutgoingRecord(
            topic=topic, key=str(event.release_id).encode(), value=value, headers=(*headers, *trace_headers)
        )

    def replacement(self, rejection: Rejection, message: Message, *, attempts: int, minimal: bool) -> OutgoingRecord:
        """A dead letter that replaces records that cannot be published. `minimal`: without the record's key, value and
        headers, which may be the cause.
        """
        outgoing_record = self._dead_letter(rejection, message, attempts)
        while minimal and outgoing_record.shorter is not None:
            outgoing_record = outgoing_record.shorter()
        return replace(outgoing_record, key=str(rejection.id).encode()) if minimal else outgoing_record

    def _dead_letter(self, rejection: Rejection, message: Message, attempts: int) -> OutgoingRecord:
        """The record with the reason of its rejection. A repeated dead letter has the same `rudder-id`."""
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
