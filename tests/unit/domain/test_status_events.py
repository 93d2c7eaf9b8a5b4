"""Status events follow from log entries alone, so that a repeat is published exactly as the first time."""

from dataclasses import replace
from typing import Any

import pytest

from schemas.json_text import compact, parse
from schemas.outgoing import Cause, DeploymentStatusChanged, ReleaseStatusChanged
from schemas.types import EventType as E
from schemas.types import StatusEventType
from tests.unit.domain.story import SOURCE, Story, applied, duplicate, fields, minute, release_id, stale
from worker.domain.rows import Entry
from worker.domain.status_events import status_events


def stored(entry: Entry) -> Entry:
    """As a database gives it back: plain texts."""
    text = str(entry.activity_data.encode(), "utf-8")
    return replace(entry, activity_data=text, activity_type=str(entry.activity_type), status=str(entry.status))


@pytest.fixture
def story() -> Story:
    return Story.of_approved_release()


def test_a_success_is_published_with_all_that_subscribers_need(story: Story) -> None:
    """One event for the deployment, one for the release, in this order."""
    story.tell(E.DEPLOYMENT_STARTED, at=1, config_revision=3)
    changes = applied(story.tell(E.DEPLOYMENT_SUCCEEDED, id="x", at=2, config_revision=3, actor="Zoë", comment="ja 🚀"))
    cause = Cause(source=SOURCE, id="x", type="dev.rudder.deployment.succeeded.v1", time=minute(2))
    deployment, release = status_events(changes.entries)
    assert deployment.type is StatusEventType.DEPLOYMENT_STATUS_CHANGED
    assert deployment.data == DeploymentStatusChanged.model_validate(
        {
            "release_id": release_id(),
            "deployment_id": story.attempt(1, config_revision=3).id,
            "organization_id": "acme",
            "environment_id": "prod",
            "config_revision": 3,
            "attempt": 1,
            "previous_status": deployment.data.previous_status,
            "status": deployment.data.status,
            "deployed_at": minute(2),
            "deployed_by": "Zoë",
            "comment": "ja 🚀",
            "cause": cause,
        }
    )
    assert (deployment.data.previous_status, deployment.data.status) == ("IN_PROGRESS", "SUCCESS")
    assert release.type is StatusEventType.RELEASE_STATUS_CHANGED
    assert isinstance(release.data, ReleaseStatusChanged)
    assert (release.data.previous_status, release.data.status) == ("DEPLOYING", "DEPLOYED")
    assert (release.data.release_id, release.data.organization_id) == (release_id(), "acme")
    assert (release.data.comment, release.data.cause) == (None, cause)


def test_a_status_events_id_and_time_are_its_entrys(story: Story) -> None:
    """The same change always has the same id."""
    changes = applied(story.tell(E.DEPLOYMENT_REQUESTED, at=5))
    events = status_events(changes.entries)
    assert [event.id for event in events] == [entry.id for entry in changes.entries]
    assert {event.time for event in events} == {minute(5)}
    assert {event.release_id for event in events} == {release_id()}


def test_a_new_thing_has_no_previous_status() -> None:
    """A release that a block made, and its first attempt."""
    changes = applied(Story().tell(E.DEPLOYMENT_REQUESTED, block=fields()))
    assert [(event.data.previous_status, event.data.status) for event in status_events(changes.entries)] == [
        (None, "APPROVED"),
        (None, "PENDING"),
        ("APPROVED", "DEPLOYING"),
    ]


def test_a_superseded_attempt_has_a_status_event_of_its_own(story: Story) -> None:
    """With its own attempt, and without the comment of the event that superseded it."""
    story.tell(E.DEPLOYMENT_STARTED)
    changes = applied(story.tell(E.DEPLOYMENT_REQUESTED, comment="again"))
    superseded, opened = (event.data for event in status_events(changes.entries))
    assert isinstance(superseded, DeploymentStatusChanged)
    assert isinstance(opened, DeploymentStatusChanged)
    assert (superseded.attempt, superseded.status, superseded.comment) == (1, "CANCELLED", None)
    assert (opened.attempt, opened.status, opened.comment) == (2, "PENDING", "again")


def test_a_success_by_nobody_in_particular_says_so(story: Story) -> None:
    """`actor` is optional."""
    (event, _) = status_events(applied(story.tell(E.DEPLOYMENT_SUCCEEDED, at=5)).entries)
    assert isinstance(event.data, DeploymentStatusChanged)
    assert (event.data.deployed_at, event.data.deployed_by) == (minute(5), None)


def test_a_rollback_says_when_it_was_deployed(story: Story) -> None:
    """As its row does."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=5, actor="maria")
    (event, _) = status_events(applied(story.tell(E.DEPLOYMENT_ROLLED_BACK, at=6, actor="jo")).entries)
    assert isinstance(event.data, DeploymentStatusChanged)
    assert (event.data.deployed_at, event.data.deployed_by) == (minute(5), "maria")


def test_a_release_event_carries_its_comment(story: Story) -> None:
    """Why it was created or rejected."""
    story = Story()
    (created,) = status_events(applied(story.tell(E.RELEASE_CREATED, comment="first")).entries)
    (submitted,) = status_events(applied(story.tell(E.RELEASE_SUBMITTED, comment="look")).entries)
    assert (created.data.comment, submitted.data.comment) == ("first", "look")


def test_what_changes_no_status_has_no_status_event(story: Story) -> None:
    """Stale events and activities; an activity may call itself nearly anything."""
    assert status_events([stale(story.tell(E.RELEASE_APPROVED))]) == ()
    assert status_events(applied(story.tell(E.ACTIVITY_RECORDED, activity_type="release-created")).entries) == ()


def test_an_activity_may_nest_as_deeply_as_it_likes(story: Story) -> None:
    """Its entry is not even parsed: nothing is published of it."""
    deep: dict[str, object] = {}
    for _ in range(60):
        deep = {"deeper": deep}
    assert status_events(applied(story.tell(E.ACTIVITY_RECORDED, activity_data=deep)).entries) == ()


@pytest.mark.parametrize("comment", [None, "", '[{"a":"\\u0000', "Zürich 🚀\n\t\x01\u2028", "[" * 100])
def test_a_stored_entry_gives_the_same_status_events_as_a_fresh_one(comment: str | None) -> None:
    """Whatever people wrote into it."""
    story = Story()
    told: list[tuple[E, dict[str, Any]]] = [
        (E.DEPLOYMENT_REQUESTED, {"block": fields()}),
        (E.DEPLOYMENT_STARTED, {"attempt": 2}),
        (E.DEPLOYMENT_SUCCEEDED, {"actor": "Zoë\n"}),
        (E.DEPLOYMENT_ROLLED_BACK, {}),
    ]
    for number, (kind, data) in enumerate(told):
        entries = applied(story.tell(kind, id=str(number), comment=comment, **data)).entries
        again = duplicate(story.tell(kind, id=str(number), comment="another", **data)).entries
        fresh = status_events(entries)
        assert fresh
        assert status_events([stored(entry) for entry in again]) == fresh


def test_an_entry_holds_what_its_text_says_and_no_more() -> None:
    """What is published is read from `activity_data`: what that does not say is null."""
    (entry,) = applied(Story().tell(E.RELEASE_CREATED, comment="first")).entries
    text = parse(entry.activity_data.encode())
    assert isinstance(text, dict)
    del text["comment"]
    (event,) = status_events([replace(entry, activity_data=compact(text))])
    assert event.data.comment is None
