"""Status events follow from log entries alone, so that a repeat is published exactly as the first time."""

from dataclasses import replace
from typing import Any

import pytest

from schemas.event import Event
from schemas.json_text import compact, parse
from schemas.outgoing import STATUS_MODELS
from schemas.times import format_time
from schemas.trace_context import TraceContext
from schemas.types import EventType as E
from schemas.types import StatusEventType
from tests.unit.rules.release_scenario import (
    SOURCE,
    Scenario,
    applied,
    duplicate,
    fields,
    message,
    minute,
    release_id,
    stale,
)
from worker.rules.decide import decide
from worker.rules.rows import Activity
from worker.rules.status_events import status_events

RELEASE = {
    "name": "20260301-1",
    "project_id": "00000000-0000-0000-0000-00000000000d",
    "component_id": "00000000-0000-0000-0000-00000000000c",
    "deployment_track_id": "main",
    "commit_hash": None,
    "image_tag": None,
}
TRACE = TraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "ci=1")


def stored(activity: Activity) -> Activity:
    """As a database gives it back: plain texts."""
    text = str(activity.activity_data.encode(), "utf-8")
    return replace(
        activity,
        activity_data=text,
        activity_type=str(activity.activity_type),
        status=str(activity.status),
        payload=None,
    )


@pytest.fixture
def scenario() -> Scenario:
    return Scenario.of_approved_release()


def test_success_publishes_a_deployment_and_a_release_event(scenario: Scenario) -> None:
    """One event for the deployment, one for the release, in this order."""
    scenario.add(E.DEPLOYMENT_STARTED, at=1, config_revision=3)
    changes = applied(
        scenario.add(E.DEPLOYMENT_SUCCEEDED, id="x", at=2, config_revision=3, actor="Zoë", comment="ja 🚀")
    )
    cause = {"source": SOURCE, "id": "x", "type": "dev.rudder.deployment.succeeded.v1", "time": format_time(minute(2))}
    deployment, release = status_events(changes.activities)
    assert deployment.type is StatusEventType.DEPLOYMENT_STATUS_CHANGED
    assert deployment.data == {
        "release_id": str(release_id()),
        "release_version": 4,
        "deployment_id": str(scenario.attempt(1, config_revision=3).id),
        "organization_id": "acme",
        "environment_id": "prod",
        "config_revision": 3,
        "attempt": 1,
        "previous_status": "IN_PROGRESS",
        "status": "SUCCESS",
        "deployed_at": format_time(minute(2)),
        "deployed_by": "Zoë",
        "comment": "ja 🚀",
        "release": RELEASE,
        "cause": cause,
    }
    assert release.type is StatusEventType.RELEASE_STATUS_CHANGED
    assert release.data == {
        "release_id": str(release_id()),
        "release_version": 4,
        "organization_id": "acme",
        "previous_status": "DEPLOYING",
        "status": "DEPLOYED",
        "comment": None,
        "release": RELEASE,
        "cause": cause,
    }


@pytest.mark.parametrize("sent", [E.DEPLOYMENT_SUCCEEDED, E.DEPLOYMENT_ROLLED_BACK, E.DEPLOYMENT_STARTED])
def test_published_events_match_the_published_models(scenario: Scenario, sent: E) -> None:
    """Fresh events are put together without the models, for speed: name by name the same, in the same order."""
    scenario.add(E.DEPLOYMENT_REQUESTED, at=1)
    scenario.add(E.DEPLOYMENT_STARTED, at=1)
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=2, actor="Zoë")
    for event in status_events(applied(scenario.add(sent, at=3, actor="jo", comment="ja")).activities):
        model = STATUS_MODELS[event.type].model_validate_json(compact(event.data))
        assert list(model.model_dump(mode="json").items()) == list(event.data.items())
        assert compact(model.model_dump(mode="json")) == compact(event.data)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("attempt", "first", "attempt"),
        ("organization_id", "", "organization_id"),
        ("deployed_at", "soon", "RFC 3339"),
        ("change", {"from": None, "to": "GONE"}, "GONE"),
        ("release_version", -1, "release_version"),
        ("release", {"name": "20260301-1"}, "release.project_id"),
    ],
)
def test_edited_activity_is_not_published(scenario: Scenario, name: str, value: object, complaint: str) -> None:
    """It would break the promise that subscribers were given; its release waits until it is mended."""
    (activity, *_) = applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, at=2)).activities
    content = parse(activity.activity_data.encode())
    assert isinstance(content, dict)
    edited = replace(activity, activity_data=compact(content | {name: value}), payload=None)
    with pytest.raises(ValueError, match=complaint):
        status_events([edited])


