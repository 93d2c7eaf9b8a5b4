"""The breaker opens when more than its share of the last events was rejected, once, and says of what."""

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.group_breaker import Opening, Tripped
from worker.pipeline.breaker import SOURCES_MAX, Breaker, Counted
from worker.rules.message import RecordPosition
from worker.rules.rows import Rejection
from worker.rules.state import Applied, Changes, Duplicate, Outcome, Rejected, Stale

APPLIED: Outcome = Applied(changes=Changes())
STALE: Outcome = Stale(changes=Changes())
DUPLICATE: Outcome = Duplicate()
REASONS = ("invalid_data", "release_not_found", "malformed_json")


def a_rejection(reason: str, source: str | None = None) -> Rejected:
    return Rejected(
        rejection=Rejection(
            id=UUID(int=1),
            created_at=datetime(2026, 1, 2, tzinfo=UTC),
            reason=reason,
            detail="",
            event_source=source,
            event_id=None,
            event_type=None,
            release_id=None,
            topic="in",
            partition=0,
            offset=0,
        )
    )


BAD: Outcome = a_rejection("invalid_data")
OUTCOMES = st.lists(
    st.one_of(st.sampled_from([APPLIED, STALE, DUPLICATE]), st.sampled_from(REASONS).map(a_rejection)), max_size=60
)


def expected(breaker: Breaker, offset: int) -> Counted:
    return breaker.expect(RecordPosition("in", 0, offset))


def an_opening(tripped: Tripped | None = None) -> Opening:
    """A row of the group, perhaps of another process."""
    return Opening(
        id=uuid4(),
        group_id="group",
        opened_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        opened_by="worker on host",
        tripped=tripped
        or Tripped(
            rejected=6,
            events=10,
            reasons={"invalid_data": 6},
            sources={"/ci": 6},
            first=RecordPosition("in", 0, 1),
            last=RecordPosition("in", 0, 10),
        ),
    )


def tripped_at(breaker: Breaker, outcomes: Sequence[Outcome]) -> list[int]:
    """After how many outcomes it trips, each decided before the next is read."""
    return [n for n, outcome in enumerate(outcomes, start=1) if breaker.decided(expected(breaker, n), outcome)]


def test_breaker_waits_until_its_window_is_full() -> None:
    assert tripped_at(Breaker(events=10, rejected_share_max=0.5), [BAD] * 30) == [10]


def test_half_of_the_events_does_not_open_the_breaker() -> None:
    assert tripped_at(Breaker(events=10, rejected_share_max=0.5), [APPLIED, BAD] * 1000) == []
    assert tripped_at(Breaker(events=10, rejected_share_max=0.5), [*[APPLIED, BAD] * 1000, BAD]) == [2001]


def test_events_outside_the_window_do_not_count() -> None:
    assert tripped_at(Breaker(events=10, rejected_share_max=0.5), [*[APPLIED] * 1_000_000, *[BAD] * 10]) == [1_000_006]


def test_duplicates_do_not_count() -> None:
    """A replay repeats what was rejected once: nothing new is poured anywhere."""
    breaker = Breaker(events=4, rejected_share_max=0.5)
    assert tripped_at(breaker, [BAD, BAD, *[DUPLICATE] * 100, APPLIED, BAD]) == [104]


def test_message_names_the_sources_of_the_rejections() -> None:
    sources = [None, "/a", "/a", "/a", "/b\n", "/b\n", *(f"/{n}" for n in range(6)), "/" + 1000 * "x"]
    breaker = Breaker(events=len(sources), rejected_share_max=0.5)
    assert tripped_at(breaker, [a_rejection("invalid_data", source) for source in sources])
    tripped = breaker.tripped
    assert tripped is not None
    assert list(tripped.sources.items())[:2] == [("/a", 3), ("/b\\u000a", 2)]
    assert len(tripped.sources) == SOURCES_MAX
    assert str(tripped).startswith("13 of the last 13 events were rejected: invalid_data 13; from /a 3, /b\\u000a 2, ")
    assert len(str(tripped)) < 1_500


def test_message_counts_records_without_a_source() -> None:
    breaker = Breaker(events=2, rejected_share_max=0.5)
    assert tripped_at(breaker, [a_rejection("malformed_json", None)] * 2) == [2]
    assert str(breaker.tripped) == (
        "2 of the last 2 events were rejected: malformed_json 2; from records without a source 2"
    )


