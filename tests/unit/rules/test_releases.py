"""Rules 2, 3 and 9: releases are made, moved, and refused what they may not have."""

from dataclasses import replace
from typing import Any

import pytest

from schemas.reasons import Reason
from schemas.statuses import ReleaseStatus
from schemas.types import EventType as E
from tests.properties.world import RELEASE_MACHINE
from tests.unit.rules.release_scenario import (
    Scenario,
    applied,
    changes_of,
    fields,
    message,
    minute,
    rejected,
    release_id,
    stale,
)
from worker.rules.decide import decide
from worker.rules.rows import ReleaseMove
from worker.rules.state import State

WANTED = {
    E.RELEASE_SUBMITTED: "IN_REVIEW",
    E.RELEASE_APPROVED: "APPROVED",
    E.RELEASE_REJECTED: "REJECTED",
    E.RELEASE_REOPENED: "DRAFT",
}
DEPLOYMENTS = [kind for kind in E if ".deployment." in kind]
NOT_CREATING = [kind for kind in E if kind is not E.RELEASE_CREATED]


@pytest.mark.parametrize("kind", NOT_CREATING)
def test_event_of_an_unknown_release_is_rejected(kind: E) -> None:
    """Rule 2, where it brings no block."""
    rejected(Scenario().add(kind), Reason.RELEASE_NOT_FOUND)


@pytest.mark.parametrize("kind", [kind for kind in DEPLOYMENTS if kind is not E.DEPLOYMENT_ROLLED_BACK])
def test_release_block_creates_an_approved_release(kind: E) -> None:
    """Rule 2: in the same transaction, before the deployment, with an entry of its own."""
    changes = applied(Scenario().add(kind, block=fields(7)))
    assert changes.new_release is not None
    assert changes.new_deployment is not None
    assert changes.release_move is None, "the release is inserted as it stands after the event"
    assert changes_of(changes.activities)[0] == ("RELEASE_CREATED", None, "APPROVED")
    assert changes.new_release.release.id == release_id()
    assert changes.new_release.release.release_number == 7
    assert changes.new_release.release.organization_id == "acme"


@pytest.mark.parametrize("kind", [E.RELEASE_SUBMITTED, E.ACTIVITY_RECORDED])
def test_release_block_counts_in_deployment_events_only(kind: E) -> None:
    """Elsewhere `release` is an unknown field."""
    rejected(Scenario().add(kind, block=fields()), Reason.RELEASE_NOT_FOUND)


def test_release_block_of_a_known_release_is_ignored() -> None:
    """Rule 9: also one whose number is another release's by now."""
    scenario = Scenario.of_approved_release()
    scenario.add(E.RELEASE_CREATED, release=2)
    before = scenario.release().inserted
    changes = applied(scenario.add(E.DEPLOYMENT_REQUESTED, block=fields(2, created_by="somebody else")))
    assert changes.new_release is None
    assert scenario.release().inserted == before


@pytest.mark.parametrize("kind", list(E))
def test_organization_mismatch_is_rejected(kind: E) -> None:
    """Rule 3, for every type of event; activities too."""
    scenario = Scenario.of_approved_release()
    scenario.add(E.DEPLOYMENT_REQUESTED)
    before = scenario.world.tables()
    rejected(scenario.add(kind, organization_id="other"), Reason.ORGANIZATION_MISMATCH)
    assert scenario.world.tables() | {"rejections": {}} == before


