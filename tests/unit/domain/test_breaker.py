"""The breaker opens when more than its share of the last events was rejected, once, and says of what."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.breaker import Breaker
from worker.domain.rows import Rejection
from worker.domain.state import Applied, Changes, Duplicate, Outcome, Rejected, Stale

APPLIED, STALE, DUPLICATE = Applied(changes=Changes()), Stale(changes=Changes()), Duplicate()
REASONS = ("invalid_data", "release_not_found", "malformed_json")


def a_rejection(reason: str) -> Rejected:
    return Rejected(
        rejection=Rejection(
            id=UUID(int=1),
            created_at=datetime(2026, 1, 2, tzinfo=UTC),
            reason=reason,
            detail="",
            event_source=None,
            event_id=None,
            event_type=None,
            release_id=None,
            topic="in",
            partition=0,
            offset=0,
        )
    )


BAD = a_rejection("invalid_data")
OUTCOMES = st.lists(
    st.one_of(st.sampled_from([APPLIED, STALE, DUPLICATE]), st.sampled_from(REASONS).map(a_rejection)), max_size=60
)


def tripped_at(breaker: Breaker, outcomes: list[Outcome]) -> list[int]:
    """After how many outcomes it trips."""
    return [number for number, outcome in enumerate(outcomes, start=1) if breaker.judged(outcome)]


def test_it_waits_until_its_window_is_full() -> None:
    assert tripped_at(Breaker(events=10, rejected_share_max=0.5), [BAD] * 30) == [10]


def test_half_is_not_more_than_half() -> None:
    assert tripped_at(Breaker(events=10, rejected_share_max=0.5), [APPLIED, BAD] * 1000) == []
    assert tripped_at(Breaker(events=10, rejected_share_max=0.5), [*[APPLIED, BAD] * 1000, BAD]) == [2001]


def test_what_was_good_long_ago_does_not_count() -> None:
    assert tripped_at(Breaker(events=10, rejected_share_max=0.5), [*[APPLIED] * 1_000_000, *[BAD] * 10]) == [1_000_006]


def test_duplicates_count_neither_way() -> None:
    """A replay repeats what was rejected once: nothing new is poured anywhere."""
    breaker = Breaker(events=4, rejected_share_max=0.5)
    assert tripped_at(breaker, [BAD, BAD, *[DUPLICATE] * 100, APPLIED, BAD]) == [104]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_switched_off_it_never_trips(share: float) -> None:
    assert tripped_at(Breaker(events=0, rejected_share_max=share), [BAD] * 1000) == []


@pytest.mark.parametrize("percent", range(100))
def test_a_share_is_exact(percent: int) -> None:
    """0.29 of 100 is 29, whatever their product comes to in floating point."""
    exactly = [*[BAD] * percent, *[APPLIED] * (100 - percent)]
    assert tripped_at(Breaker(events=100, rejected_share_max=percent / 100), exactly) == []
    assert tripped_at(Breaker(events=100, rejected_share_max=percent / 100), [BAD, *exactly[:-1]]) == [100]


def test_it_says_how_many_of_how_many_and_why() -> None:
    breaker = Breaker(events=4, rejected_share_max=0.5)
    outcomes = [APPLIED, a_rejection("malformed_json"), a_rejection("invalid_data"), a_rejection("invalid_data")]
    assert tripped_at(breaker, outcomes) == [4]
    assert str(breaker.tripped) == "3 of the last 4 events were rejected: invalid_data 2, malformed_json 1"


@given(outcomes=OUTCOMES, events=st.integers(0, 12), share=st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_it_does_as_a_look_at_all_windows_says(outcomes: list[Outcome], events: int, share: float) -> None:
    """And trips once, for good."""
    breaker = Breaker(events=events, rejected_share_max=share)
    judged = [(number, one) for number, one in enumerate(outcomes, start=1) if one is not DUPLICATE]
    expected = next(
        (
            judged[end - 1][0]
            for end in range(max(events, 1), len(judged) + 1)
            if events and sum(isinstance(one, Rejected) for _, one in judged[end - events : end]) > share * events
        ),
        None,
    )
    assert tripped_at(breaker, outcomes) == ([] if expected is None else [expected])
    assert (breaker.tripped is None) == (expected is None)
