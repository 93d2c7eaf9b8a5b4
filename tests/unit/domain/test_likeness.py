"""Ids that some database would take for one are told from those that none would."""

import pytest

from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.unit.domain.story import Story
from worker.domain.likeness import alike, likeness
from worker.domain.state import Applied, Rejected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Prod", "prod"),
        ("prod", "prod "),
        ("Ämter", "ämter"),
        ("Ämter", "Amter"),
        ("Straße", "STRASSE"),
        ("\uff50\uff52\uff4f\uff44", "prod"),
        ("Ægir", "aegir"),
        ("\u30ab", "\uff76"),
        ("\u30ab\u30ca", "\u304b\u306a"),
        ("\u30ac", "\u304b"),
        ("I", "\u0131"),
        ("pro\u200dd", "prod"),
        ("pro\u00add", "prod"),
        ("prod🚀", "prod"),
        ("🚀", "🔥"),
        ("é", "e\u0301"),
        ("İstanbul", "istanbul"),
    ],
)
def test_what_a_collation_may_mix_up_is_alike(one: str, other: str) -> None:
    """Case, blanks, accents, width, expansions, invisible characters, pictures, normal forms."""
    assert likeness(one) == likeness(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("prod", "prod2"),
        ("a-b", "ab"),
        ("a_b", "a-b"),
        ("a b", "ab"),
        ("eu/prod", "eu.prod"),
        ("生产", "测试"),
        ("прод", "тест"),
        ("7c9e6679-7425-40de-944b-e07fc1f90ae7", "7c9e6679-7425-40de-944b-e07fc1f90ae8"),
    ],
)
def test_what_every_collation_keeps_apart_is_not_alike(one: str, other: str) -> None:
    assert likeness(one) != likeness(other)


def test_the_first_that_is_alike_is_named() -> None:
    assert alike("PROD", ["qa", "prod", "Prod"]) == "prod"
    assert alike("PROD", ["qa"]) is None


def test_a_deployment_to_an_environment_that_is_only_alike_is_refused() -> None:
    """Whatever it says of attempts; the publisher is told which name the release knows."""
    story = Story.of_approved_release()
    story.tell(E.DEPLOYMENT_STARTED, environment_id="Prod")
    for attempt in (None, 1, 2, 7):
        outcome = story.tell(E.DEPLOYMENT_SUCCEEDED, environment_id="prod ", attempt=attempt)
        assert isinstance(outcome, Rejected)
        assert outcome.rejection.reason == Reason.INVALID_DATA
        assert outcome.rejection.detail == "/data/environment_id: the release has Prod, which is alike; use its name"
    assert isinstance(story.tell(E.DEPLOYMENT_SUCCEEDED, environment_id="Prod"), Applied)
