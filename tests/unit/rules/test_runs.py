"""Rule 11: all events of one run of a foreign source change one attempt, in whatever order they arrive."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.adapters.foreign import Artifact, ForeignEvent, Format, Original
from schemas.event import Event, Foreign
from schemas.incoming import DeploymentChange, DerivedRelease, ForeignActivity
from schemas.mapping import Mapping
from schemas.mapping_rules import MappingFile
from schemas.record import Record
from schemas.types import EventType as E
from worker.release_simulation import ReleaseSimulation
from worker.rules.decide import decide
from worker.rules.effects import DEPLOYMENT_RUN
from worker.rules.message import Message
from worker.rules.state import Applied, Duplicate, Outcome, Rejected, Stale

RELEASE, COMPONENT = UUID(int=7), UUID(int=8)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
ENDS = [E.DEPLOYMENT_SUCCEEDED, E.DEPLOYMENT_FAILED, E.DEPLOYMENT_CANCELLED]
BLOCK = DerivedRelease(
    project_id=UUID(int=9),
    component_id=COMPONENT,
    deployment_track_id="main",
    release_date=BEGIN.date(),
    created_by="github",
)


class Ids(NamedTuple):
    known: tuple[UUID, ...] = ()
    opens: tuple[UUID, ...] = ()


def ids(run: str | None, part_of: str | None, env: str) -> Ids:
    """As the mapping derives them."""
    foreign = ForeignEvent(
        format=Format.GITHUB,
        type=E.DEPLOYMENT_STARTED,
        source="/ci",
        id="1",
        time=BEGIN,
        original=Original(type="x"),
        run=run,
        part_of=part_of,
        scope={"environment": env},
        artifact=Artifact(tag="1"),
    )
    rule = {"match": {"environment": "*"}, "component": str(COMPONENT), "environments": {env: env}}
    file = {"organization": "acme", "project": str(COMPONENT), "rules": [rule]}
    event = Mapping(MappingFile.model_validate(file)).event(foreign, recorded_at=None)
    assert isinstance(event, Event)
    assert event.foreign is not None
    return Ids(event.foreign.runs, event.foreign.opens)


class Runs:
    """The events of foreign runs of one release, decided one after the other."""

    def __init__(self, next_number: int = 3) -> None:
        self.rows = ReleaseSimulation()
        self.next_number = next_number
        self.events = 0

    def message(
        self,
        kind: E,
        *,
        run: str | None,
        at: float,
        id: str | None = None,
        env: str = "prod",
        part_of: str | None = None,
    ) -> Message:
        self.events += 1
        data: DeploymentChange | ForeignActivity
        given = {"release_id": RELEASE, "organization_id": "acme", "release": BLOCK, "actor": "octocat"}
        if kind is E.ACTIVITY_RECORDED:
            data = ForeignActivity(**given, activity_type="SEEN", activity_data={})
        else:
            data = DeploymentChange(**given, environment_id=env)
        event = Event(
            source="https://github.com/acme/shop",
            id=id or str(self.events),
            type=kind,
            time=BEGIN + timedelta(seconds=at),
            data=data,
            foreign=Foreign(
                format=Format.GITHUB,
                original=Original(type="x", status="y", url="https://x"),
                run=run,
                runs=ids(run, part_of, env).known,
                opens=ids(run, part_of, env).opens,
            ),
        )
        record = Record(topic="in", partition=0, offset=self.events, timestamp_ms=0, key=None, value=b"")
        return Message(record=record, content=event, with_foreign=True)

    def add(self, kind: E, *, run: str | None = "1", at: float, **more: Any) -> Outcome:
        message = self.message(kind, run=run, at=at, **more)
        state = self.rows.state(message, number_taken=False)
        if state.release is None:
            state = replace(state, next_number=self.next_number)
        outcome = decide(state, message)
        self.rows.write(outcome, message.id)
        return outcome

    def statuses(self) -> list[tuple[int, str]]:
        return sorted((row["attempt"], row["status"]) for row in self.rows.deployments.values())


@given(gaps=st.tuples(st.integers(0, 2), st.integers(0, 2)), end=st.sampled_from(ENDS), repeated=st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_every_order_of_a_run_gives_one_attempt(gaps: tuple[int, int], end: E, repeated: int) -> None:
    at = (0, gaps[0], sum(gaps))
    events = [(E.DEPLOYMENT_REQUESTED, at[0]), (E.DEPLOYMENT_STARTED, at[1]), (end, at[2])]
    rows = set()
    for order in permutations([*events, events[repeated]]):
        runs = Runs()
        for kind, moment in order:
            assert isinstance(runs.add(kind, at=moment), Applied | Stale)
        [row] = runs.rows.deployments.values()
        release = runs.rows.release
        assert release is not None
        rows.add((row["status"], row["updated_at"], row["deployed_at"], row["deployed_by"], release["status"]))
    assert len(rows) == 1


def test_repeated_state_is_stale() -> None:
    """With a later time and another delivery id, which without a run would open the next attempt."""
    runs = Runs()
    runs.add(E.DEPLOYMENT_SUCCEEDED, at=1)
    assert isinstance(runs.add(E.DEPLOYMENT_SUCCEEDED, at=60), Stale)
    assert runs.statuses() == [(1, "SUCCESS")]


def test_second_end_of_a_run_is_stale() -> None:
    runs = Runs()
    runs.add(E.DEPLOYMENT_FAILED, at=1)
    assert isinstance(runs.add(E.DEPLOYMENT_CANCELLED, at=2), Stale)
    assert runs.statuses() == [(1, "FAILED")]


def test_redelivery_is_a_duplicate() -> None:
    runs = Runs()
    runs.add(E.DEPLOYMENT_SUCCEEDED, at=1, id="guid")
    again = runs.add(E.DEPLOYMENT_SUCCEEDED, at=1, id="guid")
    assert isinstance(again, Duplicate)
    assert DEPLOYMENT_RUN not in {one.activity_type for one in again.activities}


def test_another_run_opens_the_next_attempt() -> None:
    """Over an active one, which is cancelled; a later end of the first run is stale then."""
    runs = Runs()
    runs.add(E.DEPLOYMENT_STARTED, run="1", at=1)
    assert isinstance(runs.add(E.DEPLOYMENT_STARTED, run="2", at=2), Applied)
    assert isinstance(runs.add(E.DEPLOYMENT_SUCCEEDED, run="1", at=3), Stale)
    assert isinstance(runs.add(E.DEPLOYMENT_SUCCEEDED, run="2", at=4), Applied)
    assert runs.statuses() == [(1, "CANCELLED"), (2, "SUCCESS")]


def test_run_that_is_over_is_stale() -> None:
    runs = Runs()
    runs.add(E.DEPLOYMENT_SUCCEEDED, run="2", at=10)
    assert isinstance(runs.add(E.DEPLOYMENT_SUCCEEDED, run="1", at=9), Stale)
    assert runs.statuses() == [(1, "SUCCESS")]


def test_one_run_has_an_attempt_in_each_environment() -> None:
    runs = Runs()
    runs.add(E.DEPLOYMENT_SUCCEEDED, at=1, env="stage")
    runs.add(E.DEPLOYMENT_SUCCEEDED, at=2, env="prod")
    assert runs.statuses() == [(1, "SUCCESS"), (1, "SUCCESS")]


def test_roll_back_of_an_unknown_run_follows_rule_6() -> None:
    runs = Runs()
    assert isinstance(runs.add(E.DEPLOYMENT_ROLLED_BACK, run="2", at=1), Rejected)
    runs.add(E.DEPLOYMENT_SUCCEEDED, run="1", at=2)
    assert isinstance(runs.add(E.DEPLOYMENT_ROLLED_BACK, run="2", at=3), Applied)
    assert runs.statuses() == [(1, "ROLLED_BACK")]


def test_event_without_a_run_follows_rule_6() -> None:
    runs = Runs()
    runs.add(E.DEPLOYMENT_STARTED, run=None, at=1)
    runs.add(E.DEPLOYMENT_SUCCEEDED, run=None, at=2)
    runs.add(E.DEPLOYMENT_SUCCEEDED, run=None, at=3)
    assert runs.statuses() == [(1, "SUCCESS"), (2, "SUCCESS")]


@pytest.mark.parametrize("kind", [E.DEPLOYMENT_REQUESTED, E.ACTIVITY_RECORDED])
def test_first_event_creates_the_release(kind: E) -> None:
    runs = Runs(next_number=3)
    runs.add(kind, at=1)
    release = runs.rows.release
    assert release is not None
    assert (release["id"], release["release_number"], release["created_by"]) == (RELEASE, 3, "github")
    assert release["status"] == ("DEPLOYING" if kind is E.DEPLOYMENT_REQUESTED else "APPROVED")


def test_activities_keep_what_the_source_says() -> None:
    runs = Runs()
    applied = runs.add(E.DEPLOYMENT_STARTED, run="deployment/7", at=1)
    assert isinstance(applied, Applied)
    activities = applied.changes.activities
    for activity in activities:
        assert activity.payload is not None
        assert activity.payload["original"] == {
            "type": "x",
            "id": None,
            "status": "y",
            "url": "https://x",
            "actor": None,
        }
        assert (activity.payload["format"], activity.payload["run"]) == ("github", "deployment/7")
    assert activities[-1].activity_type == DEPLOYMENT_RUN
    assert applied.changes.runs == {activities[-1].id: 1}


def test_cancelled_workflow_ends_its_deployment() -> None:
    """Whether its event comes before, between or after those of the deployment."""
    events: list[tuple[E, dict[str, Any]]] = [
        (E.DEPLOYMENT_REQUESTED, {"run": "deployment/1", "part_of": "workflow/1", "at": 0}),
        (E.DEPLOYMENT_STARTED, {"run": "deployment/1", "part_of": "workflow/1", "at": 1}),
        (E.DEPLOYMENT_CANCELLED, {"run": "workflow/1", "at": 2}),
    ]
    for order in permutations(events):
        runs = Runs()
        for kind, values in order:
            runs.add(kind, **values)
        assert runs.statuses() == [(1, "CANCELLED")], order


def test_cancelled_workflow_leaves_the_next_one_alone() -> None:
    """As where a newer run of a concurrency group cancels the one before, which ends a little later."""
    runs = Runs()
    runs.add(E.DEPLOYMENT_STARTED, run="deployment/1", part_of="workflow/1", at=0)
    runs.add(E.DEPLOYMENT_REQUESTED, run="deployment/2", part_of="workflow/2", at=9)
    assert isinstance(runs.add(E.DEPLOYMENT_CANCELLED, run="workflow/1", at=10), Stale)
    assert isinstance(runs.add(E.DEPLOYMENT_CANCELLED, run="workflow/0", at=11), Stale)
    runs.add(E.DEPLOYMENT_SUCCEEDED, run="deployment/2", part_of="workflow/2", at=20)
    assert runs.statuses() == [(1, "CANCELLED"), (2, "SUCCESS")]


def test_parts_of_a_workflow_are_attempts_of_their_own() -> None:
    """A plan that succeeds, and an apply that fails."""
    runs = Runs()
    for number, end in ((1, E.DEPLOYMENT_SUCCEEDED), (2, E.DEPLOYMENT_FAILED)):
        runs.add(E.DEPLOYMENT_STARTED, run=f"deployment/{number}", part_of="workflow/1", at=number * 10)
        runs.add(end, run=f"deployment/{number}", part_of="workflow/1", at=number * 10 + 5)
    assert runs.statuses() == [(1, "SUCCESS"), (2, "FAILED")]


def runs_of(message: Message) -> tuple[UUID, ...]:
    assert message.foreign is not None
    return message.foreign.runs


def test_event_of_a_run_whose_attempt_was_deleted_is_stale() -> None:
    runs = Runs()
    runs.add(E.DEPLOYMENT_STARTED, at=1)
    message = runs.message(E.DEPLOYMENT_SUCCEEDED, run="1", at=2)
    state = replace(runs.rows.state(message, number_taken=False), deployments=(), runs={runs_of(message)[0]: None})
    assert isinstance(decide(state, message), Stale)


def test_release_without_a_free_number_is_a_conflict() -> None:
    runs = Runs(next_number=2**31)
    rejected = runs.add(E.DEPLOYMENT_STARTED, at=1)
    assert isinstance(rejected, Rejected)
    assert rejected.rejection.reason == "release_conflict"
