"""The contract's decision, rule by rule, as the recount reads it."""

import pytest

from tests.unit.demo.scenario import FIELDS, Scenario, minute
from worker.demo.contract_state import Prediction


def reasons(*predictions: Prediction) -> list[str | None]:
    return [prediction.reason for prediction in predictions]


def test_a_known_event_is_a_duplicate_and_changes_nothing() -> None:
    """Rule 1, for an applied and for a rejected event."""
    day = Scenario().approved()
    day.deploy("requested", identifier="a")
    day.deploy("started", attempt=9, identifier="b")
    assert day.deploy("requested", identifier="a").outcome == "duplicate"
    assert day.deploy("started", attempt=9, identifier="b").outcome == "duplicate"
    assert day.attempts() == ["PENDING"]


def test_a_rejected_event_is_judged_afresh_only_when_redriven() -> None:
    """The header decides, and the rejection is resolved."""
    day = Scenario()
    early = day.deploy("requested", identifier="early")
    day.approved()
    assert day.deploy("requested", identifier="early").outcome == "duplicate"
    assert day.deploy("requested", identifier="early", redrive=True).outcome == "applied"
    assert early.judged.resolved
    assert day.deploy("requested", identifier="early", redrive=True).outcome == "duplicate"


def test_an_unknown_release_needs_a_block() -> None:
    """Rule 2: approved at once with one, not found without."""
    day = Scenario()
    assert reasons(day.deploy("started"), day.tell("release.approved")) == ["release_not_found"] * 2
    born = day.deploy("started", release=8, block=FIELDS)
    assert [(activity.about, activity.previous, activity.status) for activity in born.judged.activities] == [
        ("release", None, "APPROVED"),
        ("deployment", None, "IN_PROGRESS"),
        ("release", "APPROVED", "DEPLOYING"),
    ]


def test_a_rejected_event_does_not_make_its_blocks_release() -> None:
    """A gap, so nothing: neither the release nor its number."""
    day = Scenario()
    assert day.deploy("started", attempt=2, block=FIELDS).reason == "attempt_gap"
    assert not day.model.releases
    assert day.deploy("started", release=8, block=FIELDS).outcome == "applied"


def test_a_release_of_another_organization_is_out_of_reach() -> None:
    """Rule 3, before anything about statuses."""
    day = Scenario().approved()
    assert day.deploy("requested", organization="else").reason == "organization_mismatch"
    assert day.tell("release.approved", organization="else").reason == "organization_mismatch"


def test_only_an_approved_release_is_deployable() -> None:
    """Rule 3: DRAFT, IN_REVIEW and REJECTED are not; any other event may still come."""
    day = Scenario()
    found = []
    for step, data in (("created", FIELDS), ("submitted", {}), ("rejected", {})):
        day.tell(f"release.{step}", **data)
        found.append(day.deploy("requested"))
    assert reasons(*found) == ["release_not_deployable"] * 3
    assert day.tell("activity.recorded", activity_type="NOTE", activity_data={}).outcome == "applied"


@pytest.mark.parametrize(
    ("step", "attempt", "at", "expected"),
    [
        ("succeeded", 2, 99, ("stale", None)),  # the same status
        ("rolled_back", 2, 1, ("stale", None)),  # older
        ("succeeded", 1, 99, ("stale", None)),  # superseded
        ("rolled_back", 2, 99, ("applied", None)),
        ("failed", 2, 99, ("rejected", "invalid_transition")),
        ("started", 4, 99, ("rejected", "attempt_gap")),
        ("started", 3, 1, ("applied", None)),  # a new row has no last event to be older than
    ],
)
def test_an_attempt_given_is_looked_up(step: str, attempt: int, at: int, expected: tuple[str, str | None]) -> None:
    """Rules 4 and 5, on attempt 1 superseded and attempt 2 successful."""
    day = Scenario().approved()
    day.deploy("requested")
    day.deploy("succeeded", attempt=2)
    assert day.attempts() == ["CANCELLED", "SUCCESS"]
    prediction = day.deploy(step, attempt=attempt, at=at)
    assert (prediction.outcome, prediction.reason) == expected