@pytest.mark.parametrize("kind", DEPLOYMENTS)
@pytest.mark.parametrize("path", [[], [E.RELEASE_SUBMITTED], [E.RELEASE_SUBMITTED, E.RELEASE_REJECTED]])
def test_unapproved_release_rejects_deployment_events(kind: E, path: list[E]) -> None:
    """Rule 3: in DRAFT, IN_REVIEW and REJECTED."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED)
    for step in path:
        applied(scenario.add(step))
    rejected(scenario.add(kind), Reason.RELEASE_NOT_DEPLOYABLE)


@pytest.mark.parametrize("status", list(ReleaseStatus))
@pytest.mark.parametrize("kind", list(WANTED))
def test_release_event_follows_the_review_transitions(kind: E, status: ReleaseStatus) -> None:
    """Rule 9: moved through the review, stale or refused; every status and every event."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED)
    beyond_approval = {"DEPLOYING", "DEPLOYED", "FAILED", "ROLLED_BACK"}
    row = replace(scenario.release().release, status=status)
    sent = message(kind, at=5)
    outcome = decide(State(release=row), sent)
    wanted = WANTED[kind]
    if wanted == status or (wanted == "APPROVED" and status in beyond_approval):
        assert stale(outcome).status == status
    elif wanted in RELEASE_MACHINE[status].split() and status in {"DRAFT", "IN_REVIEW", "REJECTED"}:
        changes = applied(outcome)
        assert changes.release_move == ReleaseMove(
            id=row.id, previous=status, status=ReleaseStatus(wanted), updated_at=minute(5)
        )
        assert changes_of(changes.activities) == [("RELEASE_STATUS_CHANGED", status, wanted)]
    else:
        rejected(outcome, Reason.INVALID_TRANSITION)


def test_release_event_is_never_late() -> None:
    """The status decides, not the time; `updated_at` is the latest time among the events."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED, at=10)
    applied(scenario.add(E.RELEASE_SUBMITTED, at=3))
    assert (scenario.status(), scenario.release().updated_at) == ("IN_REVIEW", minute(10))


def test_created_release_is_a_draft() -> None:
    """Rule 9's beginning: inserted, with one entry."""
    changes = applied(Scenario().add(E.RELEASE_CREATED))
    assert changes.new_release is not None
    assert changes.new_release.release.status == "DRAFT"
    assert changes_of(changes.activities) == [("RELEASE_CREATED", None, "DRAFT")]


def test_creating_a_known_release_is_a_conflict() -> None:
    """Rule 9, even with the very same fields: it is another event."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED)
    rejected(scenario.add(E.RELEASE_CREATED), Reason.RELEASE_CONFLICT)


def test_creating_a_release_with_a_taken_number_is_a_conflict() -> None:
    """Rule 9: date, number, component and track."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED, release=1)
    rejected(scenario.add(E.RELEASE_CREATED, release=2, release_number=1), Reason.RELEASE_CONFLICT)
    assert release_id(2) not in scenario.world.releases


@pytest.mark.parametrize(
    "changed",
    [
        {"release_date": "2026-03-02"},
        {"release_number": 2},
        {"component_id": "00000000-0000-0000-0000-0000000000ff"},
        {"deployment_track_id": "next"},
    ],
)
def test_number_is_taken_only_with_all_four_parts(changed: dict[str, Any]) -> None:
    """One that differs is enough."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED, release=1)
    applied(scenario.add(E.RELEASE_CREATED, release=2, **({"release_number": 1} | changed)))


@pytest.mark.parametrize("kind", DEPLOYMENTS)
def test_release_block_with_a_taken_number_is_a_conflict(kind: E) -> None:
    """Rule 9: nothing is made, neither the release nor its attempt."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED, release=1)
    rejected(scenario.add(kind, release=2, block=fields(1)), Reason.RELEASE_CONFLICT)
    assert len(scenario.world.releases) == 1
    assert not scenario.world.deployments


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        (E.DEPLOYMENT_REQUESTED, {"attempt": 2}, Reason.ATTEMPT_GAP),
        (E.DEPLOYMENT_ROLLED_BACK, {}, Reason.INVALID_TRANSITION),
    ],
)
def test_rejected_event_creates_no_release(kind: E, data: dict[str, Any], reason: Reason) -> None:
    """The block is part of the event."""
    scenario = Scenario()
    rejected(scenario.add(kind, block=fields(), **data), reason)
    assert not scenario.world.releases
    assert not scenario.world.activities


def test_release_name_is_date_and_number() -> None:
    """`YYYYMMDD-<number>`, computed."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED, release_date="2026-12-01", release_number=14)
    assert scenario.release().release.name == "20261201-14"


def test_release_name_has_a_year_of_four_digits() -> None:
    """The contract takes dates from the year 1; C libraries differ in how they print one."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED, release_date="0033-04-05")
    assert scenario.release().release.name == "00330405-1"
