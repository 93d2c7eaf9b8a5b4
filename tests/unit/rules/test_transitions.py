"""The status machines against the contract's text, every pair of them."""

import itertools

import pytest

from schemas.statuses import DeploymentStatus, ReleaseStatus
from tests.properties.world import DEPLOYMENT_MACHINE, RELEASE_MACHINE
from worker.rules.transitions import (
    ACTIVE,
    DEPLOYMENT_TRANSITIONS,
    RELEASE_TRANSITIONS,
    UNDEPLOYABLE,
    deployment_may_become,
    review_may_become,
)

DEPLOYMENT_TEXT = (
    "PENDING → IN_PROGRESS, SUCCESS, FAILED, CANCELLED · IN_PROGRESS → SUCCESS, FAILED, CANCELLED, ROLLED_BACK · "
    "SUCCESS → ROLLED_BACK · FAILED → ROLLED_BACK · CANCELLED →  · ROLLED_BACK → "
)
RELEASE_TEXT = (
    "DRAFT → IN_REVIEW · IN_REVIEW → APPROVED, REJECTED, DRAFT · REJECTED → DRAFT, IN_REVIEW · "
    "APPROVED → DEPLOYING, DEPLOYED, FAILED, ROLLED_BACK · DEPLOYING → DEPLOYED, FAILED, ROLLED_BACK, APPROVED · "
    "DEPLOYED → DEPLOYING, FAILED, ROLLED_BACK · FAILED → DEPLOYING, DEPLOYED, ROLLED_BACK · "
    "ROLLED_BACK → DEPLOYING, DEPLOYED, FAILED"
)


def machine(text: str) -> dict[str, set[str]]:
    sides = (part.split(" →") for part in text.split(" · "))
    return {left.strip(): {name.strip() for name in right.split(",") if name.strip()} for left, right in sides}


@pytest.mark.parametrize(("current", "wanted"), list(itertools.product(DeploymentStatus, repeat=2)))
def test_deployment_transitions_match_the_contract(current: DeploymentStatus, wanted: DeploymentStatus) -> None:
    """Every pair, those that stay as they are included."""
    expected = wanted.value in machine(DEPLOYMENT_TEXT)[current.value]
    assert (wanted in DEPLOYMENT_TRANSITIONS[current]) is expected
    assert deployment_may_become(current=current, wanted=wanted) is expected


@pytest.mark.parametrize(("current", "wanted"), list(itertools.product(ReleaseStatus, repeat=2)))
def test_release_transitions_match_the_contract(current: ReleaseStatus, wanted: ReleaseStatus) -> None:
    """Every pair, those that stay as they are included."""
    expected = wanted.value in machine(RELEASE_TEXT)[current.value]
    assert (wanted in RELEASE_TRANSITIONS[current]) is expected


REVIEW_TEXT = (
    "submitted DRAFT, REJECTED → IN_REVIEW; approved IN_REVIEW → APPROVED; rejected IN_REVIEW → REJECTED; "
    "reopened IN_REVIEW, REJECTED → DRAFT"
)


@pytest.mark.parametrize(("current", "wanted"), list(itertools.product(ReleaseStatus, repeat=2)))
def test_review_transitions_match_the_contract(current: ReleaseStatus, wanted: ReleaseStatus) -> None:
    """Rule 9: every pair."""
    sides = (part.split(" ", 1)[1].split(" → ") for part in REVIEW_TEXT.split("; "))
    allowed = {(before, after) for befores, after in sides for before in befores.split(", ")}
    assert review_may_become(current=current, wanted=wanted) is ((current.value, wanted.value) in allowed)


def test_transition_tables_have_every_status() -> None:
    """A status that is missing from its table would fail in production, at its first event."""
    assert DEPLOYMENT_TRANSITIONS.keys() == set(DeploymentStatus) == machine(DEPLOYMENT_TEXT).keys()
    assert RELEASE_TRANSITIONS.keys() == set(ReleaseStatus) == machine(RELEASE_TEXT).keys()


def test_active_and_undeployable_statuses_match_the_contract() -> None:
    """`active` means PENDING or IN_PROGRESS; rule 3 names DRAFT, IN_REVIEW and REJECTED."""
    assert set(ACTIVE) == {"PENDING", "IN_PROGRESS"}
    assert set(UNDEPLOYABLE) == {"DRAFT", "IN_REVIEW", "REJECTED"}


def test_transitions_of_the_property_tests_match_the_contract() -> None:
    """The property tests hold `decide` against it."""
    assert {name: set(allowed.split()) for name, allowed in DEPLOYMENT_MACHINE.items()} == machine(DEPLOYMENT_TEXT)
    assert {name: set(allowed.split()) for name, allowed in RELEASE_MACHINE.items()} == machine(RELEASE_TEXT)