@pytest.mark.parametrize("limit", [0.0, 0.5, 0.99])
def test_disabled_breaker_never_opens(limit: float) -> None:
    assert tripped_at(Breaker(events=0, rejected_share_max=limit), [BAD] * 1000) == []


@pytest.mark.parametrize("percent", range(100))
def test_rejected_share_is_exact(percent: int) -> None:
    """0.29 of 100 is 29, whatever their product comes to in floating point."""
    exactly = [*[BAD] * percent, *[APPLIED] * (100 - percent)]
    assert tripped_at(Breaker(events=100, rejected_share_max=percent / 100), exactly) == []
    assert tripped_at(Breaker(events=100, rejected_share_max=percent / 100), [BAD, *exactly[:-1]]) == [100]


def test_message_has_the_numbers_and_the_reasons() -> None:
    breaker = Breaker(events=4, rejected_share_max=0.5)
    outcomes = [APPLIED, a_rejection("malformed_json"), a_rejection("invalid_data"), a_rejection("invalid_data")]
    assert tripped_at(breaker, outcomes) == [4]
    assert str(breaker.tripped) == (
        "3 of the last 4 events were rejected: invalid_data 2, malformed_json 1; from records without a source 3"
    )


@given(outcomes=OUTCOMES, events=st.integers(0, 12), limit=st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_breaker_matches_a_count_of_all_windows(outcomes: list[Outcome], events: int, limit: float) -> None:
    """And trips once, for good."""
    breaker = Breaker(events=events, rejected_share_max=limit)
    decided = [(number, one) for number, one in enumerate(outcomes, start=1) if one is not DUPLICATE]
    expected = next(
        (
            decided[end - 1][0]
            for end in range(max(events, 1), len(decided) + 1)
            if events and sum(isinstance(one, Rejected) for _, one in decided[end - events : end]) > limit * events
        ),
        None,
    )
    assert tripped_at(breaker, outcomes) == ([] if expected is None else [expected])
    assert (breaker.tripped is None) == (expected is None)


def test_events_count_in_the_order_of_their_offsets() -> None:
    """On a slow database rejections overtake events that wait for their release: 24 of 100 are no 51 of 100."""
    breaker = Breaker(events=100, rejected_share_max=0.5)
    bad = {n for n in range(1000) if n % 4 == 0}
    events = [expected(breaker, n) for n in range(1000)]
    decided_in_this_order = [*sorted(bad), *(n for n in range(1000) if n not in bad)]
    assert not any(breaker.decided(events[n], BAD if n in bad else APPLIED) for n in decided_in_this_order)
    assert breaker.tripped is None


@given(
    good=st.lists(st.booleans(), min_size=10, max_size=40),
    limit=st.sampled_from([0.2, 0.5, 0.9]),
    order=st.randoms(use_true_random=False),
)
def test_order_of_decisions_does_not_open_the_breaker(good: list[bool], limit: float, order: Random) -> None:
    """Where at most as many as the window has are under way, both come to the same."""
    window = 10
    in_order = tripped_at(Breaker(events=window, rejected_share_max=limit), [APPLIED if one else BAD for one in good])
    breaker = Breaker(events=window, rejected_share_max=limit)
    under_way: list[tuple[Counted, bool]] = []
    for offset, one in enumerate(good):
        under_way.append((expected(breaker, offset), one))
        if len(under_way) == window - 1:
            counted, fine = under_way.pop(order.randrange(len(under_way)))
            breaker.decided(counted, APPLIED if fine else BAD)
    for counted, fine in under_way:
        breaker.decided(counted, APPLIED if fine else BAD)
    if not in_order:
        assert breaker.tripped is None


def test_waiting_event_does_not_hide_later_rejections() -> None:
    breaker = Breaker(events=10, rejected_share_max=0.5)
    waiting = expected(breaker, 0)
    assert tripped_at(breaker, [BAD] * 30) == [10]
    assert breaker.tripped is not None
    assert (breaker.tripped.rejected, breaker.tripped.first.offset, breaker.tripped.last.offset) == (9, 0, 9)
    assert not breaker.decided(waiting, BAD)


def test_counted_event_is_not_counted_again() -> None:
    breaker = Breaker(events=4, rejected_share_max=0.5)
    waiting = expected(breaker, 0)
    assert tripped_at(breaker, [APPLIED] * 4) == []
    assert not breaker.decided(waiting, BAD)
    assert tripped_at(breaker, [APPLIED, BAD, BAD, APPLIED] * 20) == []
    assert tripped_at(breaker, [BAD]) == [1]


def test_dropped_events_do_not_count() -> None:
    """Of a partition that was given up: they neither fill the window nor hold back what is behind them."""
    breaker = Breaker(events=4, rejected_share_max=0.5)
    left = [expected(breaker, n) for n in range(3)]
    assert tripped_at(breaker, [BAD, BAD, BAD]) == []
    assert [breaker.dropped(one) for one in left] == [False, False, False]
    assert tripped_at(breaker, [APPLIED]) == [1]


def test_dropped_event_can_open_the_breaker() -> None:
    """It held back the count of those behind it."""
    breaker = Breaker(events=3, rejected_share_max=0.5)
    assert tripped_at(breaker, [APPLIED]) == []
    left = expected(breaker, 1)
    assert tripped_at(breaker, [BAD, BAD]) == []
    assert breaker.dropped(left)


def test_redriven_events_do_not_count() -> None:
    """They are an operator's, who looks at them already."""
    breaker = Breaker(events=4, rejected_share_max=0.5)
    assert not any(breaker.decided(expected(breaker, n), BAD, redriven=True) for n in range(100))
    assert tripped_at(breaker, [BAD, APPLIED, BAD, APPLIED, BAD]) == []


def test_partitions_count_in_the_order_of_reading() -> None:
    breaker = Breaker(events=4, rejected_share_max=0.5)
    events = [breaker.expect(RecordPosition("in", n % 2, n // 2)) for n in range(4)]
    assert [breaker.decided(events[n], BAD) for n in (3, 1, 2)] == [False, False, False]
    assert breaker.decided(events[0], APPLIED)
    assert breaker.tripped is not None
    assert (breaker.tripped.first, breaker.tripped.last) == (RecordPosition("in", 0, 0), RecordPosition("in", 1, 1))


def test_opening_of_the_group_stops_the_count() -> None:
    """What is read or decided while it is open is not counted, and the next window begins empty."""
    breaker = Breaker(events=4, rejected_share_max=0.5)
    assert tripped_at(breaker, [BAD, BAD]) == []
    under_way = expected(breaker, 3)
    breaker.follow(an_opening())
    assert (breaker.is_open, breaker.openings, breaker.unrecorded.is_set()) == (True, 1, False)
    assert tripped_at(breaker, [BAD] * 10) == []
    breaker.follow(None)
    assert not breaker.is_open
    assert not breaker.decided(under_way, BAD)
    assert tripped_at(breaker, [BAD, BAD, BAD]) == []
    assert tripped_at(breaker, [BAD]) == [1]
    assert (breaker.openings, breaker.unrecorded.is_set()) == (2, True)


def test_own_opening_is_open_until_the_row_is_closed() -> None:
    """The row may be another's, which was faster; a second row that follows at once is the same standby."""
    breaker = Breaker(events=1, rejected_share_max=0.5)
    waiting = expected(breaker, 0)
    assert breaker.decided(waiting, BAD)
    breaker.follow(an_opening(breaker.tripped))
    breaker.follow(an_opening())
    assert (breaker.is_open, breaker.openings, breaker.unrecorded.is_set()) == (True, 1, False)
    breaker.follow(None)
    assert (breaker.is_open, breaker.tripped, breaker.cause) == (False, None, None)
    assert tripped_at(breaker, [APPLIED, BAD]) == [2]


def test_closed_breaker_of_the_group_keeps_the_window() -> None:
    """It is read every few seconds."""
    breaker = Breaker(events=4, rejected_share_max=0.5)
    for event in [BAD, BAD, BAD]:
        assert tripped_at(breaker, [event]) == []
        breaker.follow(None)
    assert tripped_at(breaker, [BAD]) == [1]


def test_disabled_breaker_follows_the_group() -> None:
    breaker = Breaker(events=0, rejected_share_max=0.5)
    breaker.follow(an_opening())
    assert breaker.is_open
    assert tripped_at(breaker, [BAD] * 10) == []
    breaker.follow(None)
    assert not breaker.is_open
