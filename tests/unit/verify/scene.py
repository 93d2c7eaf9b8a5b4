"""A small system that worked as it should, held in values: what it was told, its rows, and what it published.

The rows are those of a database that believes nothing (`tests.properties.world`), not of the code under test. Tests
then harm one thing, and look what is said of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import UUID

from schemas.record import Record
from schemas.types import EventType as E
from tests.properties.world import World
from tests.unit.rules.story import TOPIC, message, release_id
from worker.pipeline.dead_letter import contents_of
from worker.pipeline.outgoing import OutgoingRecords, Topics
from worker.rules.message import Message
from worker.rules.rows import Activity
from worker.stored_rows import ReleaseRows
from worker.verify.checking import Checked, check
from worker.verify.findings import Finding, Place
from worker.verify.history import Extents, History, Input, Letter, Status, cause_of
from worker.verify.received import letter_of, status_of
from worker.verify.scratch import digest

TOPICS = Topics(deployment_status="deployment-status", release_status="release-status", dead_letters="dead-letters")
EXTENTS = Extents(begins={(TOPIC, 0): 0, (TOPIC, 1): 0})
SOURCE = "/rudder-worker"
_PUBLICATIONS = OutgoingRecords(topics=TOPICS, content_mode="binary", source=SOURCE, worker="tests")


@dataclass(slots=True)
class Scene:
    """`told`: the messages, in the order in which they had their effect."""

    world: World = field(default_factory=World)
    told: list[Message] = field(default_factory=list)
    published: list[Record] = field(default_factory=list)

    @classmethod
    def of_approved_release(cls) -> "Scene":
        scene = cls()
        scene.tell(E.RELEASE_CREATED, at=-3)
        scene.tell(E.RELEASE_SUBMITTED, at=-2)
        scene.tell(E.RELEASE_APPROVED, at=-1)
        return scene

    @classmethod
    def of_deployed_release(cls) -> "Scene":
        """Offsets 0 to 5; ids e0 to e5."""
        scene = cls.of_approved_release()
        for kind in (E.DEPLOYMENT_REQUESTED, E.DEPLOYMENT_STARTED, E.DEPLOYMENT_SUCCEEDED):
            scene.tell(kind)
        return scene

    @classmethod
    def with_a_rejection(cls) -> "Scene":
        """A deployed release, and at offset 6 a change that no status allows."""
        scene = cls.of_deployed_release()
        scene.tell(E.RELEASE_REJECTED)
        return scene

    def tell(
        self, kind: E, *, at: float | None = None, id: str | None = None, partition: int = 0, **more: Any
    ) -> Message:
        """The next record of its partition, handled and published."""
        offset = sum(one.record.partition == partition for one in self.told)
        number = len(self.told)
        told = message(
            kind, at=number if at is None else at, id=id or f"e{number}", partition=partition, offset=offset, **more
        )
        self.take(told)
        return told

    def take(self, told: Message) -> None:
        self.told.append(told)
        for outgoing_record in _PUBLICATIONS.of(self.world.take(told), told, attempts=1):
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

    def history(self, release: int = 1, *, committed: int = 1_000) -> History:
        """What a sound verification is given; records from the offset `committed` on are in flight."""
        key = release_id(release)
        told = sorted((one for one in self.told if one.ordering_key == key), key=lambda one: one.record.partition)
        events = {one.id for one in told}
        return History(
            key=key,
            rows=self._rows(key),
            inputs=tuple(Input(message=one, in_flight=one.record.offset >= committed) for one in told),
            rejections={event: row for event, row in self.world.rejections.items() if event in events},
            letters=tuple(self._letters(told)),
            statuses=tuple(self._statuses(key)),
        )

    def _rows(self, key: UUID) -> ReleaseRows | None:
        row = self.world.releases.get(key)
        if row is None:
            return None
        new, deployments = row.inserted, self.world.deployments
        release = {
            **asdict(row.release),
            "status": row.release.status.value,
            "created_at": new.created_at,
            "updated_at": row.updated_at,
            **{name: getattr(new, name) for name in ("project_id", "created_by", "description", "commit_hash")},
            **{name: getattr(new, name) for name in ("image_tag", "metadata")},
        }
        return ReleaseRows(
            release=release,
            deployments=tuple(
                {
                    **asdict(one.deployment),
                    **asdict(one.particulars),
                    "status": one.deployment.status.value,
                    "created_at": one.created_at,
                    "release_mgt_id": key,
                }
                for one in deployments.values()
                if one.release_id == key
            ),
            base_revisions=tuple({"release_mgt_id": key, **asdict(one)} for one in new.base_revisions),
            activities=tuple(
                replace(one, said=None) for one in self.world.activities.values() if one.release_id == key
            ),
        )

    def _letters(self, told: Iterable[Message]) -> Iterable[Letter]:
        digests = {
            (one.record.topic, one.record.partition, one.record.offset): {
                digest(form) for form in contents_of(one.record)
            }
            for one in told
        }
        for record in self.published:
            found = letter_of(record) if record.topic == TOPICS.dead_letters else None
            if found is not None and found[0].of in digests:
                yield replace(found[0], same=found[1] in digests[found[0].of])

    def _statuses(self, key: UUID) -> Iterable[Status]:
        found = [status_of(one, source=SOURCE) for one in self.published if one.topic != TOPICS.dead_letters]
        return [status for named, status in found if named == key]


def checked(history: History, extents: Extents = EXTENTS) -> Checked:
    return check(history, extents, TOPICS)


def findings(history: History, extents: Extents = EXTENTS) -> list[Finding]:
    return checked(history, extents).findings


def only(history: History, extents: Extents = EXTENTS) -> Finding:
    """The one finding that there is."""
    found = findings(history, extents)
    assert len(found) == 1, [finding.line() for finding in found]
    return found[0]


def at(offset: int, *, topic: str = TOPIC, partition: int = 0) -> Place:
    return Place(topic, partition, offset)


def entry_of(history: History, id: str, position: int = 0) -> Activity:
    """The entry number `position` of the event with this id."""
    own = [activity for activity in history.activities if (cause := cause_of(activity)) and cause[1] == id]
    return own[position]


def with_entries(history: History, change: Callable[[Activity], Activity | None]) -> History:
    """The history with each entry changed, or without it."""
    assert history.rows is not None
    activities = tuple(changed for activity in history.activities if (changed := change(activity)) is not None)
    return replace(history, rows=replace(history.rows, activities=activities))


def without_entry(history: History, id: str, position: int = 0) -> History:
    gone = entry_of(history, id, position)
    return with_entries(history, lambda activity: None if activity.id == gone.id else activity)


def statuses_of(history: History, topic: str) -> list[Status]:
    return [status for status in history.statuses if status.place.topic == topic]