def test_status_event_has_its_activitys_id_and_time(scenario: Scenario) -> None:
    """The same change always has the same id."""
    changes = applied(scenario.add(E.DEPLOYMENT_REQUESTED, at=5))
    events = status_events(changes.activities)
    assert [event.id for event in events] == [activity.id for activity in changes.activities]
    assert {event.time for event in events} == {minute(5)}
    assert {event.release_id for event in events} == {release_id()}


def test_new_row_has_no_previous_status() -> None:
    """A release that a block made, and its first attempt."""
    changes = applied(Scenario().add(E.DEPLOYMENT_REQUESTED, block=fields()))
    assert [(event.data["previous_status"], event.data["status"]) for event in status_events(changes.activities)] == [
        (None, "APPROVED"),
        (None, "PENDING"),
        ("APPROVED", "DEPLOYING"),
    ]


def test_superseded_attempt_has_a_status_event(scenario: Scenario) -> None:
    """With its own attempt, and without the comment of the event that superseded it."""
    scenario.add(E.DEPLOYMENT_STARTED)
    changes = applied(scenario.add(E.DEPLOYMENT_REQUESTED, comment="again"))
    superseded, opened = (event.data for event in status_events(changes.activities))
    assert (superseded["attempt"], superseded["status"], superseded["comment"]) == (1, "CANCELLED", None)
    assert (opened["attempt"], opened["status"], opened["comment"]) == (2, "PENDING", "again")


def test_success_without_an_actor_has_no_deployed_by(scenario: Scenario) -> None:
    """`actor` is optional."""
    (event, _) = status_events(applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, at=5)).activities)
    assert (event.data["deployed_at"], event.data["deployed_by"]) == (format_time(minute(5)), None)


def test_rollback_has_deployed_at(scenario: Scenario) -> None:
    """As its row does."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=5, actor="maria")
    (event, _) = status_events(applied(scenario.add(E.DEPLOYMENT_ROLLED_BACK, at=6, actor="jo")).activities)
    assert (event.data["deployed_at"], event.data["deployed_by"]) == (format_time(minute(5)), "maria")


def test_release_status_event_has_its_comment(scenario: Scenario) -> None:
    """Why it was created or rejected."""
    scenario = Scenario()
    (created,) = status_events(applied(scenario.add(E.RELEASE_CREATED, comment="first")).activities)
    (submitted,) = status_events(applied(scenario.add(E.RELEASE_SUBMITTED, comment="look")).activities)
    assert (created.data["comment"], submitted.data["comment"]) == ("first", "look")


def test_release_version_counts_events_that_change_the_release(scenario: Scenario) -> None:
    """Of the release or of a deployment of it; once an event, whatever it changes, and not for what changes nothing."""
    sent = [
        applied(scenario.add(E.DEPLOYMENT_REQUESTED)),
        applied(scenario.add(E.DEPLOYMENT_REQUESTED)),
        applied(scenario.add(E.ACTIVITY_RECORDED)),
        applied(scenario.add(E.DEPLOYMENT_STARTED)),
    ]
    stale(scenario.add(E.RELEASE_APPROVED))
    sent.append(applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, config_revision=2)))
    assert [changes.release_version for changes in sent] == [3, 4, None, 5, 6]
    published = [[event.data["release_version"] for event in status_events(changes.activities)] for changes in sent]
    assert published == [[3, 3], [4, 4], [], [5], [6, 6]]


def test_new_release_has_version_0_and_a_block_changes_it_once() -> None:
    """Then no two status events of one release have one version."""
    created = applied(Scenario().add(E.RELEASE_CREATED))
    assert created.release_version == 0
    block = applied(Scenario().add(E.DEPLOYMENT_REQUESTED, block=fields()))
    assert block.release_version == 1
    assert [event.data["release_version"] for event in status_events(block.activities)] == [0, 1, 1]


def test_release_without_a_version_gets_version_1() -> None:
    """Another application made it."""
    scenario = Scenario.of_approved_release()
    sent = message(E.DEPLOYMENT_REQUESTED, id="x", at=9)
    state = replace(scenario.world.load(sent), release_version=None)
    assert applied(decide(state, sent)).release_version == 1


def test_release_block_is_that_of_the_change(scenario: Scenario) -> None:
    """Another application may edit the release's row afterwards: what was published stays as it is."""
    first = applied(scenario.add(E.DEPLOYMENT_REQUESTED, id="x"))
    row = scenario.world.releases[release_id()]
    edited = replace(row.release, commit_hash="edited", image_tag="")
    scenario.world.releases[release_id()] = replace(row, release=edited)
    again = duplicate(scenario.add(E.DEPLOYMENT_REQUESTED, id="x"))
    assert status_events([stored(activity) for activity in again.activities]) == status_events(first.activities)
    later = status_events(applied(scenario.add(E.DEPLOYMENT_STARTED)).activities)
    assert [event.data["release"] for event in later] == [RELEASE | {"commit_hash": "edited", "image_tag": ""}]


