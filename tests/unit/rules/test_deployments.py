"""Rules 4 to 8 and 10 as `decide` carries them out: which rows change, and what follows from that."""

from typing import Any

import pytest

from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.unit.rules.story import Story, applied, changes_of, fields, minute, rejected, said, stale

DEPLOYMENTS = {
    E.DEPLOYMENT_REQUESTED: "PENDING",
    E.DEPLOYMENT_STARTED: "IN_PROGRESS",
    E.DEPLOYMENT_SUCCEEDED: "SUCCESS",
    E.DEPLOYMENT_FAILED: "FAILED",
    E.DEPLOYMENT_CANCELLED: "CANCELLED",
    E.DEPLOYMENT_ROLLED_BACK: "ROLLED_BACK",
}


@pytest.fixture
def story() -> Story:
    return Story.of_approved_release()


@pytest.mark.parametrize(("kind", "status"), DEPLOYMENTS.items())
def test_deployment_event_sets_its_status(story: Story, kind: E, status: str) -> None:
    """As the contract's table of event types says."""
    applied(story.tell(kind, attempt=1))
    assert story.statuses() == [status]


def test_known_attempt_is_changed(story: Story) -> None:
    """Rule 4: one row, one entry for it, one for the release."""
    story.tell(E.DEPLOYMENT_REQUESTED, at=1)
    changes = applied(story.tell(E.DEPLOYMENT_SUCCEEDED, attempt=1, at=2))
    assert [move.previous for move in changes.deployment_moves] == ["PENDING"]
    assert changes.new_deployment is None
    assert changes_of(changes.activities) == [
        ("DEPLOYMENT_STATUS_CHANGED", "PENDING", "SUCCESS"),
        ("RELEASE_STATUS_CHANGED", "DEPLOYING", "DEPLOYED"),
    ]
    assert story.attempt(1).updated_at == minute(2)


def test_stale_event_is_logged_with_its_attempt(story: Story) -> None:
    """The entry says which attempt, and the status that stays."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=5)
    activity = stale(story.tell(E.DEPLOYMENT_FAILED, attempt=1, at=4))
    assert (activity.activity_type, activity.status) == ("EVENT_STALE", "SUCCESS")
    assert activity.deployment_id == story.attempt(1).id
    assert (said(activity)["attempt"], "change" in said(activity)) == (1, False)


def test_superseded_attempt_gets_the_time_of_its_successor(story: Story) -> None:
    """Rule 7: its time is the row's, in the same transaction, with an entry before the new attempt's."""
    story.tell(E.DEPLOYMENT_STARTED, at=1)
    changes = applied(story.tell(E.DEPLOYMENT_REQUESTED, at=5))
    assert story.statuses() == ["CANCELLED", "PENDING"]
    assert story.attempt(1).updated_at == minute(5)
    assert [(activity.deployment_id, activity.status) for activity in changes.activities] == [
        (story.attempt(1).id, "CANCELLED"),
        (story.attempt(2).id, "PENDING"),
    ]
    assert changes_of(changes.activities)[0] == ("DEPLOYMENT_STATUS_CHANGED", "IN_PROGRESS", "CANCELLED")


@pytest.mark.parametrize("kind", list(DEPLOYMENTS))
def test_named_next_attempt_supersedes_the_active_one(story: Story, kind: E) -> None:
    """Rules 5 and 7: whatever status the new one begins with, the old one is over."""
    story.tell(E.DEPLOYMENT_REQUESTED)
    applied(story.tell(kind, attempt=2))
    assert story.statuses() == ["CANCELLED", DEPLOYMENTS[kind]]


def test_finished_attempt_is_not_superseded(story: Story) -> None:
    """Rule 7 speaks of active ones only."""
    story.tell(E.DEPLOYMENT_FAILED)
    assert applied(story.tell(E.DEPLOYMENT_REQUESTED)).deployment_moves == ()
    assert story.statuses() == ["FAILED", "PENDING"]


@pytest.mark.parametrize("other", [{"environment_id": "test"}, {"config_revision": 2}])
def test_attempts_count_per_environment_and_config_revision(story: Story, other: dict[str, Any]) -> None:
    """An attempt elsewhere is neither latest nor superseded."""
    story.tell(E.DEPLOYMENT_REQUESTED)
    changes = applied(story.tell(E.DEPLOYMENT_REQUESTED, **other))
    assert changes.deployment_moves == ()
    assert changes.new_deployment is not None
    assert changes.new_deployment.deployment.attempt == 1
    assert story.statuses() == ["PENDING"]


def test_lateness_is_per_config_revision(story: Story) -> None:
    """Rule 6's latest is that of release, environment and config_revision."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=9)
    applied(story.tell(E.DEPLOYMENT_REQUESTED, at=3, config_revision=2))
    stale(story.tell(E.DEPLOYMENT_REQUESTED, at=3))


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
    story: Story, statuses: list[str], expected: str, backwards: bool
) -> None:
    """Rule 8's precedence, whichever environment comes last."""
    kinds = {status: kind for kind, status in DEPLOYMENTS.items()}
    told = list(enumerate(statuses))
    for place, status in reversed(told) if backwards else told:
        applied(story.tell(kinds[status], environment_id=f"env-{place}", attempt=1))
    assert story.status() == expected


