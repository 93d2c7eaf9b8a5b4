"""`activity.recorded`: an entry in the log, and nothing else."""

import pytest

from schemas.types import EventType as E
from tests.unit.rules.story import Story, applied, minute, said
from worker.rules.state import Changes


@pytest.fixture
def story() -> Story:
    return Story.of_approved_release()


def test_activity_is_logged_without_any_other_change(story: Story) -> None:
    """One entry of the publisher's own type, about the release, with the status that the release has."""
    changes = applied(story.tell(E.ACTIVITY_RECORDED, at=5, activity_type="SCAN", activity_data={"b": 1, "a": None}))
    (activity,) = changes.activities
    assert changes == Changes(activities=(activity,))
    assert (activity.activity_type, activity.status, activity.created_at) == ("SCAN", "APPROVED", minute(5))
    assert (activity.deployment_id, activity.environment_id) == (None, None)
    assert said(activity)["data"] == {"b": 1, "a": None}
    assert "change" not in said(activity)


@pytest.mark.parametrize("submitted", [False, True])
def test_activity_needs_no_deployable_release(submitted: bool) -> None:
    """Rule 3's second half speaks of deployment events."""
    story = Story()
    story.tell(E.RELEASE_CREATED)
    if submitted:
        story.tell(E.RELEASE_SUBMITTED)
    (activity,) = applied(story.tell(E.ACTIVITY_RECORDED)).activities
    assert activity.status == story.status()


def test_activity_is_never_late(story: Story) -> None:
    """It changes nothing that could have moved on."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=9)
    applied(story.tell(E.ACTIVITY_RECORDED, at=1, environment_id="prod"))


def test_activity_of_an_attempt_has_the_attempts_status(story: Story) -> None:
    """With the attempt's status."""
    story.tell(E.DEPLOYMENT_FAILED)
    story.tell(E.DEPLOYMENT_STARTED)
    (activity,) = applied(story.tell(E.ACTIVITY_RECORDED, environment_id="prod", attempt=1)).activities
    assert (activity.deployment_id, activity.environment_id, activity.status) == (story.attempt(1).id, "prod", "FAILED")
    assert (said(activity)["config_revision"], said(activity)["attempt"]) == (1, 1)


def test_activity_of_an_environment_is_of_its_latest_attempt(story: Story) -> None:
    """Of the config revision that it names, 1 where it names none."""
    story.tell(E.DEPLOYMENT_FAILED)
    story.tell(E.DEPLOYMENT_STARTED)
    story.tell(E.DEPLOYMENT_SUCCEEDED, config_revision=2)
    (first,) = applied(story.tell(E.ACTIVITY_RECORDED, environment_id="prod")).activities
    (second,) = applied(story.tell(E.ACTIVITY_RECORDED, environment_id="prod", config_revision=2)).activities
    assert first.deployment_id == story.attempt(2).id
    assert second.deployment_id == story.attempt(1, config_revision=2).id


def test_activity_of_an_unknown_attempt_is_of_the_release(story: Story) -> None:
    """It says what it was told; there is no attempt to refer to."""
    (activity,) = applied(
        story.tell(E.ACTIVITY_RECORDED, environment_id="prod", config_revision=3, attempt=7)
    ).activities
    assert (activity.deployment_id, activity.environment_id, activity.status) == (None, "prod", "APPROVED")
    assert (said(activity)["config_revision"], said(activity)["attempt"]) == (3, 7)