@pytest.mark.parametrize(
    ("before", "step", "after"),
    [
        ([], "requested", ["PENDING"]),
        (["requested"], "requested", ["CANCELLED", "PENDING"]),
        (["requested"], "started", ["IN_PROGRESS"]),
        (["failed"], "started", ["FAILED", "IN_PROGRESS"]),
        (["requested"], "succeeded", ["SUCCESS"]),
        ([], "failed", ["FAILED"]),
        (["succeeded"], "cancelled", ["SUCCESS", "CANCELLED"]),
        (["succeeded", "requested"], "rolled_back", ["ROLLED_BACK", "PENDING"]),
        (["failed", "started"], "rolled_back", ["FAILED", "ROLLED_BACK"]),
    ],
)
def test_without_an_attempt_the_event_finds_its_own(before: list[str], step: str, after: list[str]) -> None:
    """Rule 6."""
    day = Scenario().approved()
    for earlier in before:
        day.deploy(earlier)
    assert day.deploy(step).outcome == "applied"
    assert day.attempts() == after


def test_old_and_repeated_news_without_an_attempt_is_stale() -> None:
    """Rule 6: older than the latest attempt's last event, whatever it says; or started twice."""
    day = Scenario().approved()
    day.deploy("started", at=50)
    assert day.deploy("requested", at=49).outcome == "stale"
    assert day.deploy("rolled_back", at=49).outcome == "stale"
    assert day.deploy("started", at=50).outcome == "stale"
    assert day.release().deployments["dev", 1, 1].updated_at == minute(50)


def test_nothing_to_roll_back_is_an_invalid_transition() -> None:
    """Rule 6."""
    assert Scenario().approved().deploy("rolled_back").reason == "invalid_transition"


def test_superseding_dates_the_older_attempt_by_the_newer_event() -> None:
    """Rule 7, with an entry and a status event of its own."""
    day = Scenario().approved()
    day.deploy("started", at=10)
    opened = day.deploy("requested", at=20)
    assert [(activity.deployment, activity.status) for activity in opened.judged.activities] == [
        (("dev", 1, 1), "CANCELLED"),
        (("dev", 1, 2), "PENDING"),
    ]
    assert day.release().deployments["dev", 1, 1].updated_at == minute(20)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("dev", "succeeded")], "DEPLOYED"),
        ([("dev", "succeeded"), ("prod", "started")], "DEPLOYING"),
        ([("dev", "succeeded"), ("prod", "failed")], "FAILED"),
        ([("dev", "rolled_back_first"), ("prod", "succeeded")], "DEPLOYED"),
        ([("dev", "rolled_back_first")], "ROLLED_BACK"),
        ([("dev", "cancelled")], "APPROVED"),
        ([("dev", "succeeded"), ("dev", "cancelled")], "DEPLOYED"),
    ],
)
def test_a_release_follows_its_deployments(steps: list[tuple[str, str]], expected: str) -> None:
    """Rule 8."""
    day = Scenario().approved()
    for environment, step in steps:
        if step == "rolled_back_first":
            day.deploy("succeeded", environment=environment)
            step = "rolled_back"
        day.deploy(step, environment=environment)
    assert day.release().status == expected


def test_a_release_keeps_the_time_of_the_event_that_last_changed_it() -> None:
    """A deployment event that leaves the release's status alone leaves its time alone."""
    day = Scenario().approved()
    day.deploy("requested", at=30)
    day.deploy("started", at=31)
    assert (day.release().status, day.release().updated_at) == ("DEPLOYING", minute(30))


def test_release_events_move_stay_or_are_refused() -> None:
    """Rule 9."""
    day = Scenario().approved()
    assert day.tell("release.approved").outcome == "stale"
    assert day.tell("release.submitted").reason == "invalid_transition"
    assert day.tell("release.created", **FIELDS).reason == "release_conflict"
    assert day.tell("release.created", release=8, **FIELDS).reason == "release_conflict"
    assert day.deploy("requested", release=8, block=FIELDS).reason == "release_conflict"


def test_success_is_signed_and_points_only_where_it_is_the_latest() -> None:
    """Rule 10."""
    day = Scenario().approved()
    day.deploy("succeeded", at=20, actor="me")
    row = day.release().deployments["dev", 1, 1]
    assert (row.deployed_at, row.deployed_by) == (minute(20), "me")
    assert day.release().pointed == {"dev": ("dev", 1, 1)}
    day.deploy("succeeded", at=19, config_revision=2)
    assert day.release().pointed == {"dev": ("dev", 1, 1)}
    day.deploy("succeeded", at=21, config_revision=3)
    assert day.release().pointed == {"dev": ("dev", 3, 1)}
