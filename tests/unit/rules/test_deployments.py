"""Rules 4 to 8 and 10 as `decide` carries them out: which rows change, and what follows from that."""

from typing import Any

import pytest

from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import Scenario, applied, changes_of, data_of, fields, minute, rejected, stale

DEPLOYMENTS = {
    E.DEPLOYMENT_REQUESTED: "PENDING",
    E.DEPLOYMENT_STARTED: "IN_PROGRESS",
    E.DEPLOYMENT_SUCCEEDED: "SUCCESS",
    E.DEPLOYMENT_FAILED: "FAILED",
    E.DEPLOYMENT_CANCELLED: "CANCELLED",
    E.DEPLOYMENT_ROLLED_BACK: "ROLLED_BACK",
}


@pytest.fixture
def scenario() -> Scenario:
    return Scenario.of_approved_release()


@pytest.mark.parametrize(("kind", "status"), DEPLOYMENTS.items())
def test_deployment_event_sets_its_status(scenario: Scenario, kind: E, status: str) -> None:
    """As the contract's table of event types says."""
    applied(scenario.add(kind, attempt=1))
    assert scenario.statuses() == [status]


def test_known_attempt_is_changed(scenario: Scenario) -> None:
    """Rule 4: one row, one entry for it, one for the release."""
    scenario.add(E.DEPLOYMENT_REQUESTED, at=1)
    changes = applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, attempt=1, at=2))
    assert [move.previous for move in changes.deployment_moves] == ["PENDING"]
    assert changes.new_deployment is None
    assert changes_of(changes.activities) == [
        ("DEPLOYMENT_STATUS_CHANGED", "PENDING", "SUCCESS"),
        ("RELEASE_STATUS_CHANGED", "DEPLOYING", "DEPLOYED"),
    ]
    assert scenario.attempt(1).updated_at == minute(2)


def test_stale_event_is_logged_with_its_attempt(scenario: Scenario) -> None:
    """The entry says which attempt, and the status that stays."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=5)
    activity = stale(scenario.add(E.DEPLOYMENT_FAILED, attempt=1, at=4))
    assert (activity.activity_type, activity.status) == ("EVENT_STALE", "SUCCESS")
    assert activity.deployment_id == scenario.attempt(1).id
    assert (data_of(activity)["attempt"], "change" in data_of(activity)) == (1, False)


def test_superseded_attempt_gets_the_time_of_its_successor(scenario: Scenario) -> None:
    """Rule 7: its time is the row's, in the same transaction, with an entry before the new attempt's."""
    scenario.add(E.DEPLOYMENT_STARTED, at=1)
    changes = applied(scenario.add(E.DEPLOYMENT_REQUESTED, at=5))
    assert scenario.statuses() == ["CANCELLED", "PENDING"]
    assert scenario.attempt(1).updated_at == minute(5)
    assert [(activity.deployment_id, activity.status) for activity in changes.activities] == [
        (scenario.attempt(1).id, "CANCELLED"),
        (scenario.attempt(2).id, "PENDING"),
    ]
    assert changes_of(changes.activities)[0] == ("DEPLOYMENT_STATUS_CHANGED", "IN_PROGRESS", "CANCELLED")


@pytest.mark.parametrize("kind", list(DEPLOYMENTS))
def test_named_next_attempt_supersedes_the_active_one(scenario: Scenario, kind: E) -> None:
    """Rules 5 and 7: whatever status the new one begins with, the old one is over."""
    scenario.add(E.DEPLOYMENT_REQUESTED)
    applied(scenario.add(kind, attempt=2))
    assert scenario.statuses() == ["CANCELLED", DEPLOYMENTS[kind]]


def test_finished_attempt_is_not_superseded(scenario: Scenario) -> None:
    """Rule 7 speaks of active ones only."""
    scenario.add(E.DEPLOYMENT_FAILED)
    assert applied(scenario.add(E.DEPLOYMENT_REQUESTED)).deployment_moves == ()
    assert scenario.statuses() == ["FAILED", "PENDING"]


@pytest.mark.parametrize("other", [{"environment_id": "test"}, {"config_revision": 2}])
def test_attempts_count_per_environment_and_config_revision(scenario: Scenario, other: dict[str, Any]) -> None:
    """An attempt elsewhere is neither latest nor superseded."""
    scenario.add(E.DEPLOYMENT_REQUESTED)
    changes = applied(scenario.add(E.DEPLOYMENT_REQUESTED, **other))
    assert changes.deployment_moves == ()
    assert changes.new_deployment is not None
    assert changes.new_deployment.deployment.attempt == 1
    assert scenario.statuses() == ["PENDING"]


def test_lateness_is_per_config_revision(scenario: Scenario) -> None:
    """Rule 6's latest is that of release, environment and config_revision."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=9)
    applied(scenario.add(E.DEPLOYMENT_REQUESTED, at=3, config_revision=2))
    stale(scenario.add(E.DEPLOYMENT_REQUESTED, at=3))


# --- rule 8


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["PENDING", "FAILED"], "DEPLOYING"),
        (["SUCCESS", "IN_PROGRESS", "ROLLED_BACK"], "DEPLOYING"),
        (["SUCCESS", "FAILED", "ROLLED_BACK"], "FAILED"),
        (["ROLLED_BACK", "SUCCESS", "CANCELLED"], "DEPLOYED"),
        (["CANCELLED", "ROLLED_BACK"], "ROLLED_BACK"),
        (["CANCELLED", "CANCELLED"], "APPROVED"),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_release_status_follows_its_environments(
    scenario: Scenario, statuses: list[str], expected: str, backwards: bool
) -> None:
    """Rule 8's precedence, whichever environment comes last."""
    kinds = {status: kind for kind, status in DEPLOYMENTS.items()}
    sent = list(enumerate(statuses))
    for place, status in reversed(sent) if backwards else sent:
        applied(scenario.add(kinds[status], environment_id=f"env-{place}", attempt=1))
    assert scenario.status() == expected


