"""`activity.recorded` adds one entry to the log and changes nothing else."""

import pytest

from schemas.types import EventType as E
from tests.unit.rules.release_scenario import Scenario, applied, data_of, minute
from worker.rules.state import Changes


@pytest.fixture
def scenario() -> Scenario:
    return Scenario.of_approved_release()


def test_activity_is_logged_without_any_other_change(scenario: Scenario) -> None:
    """One entry of the publisher's own type, about the release, with the status that the release has."""
    changes = applied(scenario.add(E.ACTIVITY_RECORDED, at=5, activity_type="SCAN", activity_data={"b": 1, "a": None}))
    (activity,) = changes.activities
    assert changes == Changes(activities=(activity,))
    assert (activity.activity_type, activity.status, activity.created_at) == ("SCAN", "APPROVED", minute(5))
    assert (activity.deployment_id, activity.environment_id) == (None, None)
    assert data_of(activity)["data"] == {"b": 1, "a": None}
    assert "change" not in data_of(activity)


@pytest.mark.parametrize("submitted", [False, True])
def test_activity_needs_no_deployable_release(submitted: bool) -> None:
    """The second half of rule 3 applies to deployment events only."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED)
    if submitted:
        scenario.add(E.RELEASE_SUBMITTED)
    (activity,) = applied(scenario.add(E.ACTIVITY_RECORDED)).activities
    assert activity.status == scenario.status()


def test_activity_is_never_late(scenario: Scenario) -> None:
    """An activity changes no status, so it cannot be stale."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=9)
    applied(scenario.add(E.ACTIVITY_RECORDED, at=1, environment_id="prod"))


def test_activity_of_an_attempt_has_the_attempts_status(scenario: Scenario) -> None:
    """The entry refers to the attempt and has its status."""
    scenario.add(E.DEPLOYMENT_FAILED)
    scenario.add(E.DEPLOYMENT_STARTED)
    (activity,) = applied(scenario.add(E.ACTIVITY_RECORDED, environment_id="prod", attempt=1)).activities
    assert (activity.deployment_id, activity.environment_id, activity.status) == (
        scenario.attempt(1).id,
        "prod",
        "FAILED",
    )
    assert (data_of(activity)["config_revision"], data_of(activity)["attempt"]) == (1, 1)


def test_activity_of_an_environment_is_of_its_latest_attempt(scenario: Scenario) -> None:
    """The latest attempt of the config revision that the event names, or of revision 1 by default."""
    scenario.add(E.DEPLOYMENT_FAILED)
    scenario.add(E.DEPLOYMENT_STARTED)
    scenario.add(E.DEPLOYMENT_SUCCEEDED, config_revision=2)
    (first,) = applied(scenario.add(E.ACTIVITY_RECORDED, environment_id="prod")).activities
    (second,) = applied(scenario.add(E.ACTIVITY_RECORDED, environment_id="prod", config_revision=2)).activities
    assert first.deployment_id == scenario.attempt(2).id
    assert second.deployment_id == scenario.attempt(1, config_revision=2).id


def test_activity_of_an_unknown_attempt_is_of_the_release(scenario: Scenario) -> None:
    """The entry keeps the event's environment, revision and attempt, but refers to no deployment."""
    (activity,) = applied(
        scenario.add(E.ACTIVITY_RECORDED, environment_id="prod", config_revision=3, attempt=7)
    ).activities
    assert (activity.deployment_id, activity.environment_id, activity.status) == (None, "prod", "APPROVED")
    assert (data_of(activity)["config_revision"], data_of(activity)["attempt"]) == (3, 7)
