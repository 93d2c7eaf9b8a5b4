"""Ids that some database treats as equal have one confusable key; ids that no database does have different keys."""

import hashlib
import itertools

import pytest

from schemas.confusables import DIFFERENCES, UNICODE_VERSION, collides, confusable_key
from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import Scenario
from worker.rules.state import Applied, Rejected


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
        ("prod\U0001fae8", "prod"),
        ("prod\U0002ebf0", "prod"),
        ("prod\u1c90", "prod\ua7cb"),
    ],
)
def test_confusable_names_share_a_key(one: str, other: str) -> None:
    """The names differ in case, blanks, accents, width, expansions, invisible characters, emoji or normal forms."""
    assert confusable_key(one) == confusable_key(other)


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
def test_distinct_names_have_distinct_keys(one: str, other: str) -> None:
    assert confusable_key(one) != confusable_key(other)


def test_confusable_key_does_not_depend_on_the_interpreter() -> None:
    """The digest covers each code point between two letters; CPython 3.11, 3.12 and 3.13 give the same one."""
    digest = hashlib.sha256()
    for code in itertools.chain(range(0xD800), range(0xE000, 0x20000)):
        digest.update(confusable_key(f"a{chr(code)}b").encode() + b"\n")
    assert UNICODE_VERSION == "3.2.0"
    assert digest.hexdigest() == "0787a99831d7d780c1b15f632f29c8f4105adcf7805ee088fa6c2b75d2ef3a5c"


def test_detail_names_the_confusable_characters() -> None:
    """The detail names an emoji, for example, and the version of Unicode that is used."""
    scenario = Scenario()
    scenario.add(E.RELEASE_CREATED, deployment_track_id="main")
    outcome = scenario.add(E.RELEASE_CREATED, release=2, release_number=1, deployment_track_id="main\U0001fae8")
    assert isinstance(outcome, Rejected)
    assert outcome.rejection.reason == Reason.RELEASE_CONFLICT
    for words in ("emoji", "Unicode 3.2.0", "accents", "SQL Server's default collations"):
        assert words in outcome.rejection.detail


def test_first_colliding_name_is_reported() -> None:
    assert collides("PROD", ["qa", "prod", "Prod"]) == "prod"
    assert collides("PROD", ["qa"]) is None


def test_deployment_to_a_colliding_environment_is_rejected() -> None:
    """Holds for every attempt number; the detail names the environment of the release."""
    scenario = Scenario.of_approved_release()
    scenario.add(E.DEPLOYMENT_STARTED, environment_id="Prod")
    for attempt in (None, 1, 2, 7):
        outcome = scenario.add(E.DEPLOYMENT_SUCCEEDED, environment_id="prod ", attempt=attempt)
        assert isinstance(outcome, Rejected)
        assert outcome.rejection.reason == Reason.INVALID_DATA
        assert (
            outcome.rejection.detail
            == f"/data/environment_id: collides with Prod, an environment of the release: {DIFFERENCES}"
        )
    assert isinstance(scenario.add(E.DEPLOYMENT_SUCCEEDED, environment_id="Prod"), Applied)
