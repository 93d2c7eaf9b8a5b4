"""The backoff: never nothing, never more than its bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.backoff import Backoff

BACKOFFS = st.builds(
    Backoff,
    initial_seconds=st.floats(0.001, 10),
    max_seconds=st.floats(10, 3600),
)
FAILURES = st.integers(1, 10_000)
CHANCES = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 5.0), (6, 5.0)])
def test_delay_doubles_up_to_its_maximum(failures: int, seconds: float) -> None:
    """With the least of chances; half of the ceilings 1, 2, 4, 8, 10, 10."""
    backoff = Backoff(initial_seconds=1, max_seconds=10)
    assert backoff.delay_seconds(failures=failures, chance=0) == seconds


@given(backoff=BACKOFFS, failures=FAILURES, chance=CHANCES)
def test_delay_stays_within_its_bounds(backoff: Backoff, failures: int, chance: float) -> None:
    """At least half the first delay, so that nothing spins; at most the maximum, so that nothing sleeps for ever."""
    delay = backoff.delay_seconds(failures=failures, chance=chance)
    assert backoff.initial_seconds / 2 <= delay <= backoff.max_seconds


@given(backoff=BACKOFFS, failures=FAILURES, chance=CHANCES)
def test_further_failure_never_shortens_the_ceiling(backoff: Backoff, failures: int, chance: float) -> None:
    """At one and the same chance."""
    before = backoff.delay_seconds(failures=failures, chance=chance)
    assert backoff.delay_seconds(failures=failures + 1, chance=chance) >= before


@given(backoff=BACKOFFS, failures=FAILURES, chance=CHANCES)
def test_random_delays_spread_over_the_upper_half(backoff: Backoff, failures: int, chance: float) -> None:
    """From half the ceiling to all of it, evenly: workers that failed together come back apart."""
    least = backoff.delay_seconds(failures=failures, chance=0)
    delay = backoff.delay_seconds(failures=failures, chance=chance)
    assert delay == pytest.approx(least * (1 + chance))
