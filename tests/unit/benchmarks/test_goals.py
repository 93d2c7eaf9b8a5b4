"""Whether the goals are met, and against whom."""

import pytest

from benchmarks.goals import HALF_OF_PLAIN, HALF_OF_WORKER, Goal, goals
from benchmarks.measured_run import Costs
from benchmarks.results import Results
from tests.unit.benchmarks.figures import growth, latency, memory, results, standing


def test_goals_without_measurements_are_neither_met_nor_missed() -> None:
    assert [goal.verdict for goal in goals(results())] == ["not measured"] * 12


@pytest.mark.parametrize(("speed", "verdict"), [(2_000, "aim met"), (1_999, "met"), (1_500, "met")])
def test_ratio_is_compared_with_both_bounds(speed: float, verdict: str) -> None:
    """At least 15 times the plain loop, 20 times as the aim."""
    found = _goal(results(standings=(standing("worker", speed), standing("plain", 100))), "plain aiokafka")
    assert (found.measured, found.verdict) == (speed / 100, verdict)


def test_missed_goal_says_by_how_much() -> None:
    found = _goal(results(standings=(standing("worker", 1_200), standing("plain", 100))), "plain aiokafka")
    assert found.verdict == "missed by 20%"


def test_contender_with_several_settings_counts_with_its_best() -> None:
    """It would be easy to win against one that is set up badly."""
    standings = standing("worker", 600), standing("faststream", 100, concurrency=1), standing("faststream", 200)
    assert _goal(results(standings=standings), "FastStream").measured == 3


def test_two_processes_are_not_compared_with_one() -> None:
    standings = standing("worker", 600), standing("worker", 1_000, processes=2), standing("plain", 100)
    assert _goal(results(standings=standings), "plain aiokafka").measured == 6


@pytest.mark.parametrize("rival", ["parallel-consumer", "pgbench"])
def test_worker_may_use_every_core_against_those_that_do(rival: str) -> None:
    standings = (
        standing("worker", 600),
        standing("worker", 1_000, processes=2),
        standing(rival, 1_000),
    )
    assert _goal(results(standings=standings), rival).measured == 1


def test_pgbench_counts_with_sixteen_clients() -> None:
    standings = (
        standing("worker", 900, concurrency=64),
        standing("pgbench", 1_000, concurrency=16),
        standing("pgbench", 2_000, concurrency=64),
    )
    found = _goal(results(standings=standings), "pgbench")
    assert found.measured == pytest.approx(0.9)
    assert found.basis == "worker 1 x 64 / pgbench 1 x 16"


def test_hot_release_is_compared_on_its_own_stream() -> None:
    found = _goal(
        results(
            standings=(standing("worker", 1_000), standing("plain", 100)),
            hot=(standing("worker", 500), standing("plain", 125)),
        ),
        "hot release",
    )
    assert found.measured == 4


def test_cpu_is_compared_with_the_baseline_of_the_run() -> None:
    """Of the fastest on each side; own and database CPU."""
    before = standing("baseline", 1_000, costs=Costs(contender_us=600, broker_us=50, database_us=700))
    now = standing("worker", 2_000, costs=Costs(contender_us=300, broker_us=900, database_us=350))
    thrifty = standing("worker", 500, costs=Costs(contender_us=100, broker_us=1, database_us=100))
    found = _goal(results(standings=(before, now, thrifty)), "CPU per event, before")
    assert found.measured == pytest.approx(2)
    assert found.basis == "1,300 µs, baseline 1 x 16 / 650 µs, worker 1 x 16"


def test_cpu_without_a_baseline_is_compared_with_the_page() -> None:
    now = standing("worker", 2_000, costs=Costs(contender_us=300, broker_us=900, database_us=345))
    found = _goal(results(standings=(now,)), "CPU per event, before")
    assert found.measured == pytest.approx(2)
    assert "docs/benchmarks.md" in found.basis


def test_latency_goals_use_half_the_plain_loops_capacity() -> None:
    latencies = (
        latency("worker", p50_ms=4, p99_ms=20, why=HALF_OF_PLAIN),
        latency("plain", p50_ms=8, p99_ms=100, why=HALF_OF_PLAIN),
        latency("worker", p99_ms=500, why=HALF_OF_WORKER),
    )
    found = [goal.measured for goal in goals(results(latencies=latencies)) if "plain loop's" in goal.name]
    assert found == pytest.approx([0.5, 0.2, 0.2])


def test_own_latency_is_at_half_of_the_workers_capacity() -> None:
    latencies = (
        latency("worker", p99_ms=10, why=HALF_OF_PLAIN),
        latency("worker", p99_ms=25, why=HALF_OF_WORKER),
    )
    found = _goal(results(latencies=latencies), "50 % of its own")
    assert (found.measured, found.verdict) == (25, "met")


def test_plain_loop_without_answers_is_not_compared() -> None:
    latencies = (
        latency("worker", p99_ms=20, why=HALF_OF_PLAIN),
        latency("plain", p99_ms=float("inf"), why=HALF_OF_PLAIN),
    )
    assert _goal(results(latencies=latencies), "p99 latency at half").verdict == "not measured"


@pytest.mark.parametrize(("peak_mb", "verdict"), [(90, "aim met"), (120, "met"), (150, "missed by 25%")])
def test_less_memory_is_better(peak_mb: float, verdict: str) -> None:
    assert _goal(results(memory=memory(peak_mb=peak_mb)), "memory").verdict == verdict


@pytest.mark.parametrize(("large_us", "verdict"), [(330, "aim met"), (390, "met"), (585, "missed by 50%")])
def test_large_log_is_compared_with_empty_tables(large_us: float, verdict: str) -> None:
    assert _goal(results(growth=growth(empty_us=300, large_us=large_us)), "log entries").verdict == verdict


def _goal(of: Results, words: str) -> Goal:
    [found] = [goal for goal in goals(of) if words in goal.name]
    return found
