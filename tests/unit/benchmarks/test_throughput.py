"""The comparison goes on whatever one contender does, and says what it did."""

from typing import Any, cast

import pytest

from benchmarks import throughput
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.lineup import faststream, plain_loop, this_worker
from benchmarks.lap import Costs, Lap
from benchmarks.pgbench import Ceiling
from benchmarks.running import ContenderFailed
from benchmarks.stage import Course, Ground, Stage
from benchmarks.throughput import Standing

COSTS = Costs(contender_us=1, broker_us=2, database_us=3)
FAST, SLOW = (
    Course(topic=topic, partitions=1, events=events, status_records=1, ground=Ground(database="history"), expected=None)
    for topic, events in (("fast", 100), ("slow", 10))
)


class ScriptedStage:
    """What it is told is kept; laps and ceilings are made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.laps: list[tuple[str, str]] = []
        self.failing: tuple[str, ...] = ()
        monkeypatch.setattr(throughput, "run_lap", self._lap)
        monkeypatch.setattr(throughput, "run_pgbench", lambda *_, **__: Ceiling(events_per_second=50, costs=COSTS))

    def say(self, line: str) -> None:
        self.said.append(line)

    def compare(self, *contenders: Contender, rounds: int = 3) -> dict[str, Standing]:
        found = throughput.compare(
            cast("Stage", self), contenders, course=FAST, slow_course=SLOW, rounds=rounds, pgbench_seconds=1
        )
        return {standing.name: standing for standing in found}

    def _lap(self, _: Any, contender: Contender, course: Course) -> Lap:
        self.laps.append((contender.name, course.topic))
        if contender.name in self.failing and len(self.laps) > 2:
            raise ContenderFailed(f"{contender.name}: stands still")
        return Lap(
            contender=contender.name,
            events=course.events,
            events_per_second=len(self.laps),
            costs=COSTS,
            rss_peak_bytes=len(self.laps),
            differences=(),
        )


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> ScriptedStage:
    return ScriptedStage(monkeypatch)


def test_contenders_alternate_within_a_round(stage: ScriptedStage) -> None:
    """Noise that comes and goes must not hit one of them only; the slow get the shorter course."""
    stage.compare(this_worker(concurrency=16), plain_loop(), rounds=2)
    assert stage.laps == [("this worker, 1 x 16", "fast"), ("plain loop", "slow")] * 2


def test_failed_contender_does_not_end_the_others(stage: ScriptedStage) -> None:
    """Half an hour's figures are kept; that it failed makes the whole run fail, since a difference does."""
    stage.failing = ("plain loop",)
    found = stage.compare(this_worker(concurrency=16), plain_loop())
    assert found["this worker, 1 x 16"].speed
    assert found["this worker, 1 x 16"].speed.rounds == (1, 3, 5)
    assert found["plain loop"].speed
    assert found["plain loop"].speed.rounds == (2,)
    assert found["plain loop"].differences == ("plain loop: stands still",) * 2
    assert found["plain loop"].rss_peak_bytes == 2


def test_contender_that_cannot_run_has_no_runs(stage: ScriptedStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = stage.compare(faststream(workers=1))
    assert not stage.laps
    assert found["FastStream, 1 worker"].speed is None
    assert found["FastStream, 1 worker"].missing == "FastStream is not installed"


def test_ceilings_are_measured_in_every_round(stage: ScriptedStage) -> None:
    found = stage.compare(rounds=3)
    assert {name: standing.speed and standing.speed.rounds for name, standing in found.items()} == {
        "pgbench, 16 clients": (50, 50, 50),
        "pgbench, 64 clients": (50, 50, 50),
    }
