"""A small system after it handled its events correctly, as values: the messages, the rows, the published records.

The rows come from the checking database of `tests.properties.world`, not from the code under test. Tests then change
one thing and expect one finding.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import UUID

from schemas.record import Record
from schemas.types import EventType as E
from tests.properties.world import World
from tests.unit.rules.release_scenario import TOPIC, message, release_id
from worker.pipeline.dead_letter import contents_of
from worker.pipeline.outgoing import OutgoingRecords, Topics
from worker.rules.message import Message, RecordPosition
from worker.rules.rows import Activity
from worker.stored_rows import ReleaseRows
from worker.verify.checking import Checked, check
from worker.verify.findings import Finding
from worker.verify.history import (
    DeadLetter,
    Extents,
    History,
    InputRecord,
    StateRecord,
    StatusRecord,
    cause_of,
    digest,
    read_dead_letter,
    read_state,
    read_status,
)

TOPICS = Topics(deployment_status="deployment-status", release_status="release-status", dead_letters="dead-letters")
EXTENTS = Extents(begins={(TOPIC, 0): 0, (TOPIC, 1): 0})
SOURCE = "/rudder-worker"
_OUTGOING = OutgoingRecords(topics=TOPICS, content_mode="binary", source=SOURCE, worker="tests")
STATES = "deployment-state"
WITH_STATES = replace(_OUTGOING, topics=replace(TOPICS, deployment_state=STATES))


@dataclass(slots=True)
class HandledEvents:
    """`messages`: in the order in which they took effect."""

    world: World = field(default_factory=World)
    messages: list[Message] = field(default_factory=list)
    published: list[Record] = field(default_factory=list)
    outgoing: OutgoingRecords = _OUTGOING
    ends: list[int] = field(default_factory=list)
    """How many records are published after each message."""

    @classmethod
    def of_approved_release(cls, outgoing: OutgoingRecords = _OUTGOING) -> "HandledEvents":
        events = cls(outgoing=outgoing)
        events.add(E.RELEASE_CREATED, at=-3)
        events.add(E.RELEASE_SUBMITTED, at=-2)
        events.add(E.RELEASE_APPROVED, at=-1)
        return events

    @classmethod
    def of_deployed_release(cls) -> "HandledEvents":
        """Offsets 0 to 5; ids e0 to e5."""
        events = cls.of_approved_release()
        for kind in (E.DEPLOYMENT_REQUESTED, E.DEPLOYMENT_STARTED, E.DEPLOYMENT_SUCCEEDED):
            events.add(kind)
        return events

    @classmethod
    def with_a_rejection(cls) -> "HandledEvents":
        """A deployed release, and at offset 6 a change that no status allows."""
        events = cls.of_deployed_release()
        events.add(E.RELEASE_REJECTED)
        return events

    def add(
        self, kind: E, *, at: float | None = None, id: str | None = None, partition: int = 0, **more: Any
    ) -> Message:
        """The next record of its partition, handled and published."""
        offset = sum(one.record.partition == partition for one in self.messages)
        number = len(self.messages)
        added = message(
            kind, at=number if at is None else at, id=id or f"e{number}", partition=partition, offset=offset, **more
        )
        self.handle(added)
        return added

    def handle(self, message: Message) -> None:
        self.messages.append(message)
        for outgoing_record in self.outgoing.of(self.world.take(message), message, attempts=1):
            offset = sum(one.topic == outgoing_record.topic for one in self.published)
            self.published.append(
                Record(
                    topic=outgoing_record.topic,
                    partition=0,
                    offset=offset,
                    timestamp_ms=0,
                    key=outgoing_record.key,
                    value=outgoing_record.value,
                    headers=outgoing_record.headers,
                )
            )
        self.ends.append(len(self.published))

    def states_after(self, messages: int | None = None) -> list[StateRecord]:
        """The last record of each key of the state topic after the first messages; None: after all."""
        end = None if messages is None else self.ends[messages - 1]
        published = [one for one in self.published[:end] if one.topic == STATES]
        last = {one.key: found for one in published if (found := read_state(one, source=SOURCE)) is not None}
        return [state for _, state in last.values()]

    def history(self, release: int = 1, *, committed: int = 1_000) -> History:
        """The history that a verification reads; records from the offset `committed` on are in flight."""
        key = release_id(release)
        messages = sorted(
            (one for one in self.messages if one.ordering_key == key), key=lambda one: one.record.partition
        )
        event_ids = {one.id for one in messages}
        return History(
            key=key,
            rows=self.rows(key),
            inputs=tuple(InputRecord(message=one, in_flight=one.record.offset >= committed) for one in messages),
            rejections={event: row for event, row in self.world.rejections.items() if event in event_ids},
            dead_letters=tuple(self._dead_letters(messages)),
            statuses=tuple(self._statuses(key)),
            states=tuple(one for one in self.states_after() if one.key.startswith(str(key))),
        )

    def rows(self, key: UUID) -> ReleaseRows | None:
        row = self.world.releases.get(key)
        if row is None:
            return None
        new, deployments = row.inserted, self.world.deployments
        release = {
            **asdict(row.release),
            "status": row.release.status.value,
            "created_at": new.created_at,
            "updated_at": row.updated_at,
            **{name: getattr(new, name) for name in ("created_by", "description", "metadata")},
        }
        return ReleaseRows(
            release=release,
            version=self.world.versions[key],
            deployments=tuple(
                {
                    **asdict(one.deployment),
                    **asdict(one.optional_fields),
                    "status": one.deployment.status.value,
                    "created_at": one.created_at,
                    "release_mgt_id": key,
                }
                for one in deployments.values()
                if one.release_id == key
            ),
            base_revisions=tuple({"release_mgt_id": key, **asdict(one)} for one in new.base_revisions),
            activities=tuple(
                replace(one, payload=None) for one in self.world.activities.values() if one.release_id == key
            ),
        )

    def _dead_letters(self, messages: Iterable[Message]) -> Iterable[DeadLetter]:
        digests = {
            (one.record.topic, one.record.partition, one.record.offset): {
                digest(form) for form in contents_of(one.record)
            }
            for one in messages
        }
        for record in self.published:
            found = read_dead_letter(record) if record.topic == TOPICS.dead_letters else None
            if found is not None and found[0].original in digests:
                yield replace(found[0], matches_record=found[1] in digests[found[0].original])

    def _statuses(self, key: UUID) -> Iterable[StatusRecord]:
        found = [
            read_status(one, source=SOURCE) for one in self.published if one.topic not in {TOPICS.dead_letters, STATES}
        ]
        return [status for named, status in found if named == key]


def checked(history: History, extents: Extents = EXTENTS) -> Checked:
    return check(history, extents, TOPICS)


def findings(history: History, extents: Extents = EXTENTS) -> list[Finding]:
    return checked(history, extents).findings


def only(history: History, extents: Extents = EXTENTS) -> Finding:
    """The only finding."""
    found = findings(history, extents)
    assert len(found) == 1, [finding.line() for finding in found]
    return found[0]


def position(offset: int, *, topic: str = TOPIC, partition: int = 0) -> RecordPosition:
    return RecordPosition(topic, partition, offset)


def activity_of(history: History, id: str, index: int = 0) -> Activity:
    """The activity number `index` of the event with this id."""
    own = [activity for activity in history.activities if (cause := cause_of(activity)) and cause[1] == id]
    return own[index]


def with_activities(history: History, change: Callable[[Activity], Activity | None]) -> History:
    """The history with each activity changed; None removes one."""
    assert history.rows is not None
    activities = tuple(changed for activity in history.activities if (changed := change(activity)) is not None)
    return replace(history, rows=replace(history.rows, activities=activities))


def without_activity(history: History, id: str, index: int = 0) -> History:
    gone = activity_of(history, id, index)
    return with_activities(history, lambda activity: None if activity.id == gone.id else activity)


def statuses_of(history: History, topic: str) -> list[StatusRecord]:
    return [status for status in history.statuses if status.position.topic == topic]
