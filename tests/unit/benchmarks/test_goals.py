"""Whether the goals are met, and against whom."""

import pytest

from benchmarks.goals import HALF_OF_PLAIN, Goal, goals
from benchmarks.results import Results
from tests.unit.benchmarks.figures import latency, memory, results, standing


def test_goals_without_measurements_are_neither_met_nor_missed() -> None:
    assert [goal.verdict for goal in goals(results())] == ["not measured"] * 6


@pytest.mark.parametrize(("speed", "verdict"), [(800, "aim met"), (799, "met"), (500, "met"), (400, "missed by 20%")])
def test_ratio_is_compared_with_both_bounds(speed: float, verdict: str) -> None:
    """At least 5 times the plain loop, 8 times as the aim; a miss says by how much."""
    found = _goal(results(standings=(standing("worker", speed), standing("plain", 100))), "plain")
    assert (found.measured, found.verdict) == (speed / 100, verdict)


def test_contender_with_several_settings_counts_with_its_best() -> None:
    """It would be easy to win against one that is set up badly."""
    standings = standing("worker", 600), standing("faststream", 100, concurrency=1), standing("faststream", 200)
    assert _goal(results(standings=standings), "FastStream").measured == 3


def test_two_processes_are_not_compared_with_one() -> None:
    standings = standing("worker", 600), standing("worker", 1_000, processes=2), standing("plain", 100)
    assert _goal(results(standings=standings), "plain").measured == 6


def test_worker_may_use_every_core_against_the_jvm() -> None:
    standings = (
        standing("worker", 600),
        standing("worker", 1_000, processes=2),
        standing("parallel-consumer", 1_000),
    )
    assert _goal(results(standings=standings), "parallel-consumer").verdict == "aim met"


def test_pgbench_is_compared_at_the_same_number_of_clients() -> None:
    """64 lanes against 16 clients would be no comparison; of those that are one, the best counts."""
    standings = (
        standing("worker", 300, concurrency=16),
        standing("worker", 900, concurrency=64),
        standing("pgbench", 1_000, concurrency=16),
        standing("pgbench", 2_000, concurrency=64),
    )
    found = _goal(results(standings=standings), "pgbench")
    assert found.measured == pytest.approx(0.45)
    assert found.basis == "worker 1 x 64 / pgbench 1 x 64"


def test_latency_goal_uses_half_the_plain_loops_capacity() -> None:
    latencies = (
        latency("worker", p99_ms=20, why=HALF_OF_PLAIN),
        latency("plain", p99_ms=100, why=HALF_OF_PLAIN),
        latency("worker", p99_ms=500, why="90% of its capacity"),
    )
    found = _goal(results(latencies=latencies), "p99")
    assert found.measured == pytest.approx(0.2)
    assert found.verdict == "aim met"


def test_plain_loop_without_answers_is_not_compared() -> None:
    latencies = (
        latency("worker", p99_ms=20, why=HALF_OF_PLAIN),
        latency("plain", p99_ms=float("inf"), why=HALF_OF_PLAIN),
    )
    assert _goal(results(latencies=latencies), "p99").verdict == "not measured"


@pytest.mark.parametrize(("peak_mb", "verdict"), [(119, "aim met"), (130, "met"), (250, "missed by 25%")])
def test_less_memory_is_better(peak_mb: float, verdict: str) -> None:
    assert _goal(results(memory=memory(peak_mb=peak_mb)), "memory").verdict == verdict


def _goal(of: Results, word: str) -> Goal:
    [found] = [goal for goal in goals(of) if word in goal.name and ("p99" in word or "p99" not in goal.name)]
    return found
