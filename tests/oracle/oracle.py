"""The oracle: give it records in the order in which they are decided, then read `content` and `published`."""

from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from tests.oracle import formats
from tests.oracle.content import Content, Row
from tests.oracle.reading import read
from tests.oracle.records import DEAD_LETTER, Event, InvalidRecord, Published, Record, Rejected
from tests.oracle.rules import Decision
from tests.oracle.status_machines import DEPLOYMENT_EVENTS, DEPLOYMENT_STATE


class Oracle:
    """What the database must hold, and what must have been published, after the records that were handled."""

    def __init__(self, *, environments: Iterable[Row] = (), namespace: UUID = formats.NAMESPACE) -> None:
        """`environments`: the rows of `app_environments` before the first event."""
        self.namespace = namespace
        self.content = Content(environments)
        self.published: list[Published] = []
        """In order; a repeated record's publications are repeated too."""
        self.outcomes: Counter[str] = Counter()
        self._decided: set[tuple[str, int, int]] = set()

    def handle(self, record: Record) -> str:
        """`Applied`, `Duplicate`, `Stale` or `Rejected <reason>`; `Skipped` for a tombstone."""
        outcome = self._handle(record)
        self.outcomes[outcome] += 1
        return outcome

    def _handle(self, record: Record) -> str:
        # A record with a null value (a tombstone) is no event: it is skipped, without a row or a dead letter.
        if record.value is None:
            return "Skipped"
        event = read(record)
        known_id = self._id_of(event, record)
        # 1. Already known (same identity in the activity log or among the rejections): Duplicate. Nothing changes;
        # what it caused, status events or a dead letter, is published again with the same ids.
        if known_id in self.content.activity_logs or (
            known_id in self.content.rejections and not self._is_redriven(record, known_id)
        ):
            self.published += self._published_again(known_id, record, event)
            return "Duplicate"
        self._decided.add((record.topic, record.partition, record.offset))
        if isinstance(event, InvalidRecord):
            return self._reject(event, event.reason, known_id, record)
        # A rejected event changes nothing, not even the release its block would have made.
        decision = Decision(self.content, event, record, namespace=self.namespace)
        try:
            outcome = decision.decide()
        except Rejected as rejected:
            return self._reject(event, rejected.reason, known_id, record)
        decision.apply()
        # Decided afresh only when it comes back with the header `rudder-redrive`; then its rejection is marked resolved
        # in the same transaction.
        if known_id in self.content.rejections:
            self.content.rejections[known_id]["resolved_at"] = formats.instant(record.timestamp_ms)
        self._correct(event, record, known_id)
        self.content.published[known_id] = decision.published
        self.published += decision.published
        return outcome

    def _reject(self, event: Event | InvalidRecord, reason: str, id: str, record: Record) -> str:
        # But it is remembered: one row in `release_event_rejections`. A redriven event that is rejected again keeps
        # its rejection's id; the row then has the last reason, and the position of the last record.
        earlier = self.content.rejections.get(id, {})
        self.content.rejections[id] = {
            "id": id,
            # created_at (event or record time)
            "created_at": earlier.get("created_at", event.time or formats.instant(record.timestamp_ms)),
            "reason": reason,
            "event_source": event.source,
            "event_id": event.id,
            "event_type": event.type,
            "release_mgt_id": event.data["release_id"] if isinstance(event, Event) else event.release_id,
            "topic": record.topic,
            "topic_partition": record.partition,
            "topic_offset": record.offset,
            "resolved_at": None,
        }
        self.published.append(self._dead_letter(reason, id, record))
        return f"Rejected {reason}"

    def _dead_letter(self, reason: str, id: str, record: Record) -> Published:
        # The original key, value bytes and headers, untouched, plus headers.
        data: dict[str, Any] = {
            "key": record.key,
            "value": record.value,
            "headers": record.headers,
            "rudder-reason": reason,
            "rudder-topic": record.topic,
            "rudder-partition": record.partition,
            "rudder-offset": record.offset,
            "rudder-timestamp": record.timestamp_ms,
        }
        return Published(DEAD_LETTER, id, None, data)

    def _id_of(self, event: Event | InvalidRecord, record: Record) -> str:
        # UUIDv5 of the event's identity as in the activity log; of the record's position where it has none.
        if event.source is None or event.id is None:
            return formats.position_id(
                self.namespace, record.topic, record.partition, record.offset, record.timestamp_ms
            )
        return formats.activity_id(self.namespace, event.source, event.id)

    def _correct(self, event: Event, record: Record, known_id: str) -> None:
        # An applied or stale event with the header `rudder-corrects` resolves the rejection that the header names, if
        # that is open and of the same source, or of none.
        named = formats.corrected(record.headers)
        rejection = self.content.rejections.get(named) if named is not None and named != known_id else None
        if rejection and rejection["resolved_at"] is None and rejection["event_source"] in (None, event.source):
            rejection["resolved_at"] = formats.instant(record.timestamp_ms)

    def _is_redriven(self, record: Record, known_id: str) -> bool:
        # A redrive of an event that was corrected is a Duplicate.
        rejection = self.content.rejections[known_id]
        if rejection["resolved_at"] is not None:
            return False
        # Where the header names a position, only the rejection of the record there is decided afresh.
        named = formats.redriven(record.headers)
        if named is not None:
            return named == (rejection["topic"], rejection["topic_partition"], rejection["topic_offset"])
        # No outcome depends on […] how often the worker was restarted: a redrive that is only delivered again was
        # decided at its first delivery.
        decided = (record.topic, record.partition, record.offset) in self._decided
        return not decided and any(name == "rudder-redrive" for name, _ in record.headers)

    def _published_again(self, known_id: str, record: Record, event: Event | InvalidRecord) -> list[Published]:
        # A dead letter that is published again has the same id and reason, and the record that came now.
        if known_id in self.content.activity_logs:
            published = self.content.published[known_id]
            return [one for one in published if one.kind != DEPLOYMENT_STATE or self._is_still_state(one, event)]
        return [self._dead_letter(self.content.rejections[known_id]["reason"], known_id, record)]

    def _is_still_state(self, state: Published, event: Event | InvalidRecord) -> bool:
        # A repeat publishes the environment's state again only while the environment still has it, and only if the
        # repeated record is a deployment event of this release.
        if not isinstance(event, Event) or event.type not in DEPLOYMENT_EVENTS:
            return False
        if event.data["release_id"] != state.data["release_id"]:
            return False
        row = self.content.releases[state.data["release_id"]].counting_attempt(state.data["environment_id"])
        if row is None:
            return bool(state.data["status"] == "CANCELLED")
        return (row["id"], row["status"]) == (state.data["deployment_id"], state.data["status"])
