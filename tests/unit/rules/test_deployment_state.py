"""The state of an environment follows from log entries alone, and from the attempt that the environment counts with."""

from dataclasses import replace
from typing import Any

import pytest

from schemas.json_text import compact, parse
from schemas.outgoing import STATE_MODELS
from schemas.times import format_time
from schemas.types import EventType as E
from schemas.types import StateEventType
from tests.unit.rules.release_scenario import SOURCE, Scenario, applied, duplicate, minute, release_id
from worker.rules.attempts import counting
from worker.rules.deployment_state import StateEvent, state_event
from worker.rules.rows import Activity
from worker.rules.state import Changes


@pytest.fixture
def scenario() -> Scenario:
    return Scenario.of_approved_release()


def stored(activities: tuple[Activity, ...]) -> list[Activity]:
    """As a database gives them back."""
    return [replace(activity, payload=None) for activity in activities]


def state_after(changes: Changes) -> StateEvent:
    """The same from what was just written and from what a database gives back."""
    state = state_event(changes.activities)
    assert state is not None
    assert state_event(stored(changes.activities)) == state
    return state


def current(changes: Changes) -> tuple[Any, ...]:
    data = state_after(changes).data
    return data["config_revision"], data["attempt"], data["status"], data["release_version"]


def test_state_has_the_deployment_and_the_last_cause(scenario: Scenario) -> None:
    state = state_after(applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, id="x", at=2, actor="Zoë", comment="ja")))
    attempt = scenario.attempt(1)
    assert (state.key, state.time) == (f"{release_id()}/prod", minute(2))
    assert state.data == {
        "release_id": str(release_id()),
        "release_version": 3,
        "deployment_id": str(attempt.id),
        "organization_id": "acme",
        "environment_id": "prod",
        "config_revision": 1,
        "attempt": 1,
        "status": "SUCCESS",
        "deployed_at": format_time(minute(2)),
        "deployed_by": "Zoë",
        "release": {
            "name": "20260301-1",
            "project_id": "00000000-0000-0000-0000-00000000000d",
            "component_id": "00000000-0000-0000-0000-00000000000c",
            "deployment_track_id": "main",
            "commit_hash": None,
            "image_tag": None,
        },
        "cause": {
            "source": SOURCE,
            "id": "x",
            "type": "dev.rudder.deployment.succeeded.v1",
            "time": format_time(minute(2)),
        },
    }


def test_state_is_what_its_model_writes(scenario: Scenario) -> None:
    """Name by name the same, in the same order."""
    state = state_after(applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, at=2)))
    model = STATE_MODELS[StateEventType.DEPLOYMENT_STATE].model_validate_json(compact(state.data))
    assert compact(model.model_dump(mode="json")) == compact(state.data)


def test_superseded_attempt_has_no_state_of_its_own(scenario: Scenario) -> None:
    """One event, two changes, one state: the later attempt's."""
    scenario.add(E.DEPLOYMENT_STARTED, at=1)
    changes = applied(scenario.add(E.DEPLOYMENT_REQUESTED, at=2))
    assert [activity.status for activity in changes.activities] == ["CANCELLED", "PENDING"]
    assert current(changes) == (1, 2, "PENDING", 4)
    assert not any("current" in activity.activity_data for activity in changes.activities)


def test_cancelled_attempt_gives_back_the_one_before(scenario: Scenario) -> None:
    """Rule 8: cancelled attempts are left out."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=1, actor="Zoë")
    scenario.add(E.DEPLOYMENT_STARTED, at=2)
    changes = applied(scenario.add(E.DEPLOYMENT_CANCELLED, at=3))
    state = state_after(changes)
    assert current(changes) == (1, 1, "SUCCESS", 5)
    assert state.data["deployment_id"] == str(scenario.attempt(1).id)
    assert (state.data["deployed_at"], state.data["deployed_by"]) == (format_time(minute(1)), "Zoë")
    assert state.data["cause"]["type"] == E.DEPLOYMENT_CANCELLED


def test_environment_of_cancelled_attempts_states_the_last(scenario: Scenario) -> None:
    scenario.add(E.DEPLOYMENT_STARTED, at=1)
    changes = applied(scenario.add(E.DEPLOYMENT_CANCELLED, at=2))
    assert current(changes) == (1, 1, "CANCELLED", 4)
    assert state_after(changes).is_current({})


def test_older_event_of_another_revision_states_the_later_one(scenario: Scenario) -> None:
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=5, config_revision=2)
    assert current(applied(scenario.add(E.DEPLOYMENT_FAILED, at=1, config_revision=1))) == (2, 1, "SUCCESS", 4)


def test_events_without_a_change_have_no_state(scenario: Scenario) -> None:
    assert state_event(applied(scenario.add(E.ACTIVITY_RECORDED, environment_id="prod")).activities) is None
    assert state_event(()) is None


def test_duplicate_has_the_state_only_while_it_is_current(scenario: Scenario) -> None:
    """Compaction keeps the last record: an earlier state must not come after a later one."""
    first = state_after(applied(scenario.add(E.DEPLOYMENT_STARTED, at=1)))
    started = scenario.messages[-1]
    again = duplicate(scenario.world.take(started))
    assert again.counted is not None
    assert first.is_current(again.counted)
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=2)
    again = duplicate(scenario.world.take(started))
    assert again.counted is not None
    assert not first.is_current(again.counted)
    scenario.add(E.DEPLOYMENT_STARTED, at=3)
    last = state_after(applied(scenario.add(E.DEPLOYMENT_CANCELLED, at=4)))
    assert last.is_current(counting(scenario.world.attempts(release_id())))


@pytest.mark.parametrize("kind", [E.ACTIVITY_RECORDED, E.RELEASE_APPROVED])
def test_reused_identity_does_not_know_what_counts(scenario: Scenario, kind: E) -> None:
    scenario.add(E.DEPLOYMENT_STARTED, id="x", at=1)
    assert duplicate(scenario.add(kind, id="x", at=1)).counted is None


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("attempt", "first", "attempt"),
        ("change", {"from": None, "to": "GONE"}, "GONE"),
        ("current", {"deployment_id": "x", "config_revision": 1, "attempt": 1, "status": "SUCCESS"}, "UUID"),
    ],
)
def test_edited_activity_has_no_state(scenario: Scenario, name: str, value: object, complaint: str) -> None:
    [activity, *_] = applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, at=2)).activities
    content = parse(activity.activity_data.encode())
    assert isinstance(content, dict)
    edited = replace(activity, activity_data=compact(content | {name: value}), payload=None)
    with pytest.raises(ValueError, match=complaint):
        state_event([edited])
    with pytest.raises(ValueError, match="environment"):
        state_event([replace(activity, environment_id=None)])
