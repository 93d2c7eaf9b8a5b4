"""The goals: ratios within one run, each with what was held against what, and whether it is met.

Where a contender runs in several ways, the worker is held against the one that did best, and is itself taken as the
goal's own words allow: one process against one process, the same number of clients against pgbench.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.latency import Latency
from benchmarks.quantiles import ratio
from benchmarks.results import Results
from benchmarks.throughput import Standing

HALF_OF_PLAIN: Final = "half the plain loop's capacity"
TIMES: Final = "×"  # noqa: RUF001 - the sign that is meant
_BYTES_PER_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """`more` says whether more is better; `measured` is None where a side of the comparison is missing."""

    name: str
    unit: str
    at_least: float
    aim: float
    more: bool
    measured: float | None
    basis: str

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        if self._reaches(self.aim):
            return "aim met"
        if self._reaches(self.at_least):
            return "met"
        return f"missed by {abs(self.measured - self.at_least) / self.at_least:.0%}"

    def _reaches(self, bound: float) -> bool:
        if self.measured is None:
            return False
        return self.measured >= bound if self.more else self.measured <= bound


def goals(results: Results) -> tuple[Goal, ...]:
    """Return the issue's six goals, in its order."""
    return (
        _against(results, "against the plain aiokafka + ORM loop", "plain", at_least=5, aim=8, one_process=True),
        _against(results, "against FastStream + ORM", "faststream", at_least=5, aim=8, one_process=True),
        _against(
            results,
            "against parallel-consumer + JDBC",
            "parallel-consumer",
            at_least=0.7,
            aim=1,
            one_process=False,
        ),
        _against_pgbench(results),
        _latency(results),
        _memory(results),
    )


def _ours(results: Results, *, one_process: bool) -> list[Standing]:
    return [
        standing
        for standing in results.standings
        if standing.kind == "worker" and standing.speed and not (one_process and standing.processes > 1)
    ]


def _of(results: Results, kind: str) -> list[Standing]:
    return [standing for standing in results.standings if standing.kind == kind and standing.speed]


def _fastest(standings: Sequence[Standing]) -> Standing:
    return max(standings, key=lambda standing: standing.speed.median if standing.speed else 0.0)


def _ratio(ours: Standing, theirs: Standing) -> float | None:
    return ratio(ours.speed.rounds, theirs.speed.rounds) if ours.speed and theirs.speed else None


def _against(results: Results, name: str, kind: str, *, at_least: float, aim: float, one_process: bool) -> Goal:
    ours, theirs = _ours(results, one_process=one_process), _of(results, kind)
    measured, basis = None, "one side is missing"
    if ours and theirs:
        best, rival = _fastest(ours), _fastest(theirs)
        measured, basis = _ratio(best, rival), f"{best.name} / {rival.name}"
    return Goal(name=name, unit=TIMES, at_least=at_least, aim=aim, more=True, measured=measured, basis=basis)


def _against_pgbench(results: Results) -> Goal:
    found = [
        (_ratio(ours, ceiling), f"{ours.name} / {ceiling.name}")
        for ceiling in _of(results, "pgbench")
        for ours in _ours(results, one_process=True)
        if ours.concurrency == ceiling.concurrency
    ]
    measured, basis = max(found, default=(None, "one side is missing"), key=lambda pair: pair[0] or 0.0)
    return Goal(
        name="against pgbench, same statements and clients, end to end with Kafka",
        unit=TIMES,
        at_least=0.35,
        aim=0.5,
        more=True,
        measured=measured,
        basis=basis,
    )


def _latency(results: Results) -> Goal:
    at_half = [latency for latency in results.latencies if latency.load.why == HALF_OF_PLAIN]
    measured, basis = None, "one side is missing"
    for ours, plain in _pairs(at_half):
        basis = f"{ours.p99_ms:,.1f} ms / {plain.p99_ms:,.1f} ms"
        measured = None if math.isinf(plain.p99_ms) else ours.p99_ms / plain.p99_ms
    return Goal(
        name="p99 latency at half the plain loop's capacity, ours against its",
        unit=TIMES,
        at_least=0.5,
        aim=0.25,
        more=False,
        measured=measured,
        basis=basis,
    )


def _pairs(latencies: Sequence[Latency]) -> Iterator[tuple[Latency, Latency]]:
    for ours in latencies:
        for other in latencies:
            if ours.kind == "worker" and other.kind == "plain":
                yield ours, other


def _memory(results: Results) -> Goal:
    memory = results.memory
    return Goal(
        name="peak memory with a 1,000,000-event backlog",
        unit=" MB",
        at_least=200,
        aim=120,
        more=False,
        measured=memory.rss_peak_bytes / _BYTES_PER_MB if memory else None,
        basis=f"{memory.contender}, a backlog of {memory.backlog_events:,}" if memory else "not measured",
    )
