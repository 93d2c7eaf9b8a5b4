"""Events in one line each, decided one after the other. Event number n happens at minute n, unless `at` is given."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from schemas.event import Event
from schemas.incoming import DATA_MODELS
from schemas.reasons import Reason
from schemas.record import Headers, Record
from schemas.types import EventType as E
from tests.properties.world import ReleaseRow, World
from worker.rules.message import Message
from worker.rules.rows import Activity, Deployment, EnvironmentPointerMove, Rejection
from worker.rules.state import Applied, Changes, Duplicate, Outcome, Rejected, Stale

SOURCE = "https://ci.example.com"
TOPIC = "rudder.deployment-events"
START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
COMPONENT = UUID(int=0xC)
TRACK = "main"
REDRIVE: Headers = (("rudder-redrive", b""),)


def minute(at: float) -> datetime:
    return START + timedelta(minutes=at)


def release_id(number: int = 1) -> UUID:
    return UUID(int=0xE0 + number)


def fields(number: int = 1, **changes: object) -> dict[str, Any]:
    """A release block."""
    return {
        "project_id": UUID(int=0xD),
        "component_id": COMPONENT,
        "deployment_track_id": TRACK,
        "release_date": "2026-03-01",
        "release_number": number,
        "created_by": "maria",
        **changes,
    }


def message(
    kind: E,
    *,
    at: float = 0,
    id: str = "e",
    source: str = SOURCE,
    release: int = 1,
    topic: str = TOPIC,
    partition: int = 0,
    offset: int = 0,
    recorded_at: float | None = None,
    headers: Headers = (),
    block: Mapping[str, Any] | None = None,
    **data: Any,
) -> Message:
    """A decoded event, valid unless `data` changes that. `block`: its release block. The record's timestamp is an hour
    later, so that a test can distinguish the two times.
    """
    content: dict[str, Any] = {"release_id": release_id(release), "organization_id": "acme"}
    if kind is E.RELEASE_CREATED:
        content |= fields(release)
    elif ".deployment." in kind:
        content |= {"environment_id": "prod"}
    elif kind is E.ACTIVITY_RECORDED:
        content |= {"activity_type": "TEST_RUN", "activity_data": {}}
    if block is not None:
        content["release"] = block
    event = Event(
        source=source, id=id, type=kind, time=minute(at), data=DATA_MODELS[kind].model_validate({**content, **data})
    )
    timestamp_ms = int(minute(at + 60 if recorded_at is None else recorded_at).timestamp() * 1000)
    record = Record(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_ms,
        key=str(content["release_id"]).encode(),
        value=b"{}",
        headers=headers,
    )
    return Message(record=record, content=event)


class Scenario:
    """A world with a row in `app_environments` for `prod`, and the messages that it handled."""

    def __init__(self) -> None:
        self.world = World(environments=["prod"])
        self.messages: list[Message] = []

    @classmethod
    def of_approved_release(cls) -> "Scenario":
        scenario = cls()
        scenario.add(E.RELEASE_CREATED, at=-3)
        scenario.add(E.RELEASE_SUBMITTED, at=-2)
        scenario.add(E.RELEASE_APPROVED, at=-1)
        return scenario

    def add(self, kind: E, *, at: float | None = None, id: str | None = None, **more: Any) -> Outcome:
        offset = len(self.messages)
        added = message(kind, at=offset if at is None else at, id=id or f"e{offset}", offset=offset, **more)
        return self.handle(added)

    def handle(self, added: Message) -> Outcome:
        self.messages.append(added)
        return self.world.take(added)

    def release(self, number: int = 1) -> ReleaseRow:
        return self.world.releases[release_id(number)]

    def status(self, number: int = 1) -> str:
        return self.release(number).release.status.value

    def attempt(self, attempt: int, *, env: str = "prod", config_revision: int = 1, release: int = 1) -> Deployment:
        key = (env, config_revision, attempt)
        found = [
            one
            for one in self.world.attempts(release_id(release))
            if (one.environment_id, one.config_revision, one.attempt) == key
        ]
        assert len(found) == 1
        return found[0]

    def statuses(self, *, env: str = "prod", config_revision: int = 1, release: int = 1) -> list[str]:
        """The attempts' statuses, by attempt."""
        key = (env, config_revision)
        found = [
            one for one in self.world.attempts(release_id(release)) if (one.environment_id, one.config_revision) == key
        ]
        return [one.status.value for one in sorted(found, key=lambda one: one.attempt)]

    def pointer(self, env: str = "prod") -> EnvironmentPointerMove | None:
        return self.world.pointers.get((env, COMPONENT, TRACK))


def applied(outcome: Outcome) -> Changes:
    assert isinstance(outcome, Applied), outcome
    return outcome.changes


def stale(outcome: Outcome) -> Activity:
    assert isinstance(outcome, Stale), outcome
    return outcome.changes.activities[0]


def rejected(outcome: Outcome, reason: Reason) -> Rejection:
    assert isinstance(outcome, Rejected), outcome
    assert outcome.rejection.reason == reason.value, outcome
    return outcome.rejection


def duplicate(outcome: Outcome) -> Duplicate:
    assert isinstance(outcome, Duplicate), outcome
    return outcome


def data_of(activity: Activity) -> dict[str, Any]:
    content = json.loads(activity.activity_data)
    assert isinstance(content, dict)
    return content


def changes_of(activities: tuple[Activity, ...]) -> list[tuple[str, str | None, str]]:
    """Activity type, previous and new status of each activity."""
    return [
        (activity.activity_type, data_of(activity)["change"]["from"], data_of(activity)["change"]["to"])
        for activity in activities
    ]
