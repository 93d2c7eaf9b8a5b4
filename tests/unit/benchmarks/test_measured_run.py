"""The rate and the cost of a run."""

import pytest

from benchmarks.measured_run import Costs, Samples, Usages, costs, events_per_second
from benchmarks.usage import Usage


def test_first_tenth_of_the_status_records_does_not_count() -> None:
    """Ten records a second for nine seconds; before them, a start that took a minute."""
    times_ms = [0] * 10 + [60_000 + index * 100 for index in range(91)]
    assert events_per_second(times_ms, events=1_000) == pytest.approx(900 / 9)


def test_rate_without_status_records_is_zero() -> None:
    assert events_per_second([], events=10) == 0


def test_rate_within_one_millisecond_is_finite() -> None:
    assert events_per_second([5] * 100, events=100) == pytest.approx(90_000)


def test_cost_covers_events_between_the_two_samples() -> None:
    """A quarter was handled at the first sample: neither its events nor its cost count."""
    samples = object.__new__(Samples)
    samples.warm = 0.25, _usages(contender=5.0, broker=1.0, database=2.0)
    samples.done = 1.0, _usages(contender=8.0, broker=2.5, database=2.0)
    assert costs(samples, events=2_000) == Costs(contender_us=2_000, broker_us=1_000, database_us=0)


def test_short_run_has_no_cost() -> None:
    samples = object.__new__(Samples)
    samples.warm = samples.done = 1.0, _usages(contender=8.0, broker=2.5, database=2.0)
    assert costs(samples, events=2_000) == Costs(contender_us=0, broker_us=0, database_us=0)


def _usages(*, contender: float, broker: float, database: float) -> Usages:
    return Usages(
        contender=Usage(cpu_seconds=contender),
        broker=Usage(cpu_seconds=broker),
        database=Usage(cpu_seconds=database),
    )
