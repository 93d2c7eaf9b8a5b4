"""The oracle decides as the contract's decision says, rule by rule."""

import pytest

from tests.oracle.scenario import ENVIRONMENT, FIELDS, Scenario, minute
from tests.oracle.status_machines import DEPLOYMENT_STATE


def test_known_event_is_duplicate_and_changes_nothing() -> None:
    """Rule 1, for an applied and for a rejected event; what they caused is published again."""
    scenario = Scenario().approved()
    before = len(scenario.oracle.published)
    scenario.deploy("requested", id="a")
    scenario.deploy("started", attempt=9, id="b")
    first = scenario.oracle.published[before:]
    assert scenario.deploy("requested", id="a") == "Duplicate"
    assert scenario.deploy("started", attempt=9, id="b") == "Duplicate"
    assert scenario.statuses() == ["PENDING"]
    assert [one.id for one in scenario.oracle.published[before:]] == [one.id for one in first] * 2


def test_rejected_event_is_decided_afresh_when_redriven() -> None:
    """The header decides, and the rejection is resolved."""
    scenario = Scenario()
    assert scenario.deploy("requested", id="early") == "Rejected release_not_found"
    [rejection] = scenario.oracle.content.rejections.values()
    scenario.approved()
    assert scenario.deploy("requested", id="early") == "Duplicate"
    assert rejection["resolved_at"] is None
    assert scenario.deploy("requested", id="early", redrive=True) == "Applied"
    assert rejection["resolved_at"] is not None
    assert scenario.deploy("requested", id="early", redrive=True) == "Duplicate"


def test_unknown_release_needs_a_block() -> None:
    """Rule 2: approved at once with one, not found without."""
    scenario = Scenario()
    assert scenario.deploy("started") == "Rejected release_not_found"
    assert scenario.send("release.approved") == "Rejected release_not_found"
    before = len(scenario.oracle.published)
    assert scenario.deploy("started", block=FIELDS) == "Applied"
    assert scenario.changes(since=before) == [
        (None, None, "APPROVED"),
        (1, None, "IN_PROGRESS"),
        (None, "APPROVED", "DEPLOYING"),
    ]


def test_rejected_event_does_not_create_its_release() -> None:
    """Neither the release of its block, nor a claim on its number."""
    scenario = Scenario()
    assert scenario.deploy("started", attempt=2, block=FIELDS) == "Rejected attempt_gap"
    assert not scenario.oracle.content.releases
    assert scenario.deploy("started", release=8, block=FIELDS) == "Applied"


def test_other_organization_is_rejected_before_statuses() -> None:
    """Rule 3."""
    scenario = Scenario().approved()
    assert scenario.deploy("requested", organization="else") == "Rejected organization_mismatch"
    assert scenario.send("release.approved", organization="else") == "Rejected organization_mismatch"


def test_only_approved_release_is_deployable() -> None:
    """Rule 3: DRAFT, IN_REVIEW and REJECTED are not; any other event may still come."""
    scenario = Scenario()
    for step, data in (("created", FIELDS), ("submitted", {}), ("rejected", {})):
        scenario.send(f"release.{step}", **data)
        assert scenario.deploy("requested") == "Rejected release_not_deployable"
    assert scenario.send("activity.recorded", activity_type="NOTE", activity_data={}) == "Applied"


@pytest.mark.parametrize(
    ("step", "attempt", "at", "outcome"),
    [
        ("succeeded", 2, 99, "Stale"),  # the same status
        ("rolled_back", 2, 1, "Stale"),  # late
        ("succeeded", 1, 99, "Stale"),  # superseded
        ("rolled_back", 2, 99, "Applied"),
        ("failed", 2, 99, "Rejected invalid_transition"),
        ("started", 4, 99, "Rejected attempt_gap"),
        ("started", 3, 1, "Applied"),  # a new attempt has no last event yet
    ],
)
def test_given_attempt_is_looked_up(step: str, attempt: int, at: int, outcome: str) -> None:
    """Rules 4 and 5, on attempt 1 superseded and attempt 2 successful."""
    scenario = Scenario().approved()
    scenario.deploy("requested")
    scenario.deploy("succeeded", attempt=2)
    assert scenario.statuses() == ["CANCELLED", "SUCCESS"]
    assert scenario.deploy(step, attempt=attempt, at=at) == outcome


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
def test_event_without_attempt_finds_its_attempt(before: list[str], step: str, after: list[str]) -> None:
    """Rule 6."""
    scenario = Scenario().approved()
    for earlier in before:
        scenario.deploy(earlier)
    assert scenario.deploy(step) == "Applied"
    assert scenario.statuses() == after


def test_late_or_repeated_event_without_attempt_is_stale() -> None:
    """Rule 6: earlier than the latest attempt's last event, whatever its type; or started twice."""
    scenario = Scenario().approved()
    scenario.deploy("started", at=50)
    assert scenario.deploy("requested", at=49) == "Stale"
    assert scenario.deploy("rolled_back", at=49) == "Stale"
    assert scenario.deploy("started", at=50) == "Stale"
    assert scenario.rows().deployments[ENVIRONMENT, 1, 1]["updated_at"] == minute(50)


def test_rollback_of_nothing_is_an_invalid_transition() -> None:
    """Rule 6."""
    assert Scenario().approved().deploy("rolled_back") == "Rejected invalid_transition"


