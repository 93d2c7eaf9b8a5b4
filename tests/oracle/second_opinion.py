"""The model itself: give it records in the order they are handled, and look at `content` and `published`."""

from typing import Any
from uuid import UUID

from tests.oracle import names
from tests.oracle.content import Content, Row
from tests.oracle.reading import read
from tests.oracle.records import Event, Published, Record, Refused, Unreadable
from tests.oracle.rules import Decision


class SecondOpinion:
    """What a database holds, and what was published, after the records that were handled."""

    def __init__(self, *, namespace: UUID, environments: list[Row] | None = None) -> None:
        self.namespace = namespace
        self.content = Content(environments=[dict(row) for row in environments or []])
        self.published: list[Published] = []
        self._judged: set[tuple[str, int, int]] = set()

    def handle(self, record: Record) -> str:
        """`Applied`, `Duplicate`, `Stale` or `Rejected <reason>`; `Skipped` for a tombstone."""
        # A record with a null value (a tombstone) is no event: it is skipped, without a row or a dead letter.
        if record.value is None:
            return "Skipped"
        letter = read(record)
        known_id = self._id_of(letter, record)
        # 1. Already known (same identity in the activity log or among the rejections): Duplicate. Nothing changes;
        # what it caused, status events or a dead letter, is published again with the same ids.
        if known_id in self.content.activity_logs or (
            known_id in self.content.rejections and not self._is_redriven(record)
        ):
            self.published += self._again(known_id, record)
            return "Duplicate"
        self._judged.add((record.topic, record.partition, record.offset))
        outcome, caused = self._judge(letter, known_id, record)
        self.content.caused[known_id] = caused
        self.published += caused
        return outcome

    def _judge(self, letter: Event | Unreadable, id: str, record: Record) -> tuple[str, list[Published]]:
        if isinstance(letter, Unreadable):
            return self._reject(letter, letter.reason, id, record)
        # A rejected event changes nothing, not even the release its block would have made.
        changed = self.content.copy()
        decision = Decision(changed, letter, record, namespace=self.namespace)
        try:
            outcome = decision.decide()
        except Refused as refused:
            return self._reject(letter, refused.reason, id, record)
        # Judged afresh only when it comes back with the header `rudder-redrive`; then its rejection is marked resolved
        # in the same transaction.
        if id in changed.rejections:
            changed.rejections[id]["resolved_at"] = names.instant(record.timestamp_ms)
        self.content = changed
        return outcome, decision.published

    def _reject(self, letter: Event | Unreadable, reason: str, id: str, record: Record) -> tuple[str, list[Published]]:
        # But it is remembered: one row in `release_event_rejections`. A redriven event that is rejected again keeps
        # its rejection's id; the row then says why it was rejected the last time, and where that record is.
        earlier = self.content.rejections.get(id, {})
        self.content.rejections[id] = {
            "id": id,
            # created_at (event or record time)
            "created_at": earlier.get("created_at", letter.time or names.instant(record.timestamp_ms)),
            "reason": reason,
            "event_source": letter.source,
            "event_id": letter.id,
            "event_type": letter.type,
            "release_mgt_id": letter.data["release_id"] if isinstance(letter, Event) else letter.release_id,
            "topic": record.topic,
            "topic_partition": record.partition,
            "topic_offset": record.offset,
            "resolved_at": None,
        }
        return f"Rejected {reason}", [self._dead_letter(reason, id, record)]

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
        return Published("dead-letter", id, None, data)

    def _id_of(self, letter: Event | Unreadable, record: Record) -> str:
        # UUIDv5 of the event's identity as in the activity log; of the record's position where it has none.
        if letter.source is None or letter.id is None:
            return names.place_id(self.namespace, record.topic, record.partition, record.offset, record.timestamp_ms)
        return names.activity_id(self.namespace, letter.source, letter.id)

    def _is_redriven(self, record: Record) -> bool:
        # No outcome depends on […] how often the worker was restarted: a redrive that is only delivered again was
        # judged when it was its turn.
        judged = (record.topic, record.partition, record.offset) in self._judged
        return not judged and any(name == "rudder-redrive" for name, _ in record.headers)

    def _again(self, known_id: str, record: Record) -> list[Published]:
        # A dead letter that is published again has the same id and reason, and the record that came now.
        if known_id in self.content.activity_logs:
            return self.content.caused[known_id]
        return [self._dead_letter(self.content.rejections[known_id]["reason"], known_id, record)]
