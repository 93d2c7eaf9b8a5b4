"""The comparison goes on whatever one contender does, and says what it did."""

from typing import Any, cast

import pytest

from benchmarks import throughput
from benchmarks.bench import Bench, Template, Workload
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.lineup import faststream, plain_loop, this_worker
from benchmarks.measured_run import Costs, Run
from benchmarks.pgbench import Ceiling
from benchmarks.running import ContenderFailed
from benchmarks.throughput import Standing

COSTS = Costs(contender_us=1, broker_us=2, database_us=3)
FAST, SLOW = (
    Workload(
        topic=topic, partitions=1, events=events, status_records=1, template=Template(database="history"), expected=None
    )
    for topic, events in (("fast", 100), ("slow", 10))
)


class ScriptedBench:
    """Keeps its log; its runs and ceilings are invented."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.text: list[str] = []
        self.runs: list[tuple[str, str]] = []
        self.failing: tuple[str, ...] = ()
        monkeypatch.setattr(throughput, "measure_run", self._measure)
        monkeypatch.setattr(throughput, "run_pgbench", lambda *_, **__: Ceiling(events_per_second=50, costs=COSTS))

    def say(self, line: str) -> None:
        self.text.append(line)

    def compare(self, *contenders: Contender, rounds: int = 3) -> dict[str, Standing]:
        found = throughput.compare(
            cast("Bench", self), contenders, workload=FAST, slow_workload=SLOW, rounds=rounds, pgbench_seconds=1
        )
        return {standing.name: standing for standing in found}

    def _measure(self, _: Any, contender: Contender, workload: Workload) -> Run:
        self.runs.append((contender.name, workload.topic))
        if contender.name in self.failing and len(self.runs) > 2:
            raise ContenderFailed(f"{contender.name}: stands still")
        return Run(
            contender=contender.name,
            events=workload.events,
            events_per_second=len(self.runs),
            costs=COSTS,
            rss_peak_bytes=len(self.runs),
            differences=(),
        )


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ScriptedBench:
    return ScriptedBench(monkeypatch)


def test_contenders_alternate_within_a_round(bench: ScriptedBench) -> None:
    """Noise that comes and goes must not hit one of them only; the slow ones get the shorter workload."""
    bench.compare(this_worker(concurrency=16), plain_loop(), rounds=2)
    assert bench.runs == [("this worker, 1 x 16", "fast"), ("plain loop", "slow")] * 2


def test_failed_contender_does_not_end_the_others(bench: ScriptedBench) -> None:
    """Half an hour's figures are kept; that it failed makes the whole run fail, since a difference does."""
    bench.failing = ("plain loop",)
    found = bench.compare(this_worker(concurrency=16), plain_loop())
    assert found["this worker, 1 x 16"].speed
    assert found["this worker, 1 x 16"].speed.rounds == (1, 3, 5)
    assert found["plain loop"].speed
    assert found["plain loop"].speed.rounds == (2,)
    assert found["plain loop"].differences == ("plain loop: stands still",) * 2
    assert found["plain loop"].rss_peak_bytes == 2


def test_contender_that_cannot_run_has_no_runs(bench: ScriptedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = bench.compare(faststream(workers=1))
    assert not bench.runs
    assert found["FastStream, 1 worker"].speed is None
    assert found["FastStream, 1 worker"].missing == "FastStream is not installed"


def test_ceilings_are_measured_in_every_round(bench: ScriptedBench) -> None:
    found = bench.compare(rounds=3)
    assert {name: standing.speed and standing.speed.rounds for name, standing in found.items()} == {
        "pgbench, 16 clients": (50, 50, 50),
        "pgbench, 64 clients": (50, 50, 50),
    }