def test_superseded_attempt_has_the_time_of_its_successor() -> None:
    """Rule 7, with an activity and a status event of its own."""
    scenario = Scenario().approved()
    scenario.deploy("started", at=10)
    before = len(scenario.oracle.published)
    scenario.deploy("requested", at=20)
    assert scenario.changes(since=before) == [(1, "IN_PROGRESS", "CANCELLED"), (2, None, "PENDING")]
    assert scenario.rows().deployments[ENVIRONMENT, 1, 1]["updated_at"] == minute(20)


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([("dev", "succeeded")], "DEPLOYED"),
        ([("dev", "succeeded"), ("prod", "started")], "DEPLOYING"),
        ([("dev", "succeeded"), ("prod", "failed")], "FAILED"),
        ([("dev", "succeeded"), ("dev", "rolled_back"), ("prod", "succeeded")], "DEPLOYED"),
        ([("dev", "succeeded"), ("dev", "rolled_back")], "ROLLED_BACK"),
        ([("dev", "cancelled")], "APPROVED"),
        ([("dev", "succeeded"), ("dev", "cancelled")], "DEPLOYED"),
    ],
)
def test_release_follows_its_deployments(steps: list[tuple[str, str]], status: str) -> None:
    """Rule 8."""
    scenario = Scenario().approved()
    for environment, step in steps:
        scenario.deploy(step, environment=environment)
    assert scenario.release()["status"] == status


def test_release_keeps_the_time_of_its_last_change() -> None:
    """A deployment event that leaves the release's status unchanged leaves its time unchanged."""
    scenario = Scenario().approved()
    scenario.deploy("requested", at=30)
    scenario.deploy("started", at=31)
    assert (scenario.release()["status"], scenario.release()["updated_at"]) == ("DEPLOYING", minute(30))


def test_release_events_are_applied_stale_or_rejected() -> None:
    """Rule 9."""
    scenario = Scenario().approved()
    assert scenario.send("release.approved") == "Stale"
    assert scenario.send("release.submitted") == "Rejected invalid_transition"
    assert scenario.send("release.created", **FIELDS) == "Rejected release_conflict"
    assert scenario.send("release.created", release=8, **FIELDS) == "Rejected release_conflict"
    assert scenario.deploy("requested", release=8, block=FIELDS) == "Rejected release_conflict"


def test_release_version_counts_the_events_that_change_it() -> None:
    """0 when it is created, +1 with every event that changes it or a deployment of it, however much it changes."""
    scenario = Scenario().approved()
    versions = [scenario.rows().version]
    scenario.deploy("started")
    scenario.deploy("requested")
    scenario.send("release.approved")
    scenario.send("activity.recorded", activity_type="SCAN", activity_data={})
    scenario.deploy("started", attempt=9)
    versions.append(scenario.rows().version)
    scenario.deploy("requested", release=8, block={**FIELDS, "release_number": 2})
    versions.append(scenario.rows(8).version)
    assert versions == [2, 4, 1]
    published = [(one.kind, one.data["release_version"]) for one in scenario.oracle.published if one.key]
    assert [version for kind, version in published if kind != DEPLOYMENT_STATE] == [0, 1, 2, 3, 3, 4, 4, 0, 1, 1]
    assert [version for kind, version in published if kind == DEPLOYMENT_STATE] == [3, 4, 1]


def test_state_is_the_attempt_that_the_environment_counts_with() -> None:
    """Rule 8; one for each event, and again for a repeat only while it is current."""
    scenario = Scenario().approved()
    scenario.deploy("succeeded", id="first")
    scenario.deploy("started", id="second")
    scenario.deploy("requested")
    scenario.deploy("started", id="second")
    scenario.deploy("cancelled")
    scenario.deploy("succeeded", id="first")
    states = [one.data for one in scenario.oracle.published if one.kind == DEPLOYMENT_STATE]
    assert [(one["attempt"], one["status"], one["release_version"]) for one in states] == [
        (1, "SUCCESS", 3),
        (2, "IN_PROGRESS", 4),
        (3, "PENDING", 5),
        (1, "SUCCESS", 6),
        (1, "SUCCESS", 3),
    ]


def test_confusable_track_is_a_taken_number() -> None:
    """Rule 9: SQL Server's default collation takes these tracks for one."""
    scenario = Scenario().approved()
    confusable = {**FIELDS, "deployment_track_id": "Máin "}
    assert scenario.send("release.created", release=8, **confusable) == "Rejected release_conflict"


def test_success_points_only_where_it_is_the_latest() -> None:
    """Rule 10, and who deployed it when."""
    scenario = Scenario().approved()
    scenario.deploy("succeeded", at=20, actor="me")
    row = scenario.rows().deployments[ENVIRONMENT, 1, 1]
    assert (row["deployed_at"], row["deployed_by"]) == (minute(20), "me")
    [pointer] = scenario.oracle.content.tables()["app_environments"]
    assert pointer["release_mgt_deployment_id"] == row["id"]
    assert pointer["release_mgt_deployment_name"] == "20260317-1.1"
    scenario.deploy("succeeded", at=19, config_revision=2)
    assert pointer["release_mgt_deployment_id"] == row["id"]
    scenario.deploy("succeeded", at=21, config_revision=3)
    assert pointer["release_mgt_deployment_id"] == scenario.rows().deployments[ENVIRONMENT, 3, 1]["id"]
