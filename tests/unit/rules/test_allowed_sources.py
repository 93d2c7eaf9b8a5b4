"""The allow-list: which sources may send events for which organization, and the rejection of other sources."""

from functools import partial

import pytest

from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import REDRIVE, Scenario, applied, duplicate, fields, message, rejected
from worker.rules.allowed_sources import AllowedSources
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.rules.state import Applied, Outcome, Rejected

OURS, THEIRS = "/ci/acme/main", "/ci/other/main"
LISTED = AllowedSources.of({"acme": ["/ci/acme/*"], "other": [THEIRS]})


def judged(scenario: Scenario, sent: Message, sources: AllowedSources | None = LISTED) -> Outcome:
    """The outcome of the message in the scenario's world, with the allow-list."""
    outcome = partial(decide, sources=sources)(scenario.world.load(sent), sent)
    scenario.world.write(outcome)
    return outcome


@pytest.mark.parametrize(
    ("pattern", "source", "allowed"),
    [
        ("/ci/acme", "/ci/acme", True),
        ("/ci/acme", "/ci/acme/", False),
        ("/ci/acme", "/CI/acme", False),
        ("/ci/acme", "/ci/acm\u00e9", False),
        ("/ci/acme/*", "/ci/acme/main", True),
        ("/ci/acme/*", "/ci/acme/", True),
        ("/ci/acme/*", "/ci/acme", False),
        ("/ci/acme/*", "/ci/acme-too/main", False),
        ("/ci/acme/*", "x/ci/acme/main", False),
        ("/ci/acme*", "/ci/acme-too/main", True),
        ("*", "anything", True),
    ],
)
def test_source_matches_a_whole_pattern_or_a_prefix(pattern: str, source: str, allowed: bool) -> None:
    """A pattern matches the whole source, or its beginning if the pattern ends with a star."""
    sources = AllowedSources.of({"acme": ["/elsewhere/*", pattern]})
    assert sources.allow(source, organization_id="acme") is allowed


def test_organization_without_an_entry_uses_the_default_list() -> None:
    """An entry of its own replaces the default list, even an empty entry."""
    sources = AllowedSources.of({"acme": ["/a"], "closed": [], "*": ["/platform/*"]})
    allowed = {
        organization_id: [
            source for source in ("/a", "/platform/x") if sources.allow(source, organization_id=organization_id)
        ]
        for organization_id in ("acme", "closed", "new", "ACME", "*")
    }
    assert allowed == {
        "acme": ["/a"],
        "closed": [],
        "new": ["/platform/x"],
        "ACME": ["/platform/x"],
        "*": ["/platform/x"],
    }


def test_unlisted_organization_without_a_default_has_no_source() -> None:
    """A missing entry allows no source."""
    assert not AllowedSources.of({"acme": ["*"]}).allow("/a", organization_id="new")


@pytest.mark.parametrize("kind", list(E))
def test_unlisted_source_is_rejected_for_every_event_type(kind: E) -> None:
    """Holds for known and unknown releases; the rejection is the only row that is written."""
    for scenario in (Scenario(), Scenario.of_approved_release()):
        before = scenario.world.tables()
        for number, source in enumerate((THEIRS, "/ci/acme", "")):
            sent = message(kind, id=f"x{number}", source=source or "s", offset=number)
            rejection = rejected(judged(scenario, sent), Reason.SOURCE_NOT_ALLOWED)
            assert rejection.detail == f"{source or 's'} is not an allowed source of organization acme"
        after = scenario.world.tables()
        assert len(after.pop("rejections")) == 3
        before.pop("rejections")
        assert after == before


@pytest.mark.parametrize("kind", list(E))
def test_listed_source_is_decided_as_without_a_list(kind: E) -> None:
    scenario, free = Scenario.of_approved_release(), Scenario.of_approved_release()
    sent = message(kind, id="x", source=OURS, block=fields() if ".deployment." in kind else None)
    assert judged(scenario, sent) == judged(free, sent, None)


def test_every_source_is_allowed_without_a_list() -> None:
    """The check is off by default."""
    assert isinstance(
        decide(Scenario().world.load(sent := message(E.RELEASE_CREATED, source="/anybody")), sent), Applied
    )


def test_source_is_checked_for_the_organization_of_the_release() -> None:
    """A publisher cannot change another organization's release: an event that names its own organization is rejected,
    and so is one that names the other organization.
    """
    scenario = Scenario.of_approved_release()
    own_claim = message(E.RELEASE_REJECTED, id="a", source=THEIRS, organization_id="other")
    assert rejected(judged(scenario, own_claim), Reason.ORGANIZATION_MISMATCH)
    their_claim = message(E.RELEASE_REJECTED, id="b", source=THEIRS, organization_id="acme", offset=1)
    assert rejected(judged(scenario, their_claim), Reason.SOURCE_NOT_ALLOWED)
    unlisted = message(E.RELEASE_REJECTED, id="c", source=OURS, organization_id="nobody", offset=2)
    assert rejected(judged(scenario, unlisted), Reason.SOURCE_NOT_ALLOWED)


def test_rejection_detail_reveals_nothing_of_the_release() -> None:
    """The detail is the same for an unknown release, another organization's release and a wrong status."""
    sent = message(E.DEPLOYMENT_STARTED, id="x", source=THEIRS)
    details = {
        rejected(judged(scenario, sent), Reason.SOURCE_NOT_ALLOWED).detail
        for scenario in (Scenario(), Scenario.of_approved_release())
    }
    assert len(details) == 1


def test_redrive_is_checked_against_the_current_list() -> None:
    """Rejected again while its source is not listed; applied, and its rejection resolved, once it is."""
    scenario = Scenario()
    first = rejected(judged(scenario, message(E.RELEASE_CREATED, id="x", source=THEIRS)), Reason.SOURCE_NOT_ALLOWED)
    again = judged(scenario, message(E.RELEASE_CREATED, id="x", source=THEIRS, headers=REDRIVE, offset=1))
    assert rejected(again, Reason.SOURCE_NOT_ALLOWED).id == first.id
    assert isinstance(again, Rejected)
    assert again.again
    widened = AllowedSources.of({"acme": [OURS, THEIRS]})
    redriven = message(E.RELEASE_CREATED, id="x", source=THEIRS, headers=REDRIVE, offset=2)
    [resolved] = applied(judged(scenario, redriven, widened)).resolved
    assert resolved.rejection_id == first.id


def test_applied_event_is_published_again_despite_the_list() -> None:
    """The list applies to new events, not to events that were applied before."""
    scenario = Scenario()
    sent = message(E.RELEASE_CREATED, id="x", source=THEIRS)
    activities = applied(judged(scenario, sent, None)).activities
    for headers in ((), REDRIVE):
        repeat = message(E.RELEASE_CREATED, id="x", source=THEIRS, headers=headers, offset=1)
        assert duplicate(judged(scenario, repeat)).activities == activities


def test_rejection_detail_is_printable_and_short() -> None:
    """The detail becomes a header and a log line, and the publisher chooses both names."""
    sent = message(E.RELEASE_CREATED, source="\u202e/evil" + "s" * 1000, organization_id="o\x1b[2J\n" + "o" * 200)
    detail = rejected(judged(Scenario(), sent), Reason.SOURCE_NOT_ALLOWED).detail
    assert detail.isprintable()
    assert len(detail) < 300
    assert detail.startswith("\\u202e/evil")
