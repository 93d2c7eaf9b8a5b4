"""Webhooks overtake each other, whole seconds are equal, clocks differ: every order of one deployment's events.

The events of a deployment are few, so each property goes through all of their permutations; what Hypothesis draws are
the events and their times.
"""

from collections.abc import Iterable, Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.types import EventType as E
from tests.unit.rules.release_scenario import Scenario
from worker.rules.state import Applied, Stale

REQUESTED, STARTED, ROLLED_BACK = E.DEPLOYMENT_REQUESTED, E.DEPLOYMENT_STARTED, E.DEPLOYMENT_ROLLED_BACK
ENDS = {E.DEPLOYMENT_SUCCEEDED: "SUCCESS", E.DEPLOYMENT_FAILED: "FAILED", E.DEPLOYMENT_CANCELLED: "CANCELLED"}
SECOND = 1 / 60
SETTINGS = settings(max_examples=60, deadline=None)

Told = tuple[E, float]
"""An event's type and its time in seconds."""

seconds = st.integers(0, 2)
ends = st.sampled_from(list(ENDS))


def story_of(events: Iterable[Told], *, before: Sequence[Told] = (), attempt: int | None = None) -> Scenario:
    """An approved release to which the events happened; each is Applied or Stale, none is an error."""
    scenario = Scenario.of_approved_release()
    for kind, at in before:
        assert isinstance(scenario.add(kind, at=at * SECOND), Applied)
    for kind, at in events:
        assert isinstance(scenario.add(kind, at=at * SECOND, attempt=attempt), Applied | Stale)
    return scenario


@given(gaps=st.tuples(seconds, seconds), end=ends, repeated=st.integers(0, 2))
@SETTINGS
def test_every_order_of_a_deployment_gives_one_ended_attempt(gaps: tuple[int, int], end: E, repeated: int) -> None:
    """Requested, started and ended, at equal seconds or later ones, and one of them notified twice."""
    at = (0, gaps[0], sum(gaps))
    events: list[Told] = [(REQUESTED, at[0]), (STARTED, at[1]), (end, at[2])]
    for order in permutations([*events, events[repeated]]):
        assert story_of(order).statuses() == [ENDS[end]], order


@given(gaps=st.tuples(seconds, seconds), end=ends, repeated=st.integers(0, 2))
@SETTINGS
def test_every_order_of_a_named_attempt_gives_its_end(gaps: tuple[int, int], end: E, repeated: int) -> None:
    """The same of events that say which attempt they mean, where none comes after a later end."""
    at = (0, gaps[0], sum(gaps))
    events: list[Told] = [(REQUESTED, at[0]), (STARTED, at[1]), (end, at[2])]
    for order in permutations([*events, events[repeated]]):
        assert story_of(order, attempt=1).statuses() == [ENDS[end]], order


@given(behind=st.integers(-10, 30), started=st.integers(0, 30), end=ends)
@SETTINGS
def test_end_of_a_slow_clock_ends_the_active_attempt(behind: int, started: int, end: E) -> None:
    """Up to ten seconds before the first event that arrived; whatever arrives after the end changes nothing."""
    running: list[Told] = [(REQUESTED, 0), (STARTED, started)]
    for order in permutations(running):
        first = order[0][1]
        scenario = story_of([order[0], (end, first + behind), *(one for one in order[1:] if one[1] <= first + behind)])
        assert scenario.statuses() == [ENDS[end]], order
        scenario = story_of([*order, (end, first + behind), *running])
        assert scenario.statuses() == [ENDS[end]], order


@given(gaps=st.tuples(seconds, seconds), end=ends, again=ends, gap=st.integers(1, 20))
@SETTINGS
def test_repeats_of_the_previous_attempt_are_stale(gaps: tuple[int, int], end: E, again: E, gap: int) -> None:
    """Notified again, in any order and under other ids, after the next attempt has begun."""
    at = (0, gaps[0], sum(gaps))
    first: list[Told] = [(REQUESTED, at[0]), (STARTED, at[1]), (end, at[2])]
    then = at[2] + gap
    for repeats in permutations([*first, (again, at[2])]):
        scenario = story_of([(STARTED, then), *repeats], before=first)
        assert scenario.statuses() == [ENDS[end], "IN_PROGRESS"], repeats
        scenario = story_of([(STARTED, then), *repeats, (again, then + 1)], before=first)
        assert scenario.statuses() == [ENDS[end], ENDS[again]], repeats


@given(gaps=st.tuples(seconds, seconds))
@SETTINGS
def test_rollback_at_the_time_of_the_success_counts_after_it(gaps: tuple[int, int]) -> None:
    """And a success, a start or a request that is notified after it changes nothing."""
    at = (0, gaps[0], sum(gaps))
    before: list[Told] = [(REQUESTED, at[0]), (STARTED, at[1]), (E.DEPLOYMENT_SUCCEEDED, at[2])]
    for repeats in permutations(before):
        scenario = story_of([(ROLLED_BACK, at[2]), *repeats], before=before)
        assert (scenario.statuses(), scenario.status()) == (["ROLLED_BACK"], "ROLLED_BACK"), repeats


@pytest.mark.parametrize("attempt", [None, 1])
def test_start_after_a_success_of_the_same_second_is_stale(attempt: int | None) -> None:
    """The start was overtaken by its success."""
    scenario = story_of([(E.DEPLOYMENT_SUCCEEDED, 5), (STARTED, 5)], attempt=attempt)
    assert (scenario.statuses(), scenario.status()) == (["SUCCESS"], "DEPLOYED")


def test_slow_clock_does_not_reduce_the_last_event_time() -> None:
    """The success is stamped before the start that it follows; the row keeps the later time, and when it succeeded."""
    scenario = story_of([(STARTED, 5), (E.DEPLOYMENT_SUCCEEDED, 2), (STARTED, 5)])
    row = scenario.attempt(1)
    assert (row.status, row.deployed_at) == ("SUCCESS", row.created_at.replace(second=2))
    assert row.updated_at == row.created_at == row.created_at.replace(second=5)