@pytest.mark.parametrize("trace", [None, TRACE, TraceContext(TRACE.traceparent)])
def test_trace_context_of_the_cause_is_carried_on(scenario: Scenario, trace: TraceContext | None) -> None:
    """From the log entry too, as for a repeat, whose own trace is another."""
    first = message(E.DEPLOYMENT_REQUESTED, id="x", at=1)
    assert isinstance(first.content, Event)
    activities = applied(scenario.handle(replace(first, content=replace(first.content, trace=trace)))).activities
    again = duplicate(scenario.handle(first)).activities
    assert [event.trace for event in status_events(activities)] == [trace, trace]
    assert status_events([stored(activity) for activity in again]) == status_events(activities)


def test_entry_of_an_earlier_version_is_published_with_nulls(scenario: Scenario) -> None:
    """It has neither a version nor a release block."""
    for activity in applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, at=2)).activities:
        text = parse(activity.activity_data.encode())
        assert isinstance(text, dict)
        earlier = {name: value for name, value in text.items() if name not in {"release_version", "release"}}
        (event,) = status_events([replace(activity, activity_data=compact(earlier), payload=None)])
        assert (event.data["release_version"], event.data["release"]) == (None, None)
        STATUS_MODELS[event.type].model_validate_json(compact(event.data))


def test_unchanged_status_has_no_status_event(scenario: Scenario) -> None:
    """Stale events and activities; an activity may call itself nearly anything."""
    assert status_events([stale(scenario.add(E.RELEASE_APPROVED))]) == ()
    assert status_events(applied(scenario.add(E.ACTIVITY_RECORDED, activity_type="release-created")).activities) == ()


def test_activity_with_deep_data_is_not_parsed(scenario: Scenario) -> None:
    """Its entry is not even parsed: nothing is published of it."""
    deep: dict[str, object] = {}
    for _ in range(60):
        deep = {"deeper": deep}
    assert status_events(applied(scenario.add(E.ACTIVITY_RECORDED, activity_data=deep)).activities) == ()


@pytest.mark.parametrize("comment", [None, "", '[{"a":"\\u0000', "Zürich 🚀\n\t\x01\u2028", "[" * 100])
def test_stored_activity_gives_the_same_status_events(comment: str | None) -> None:
    """Whatever people wrote into it."""
    scenario = Scenario()
    sent: list[tuple[E, dict[str, Any]]] = [
        (E.DEPLOYMENT_REQUESTED, {"block": fields()}),
        (E.DEPLOYMENT_STARTED, {"attempt": 2}),
        (E.DEPLOYMENT_SUCCEEDED, {"actor": "Zoë\n"}),
        (E.DEPLOYMENT_ROLLED_BACK, {}),
    ]
    for number, (kind, data) in enumerate(sent):
        activities = applied(scenario.add(kind, id=str(number), comment=comment, **data)).activities
        again = duplicate(scenario.add(kind, id=str(number), comment="another", **data)).activities
        fresh = status_events(activities)
        assert fresh
        assert status_events([stored(activity) for activity in again]) == fresh


def test_status_event_has_only_what_its_activity_holds() -> None:
    """What is published is read from `activity_data`: what that does not say is null."""
    (activity,) = applied(Scenario().add(E.RELEASE_CREATED, comment="first")).activities
    text = parse(activity.activity_data.encode())
    assert isinstance(text, dict)
    del text["comment"]
    (event,) = status_events([replace(activity, activity_data=compact(text), payload=None)])
    assert event.data["comment"] is None