def test_environment_counts_with_its_latest_event(scenario: Scenario) -> None:
    """Rule 8: not with the highest attempt; an earlier one may have changed since."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=1)
    scenario.add(E.DEPLOYMENT_FAILED, attempt=2, at=2)
    assert scenario.status() == "FAILED"
    applied(scenario.add(E.DEPLOYMENT_ROLLED_BACK, attempt=1, at=3))
    assert scenario.status() == "ROLLED_BACK"


def test_attempt_opened_with_an_older_event_does_not_count(scenario: Scenario) -> None:
    """Rule 5 opens it all the same; rule 8 goes by the event's time."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=5)
    applied(scenario.add(E.DEPLOYMENT_FAILED, attempt=2, at=4))
    assert (scenario.statuses(), scenario.status()) == (["SUCCESS", "FAILED"], "DEPLOYED")


def test_equal_times_count_the_higher_config_revision(scenario: Scenario) -> None:
    """Rule 8, in whichever order they come, over a higher attempt."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=1, config_revision=2)
    scenario.add(E.DEPLOYMENT_FAILED, at=1, config_revision=1)
    scenario.add(E.DEPLOYMENT_FAILED, at=1, config_revision=1)
    assert scenario.status() == "DEPLOYED"


def test_equal_times_and_revisions_count_the_higher_attempt(scenario: Scenario) -> None:
    """Rule 8's last tie-break."""
    scenario.add(E.DEPLOYMENT_FAILED, at=1)
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=1, attempt=2)
    assert (scenario.statuses(), scenario.status()) == (["FAILED", "SUCCESS"], "DEPLOYED")


def test_cancelled_attempts_do_not_count(scenario: Scenario) -> None:
    """Rule 8: what stood before the cancelled attempt counts again."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=1)
    scenario.add(E.DEPLOYMENT_STARTED, at=2)
    assert scenario.status() == "DEPLOYING"
    changes = applied(scenario.add(E.DEPLOYMENT_CANCELLED, at=3))
    assert changes_of(changes.activities)[-1] == ("RELEASE_STATUS_CHANGED", "DEPLOYING", "DEPLOYED")


def test_release_with_only_cancelled_attempts_is_approved(scenario: Scenario) -> None:
    """Rule 8's last clause."""
    scenario.add(E.DEPLOYMENT_STARTED)
    scenario.add(E.DEPLOYMENT_CANCELLED)
    assert scenario.status() == "APPROVED"


def test_unchanged_release_status_has_no_activity(scenario: Scenario) -> None:
    """`updated_at` is the last event's that changed the row."""
    scenario.add(E.DEPLOYMENT_REQUESTED, at=1)
    changes = applied(scenario.add(E.DEPLOYMENT_STARTED, at=2))
    assert changes.release_move is None
    assert len(changes.activities) == 1
    assert scenario.release().updated_at == minute(1)


# --- the order of the checks


def test_organization_is_checked_before_the_release_status() -> None:
    """Rule 3's first half before its second."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED)
    rejected(scenario.add(E.DEPLOYMENT_REQUESTED, organization_id="other"), Reason.ORGANIZATION_MISMATCH)


def test_release_status_is_checked_before_the_attempt() -> None:
    """Rule 3 before rule 5."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED)
    rejected(scenario.add(E.DEPLOYMENT_REQUESTED, attempt=7), Reason.RELEASE_NOT_DEPLOYABLE)


def test_organization_is_checked_before_a_conflict(scenario: Scenario) -> None:
    """Rule 3 before rule 9."""
    rejected(scenario.add(E.RELEASE_CREATED, organization_id="other"), Reason.ORGANIZATION_MISMATCH)


def test_organization_is_checked_before_staleness(scenario: Scenario) -> None:
    """Rule 3 before rule 9."""
    rejected(scenario.add(E.RELEASE_APPROVED, organization_id="other"), Reason.ORGANIZATION_MISMATCH)


def test_duplicate_is_checked_first() -> None:
    """Rule 1 before rule 2: it is not even asked whether the release is there."""
    scenario = Scenario()
    scenario.add(E.DEPLOYMENT_REQUESTED, id="x", block=fields())
    before = scenario.world.tables()
    scenario.add(E.DEPLOYMENT_REQUESTED, id="x", release=2, organization_id="other")
    assert scenario.world.tables() == before


def test_staleness_is_checked_before_the_transition(scenario: Scenario) -> None:
    """Rule 4: an old event that could not be applied is no error."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=5)
    stale(scenario.add(E.DEPLOYMENT_STARTED, attempt=1, at=4))
    stale(scenario.add(E.DEPLOYMENT_STARTED, attempt=1, at=5))
    rejected(scenario.add(E.DEPLOYMENT_STARTED, attempt=1, at=6), Reason.INVALID_TRANSITION)


def test_attempt_gap_is_independent_of_the_time(scenario: Scenario) -> None:
    """Rule 5 does not ask the time."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=5)
    rejected(scenario.add(E.DEPLOYMENT_SUCCEEDED, attempt=3, at=1), Reason.ATTEMPT_GAP)