def test_environment_counts_with_its_latest_event(story: Story) -> None:
    """Rule 8: not with the highest attempt; an earlier one may have changed since."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=1)
    story.tell(E.DEPLOYMENT_FAILED, attempt=2, at=2)
    assert story.status() == "FAILED"
    applied(story.tell(E.DEPLOYMENT_ROLLED_BACK, attempt=1, at=3))
    assert story.status() == "ROLLED_BACK"


def test_attempt_opened_with_an_older_event_does_not_count(story: Story) -> None:
    """Rule 5 opens it all the same; rule 8 goes by the event's time."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=5)
    applied(story.tell(E.DEPLOYMENT_FAILED, attempt=2, at=4))
    assert (story.statuses(), story.status()) == (["SUCCESS", "FAILED"], "DEPLOYED")


def test_equal_times_count_the_higher_config_revision(story: Story) -> None:
    """Rule 8, in whichever order they come, over a higher attempt."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=1, config_revision=2)
    story.tell(E.DEPLOYMENT_FAILED, at=1, config_revision=1)
    story.tell(E.DEPLOYMENT_FAILED, at=1, config_revision=1)
    assert story.status() == "DEPLOYED"


def test_equal_times_and_revisions_count_the_higher_attempt(story: Story) -> None:
    """Rule 8's last tie-break."""
    story.tell(E.DEPLOYMENT_FAILED, at=1)
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=1, attempt=2)
    assert (story.statuses(), story.status()) == (["FAILED", "SUCCESS"], "DEPLOYED")


def test_cancelled_attempts_do_not_count(story: Story) -> None:
    """Rule 8: what stood before the cancelled attempt counts again."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=1)
    story.tell(E.DEPLOYMENT_STARTED, at=2)
    assert story.status() == "DEPLOYING"
    changes = applied(story.tell(E.DEPLOYMENT_CANCELLED, at=3))
    assert changes_of(changes.activities)[-1] == ("RELEASE_STATUS_CHANGED", "DEPLOYING", "DEPLOYED")


def test_release_with_only_cancelled_attempts_is_approved(story: Story) -> None:
    """Rule 8's last clause."""
    story.tell(E.DEPLOYMENT_STARTED)
    story.tell(E.DEPLOYMENT_CANCELLED)
    assert story.status() == "APPROVED"


def test_unchanged_release_status_has_no_activity(story: Story) -> None:
    """`updated_at` is the last event's that changed the row."""
    story.tell(E.DEPLOYMENT_REQUESTED, at=1)
    changes = applied(story.tell(E.DEPLOYMENT_STARTED, at=2))
    assert changes.release_move is None
    assert len(changes.activities) == 1
    assert story.release().updated_at == minute(1)


# --- the order of the checks


def test_organization_is_checked_before_the_release_status() -> None:
    """Rule 3's first half before its second."""
    story = Story()
    story.tell(E.RELEASE_CREATED)
    rejected(story.tell(E.DEPLOYMENT_REQUESTED, organization_id="other"), Reason.ORGANIZATION_MISMATCH)


def test_release_status_is_checked_before_the_attempt() -> None:
    """Rule 3 before rule 5."""
    story = Story()
    story.tell(E.RELEASE_CREATED)
    rejected(story.tell(E.DEPLOYMENT_REQUESTED, attempt=7), Reason.RELEASE_NOT_DEPLOYABLE)


def test_organization_is_checked_before_a_conflict(story: Story) -> None:
    """Rule 3 before rule 9."""
    rejected(story.tell(E.RELEASE_CREATED, organization_id="other"), Reason.ORGANIZATION_MISMATCH)


def test_organization_is_checked_before_staleness(story: Story) -> None:
    """Rule 3 before rule 9."""
    rejected(story.tell(E.RELEASE_APPROVED, organization_id="other"), Reason.ORGANIZATION_MISMATCH)


def test_duplicate_is_checked_first() -> None:
    """Rule 1 before rule 2: it is not even asked whether the release is there."""
    story = Story()
    story.tell(E.DEPLOYMENT_REQUESTED, id="x", block=fields())
    before = story.world.tables()
    story.tell(E.DEPLOYMENT_REQUESTED, id="x", release=2, organization_id="other")
    assert story.world.tables() == before


def test_staleness_is_checked_before_the_transition(story: Story) -> None:
    """Rule 4: an old event that could not be applied is no error."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=5)
    stale(story.tell(E.DEPLOYMENT_STARTED, attempt=1, at=4))
    stale(story.tell(E.DEPLOYMENT_STARTED, attempt=1, at=5))
    rejected(story.tell(E.DEPLOYMENT_STARTED, attempt=1, at=6), Reason.INVALID_TRANSITION)


def test_attempt_gap_is_independent_of_the_time(story: Story) -> None:
    """Rule 5 does not ask the time."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=5)
    rejected(story.tell(E.DEPLOYMENT_SUCCEEDED, attempt=3, at=1), Reason.ATTEMPT_GAP)
