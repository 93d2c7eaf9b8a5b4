"""The goals: ratios within one run, each with what was held against what, and whether it is met.

Of a contender that runs in several ways, the best one counts. One process is held against one process, but against
pgbench and a JVM, which use each core: there the worker may have several.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.latency import Latency
from benchmarks.quantiles import ratio
from benchmarks.results import Results
from benchmarks.throughput import Standing

HALF_OF_PLAIN: Final = "half the plain loop's capacity"
HALF_OF_WORKER: Final = "50% of its capacity"
TIMES: Final = "×"  # noqa: RUF001 - the sign that is meant
BASELINE_CPU_US: Final = 1_290
"""Own and database CPU per event before issue 15, as docs/benchmarks.md has it: where no `--baseline` runs beside."""

_PGBENCH_CLIENTS: Final = 16
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
    """Return the goals of issue 15, in its order."""
    return (
        _against_pgbench(results),
        _against(results, "against the plain aiokafka + ORM loop", "plain", at_least=15, aim=20, one_process=True),
        _against(results, "against FastStream + ORM", "faststream", at_least=12, aim=16, one_process=True),
        _against(
            results,
            "against parallel-consumer + JDBC",
            "parallel-consumer",
            at_least=1.8,
            aim=2.2,
            one_process=False,
        ),
        _hot(results),
        _cpu(results),
        _latency(results, "p50", lambda latency: latency.p50_ms, at_least=0.6, aim=0.4),
        _latency(results, "p99", lambda latency: latency.p99_ms, at_least=0.7, aim=0.5),
        _latency(results, "p99.9", lambda latency: latency.p999_ms, at_least=0.9, aim=0.5),
        _own_latency(results),
        _memory(results),
        _growth(results),
    )


def _workers(standings: Sequence[Standing], *, one_process: bool) -> list[Standing]:
    return [one for one in _of(standings, "worker") if not (one_process and one.processes > 1)]


def _of(standings: Sequence[Standing], kind: str) -> list[Standing]:
    return [standing for standing in standings if standing.kind == kind and standing.speed]


def _fastest(standings: Sequence[Standing]) -> Standing:
    return max(standings, key=lambda standing: standing.speed.median if standing.speed else 0.0)


def _ratio(ours: Standing, theirs: Standing) -> float | None:
    return ratio(ours.speed.rounds, theirs.speed.rounds) if ours.speed and theirs.speed else None


def _compared(ours: Sequence[Standing], theirs: Sequence[Standing]) -> tuple[float | None, str]:
    """The fastest of both sides."""
    if not ours or not theirs:
        return None, "one side is missing"
    best, rival = _fastest(ours), _fastest(theirs)
    return _ratio(best, rival), f"{best.name} / {rival.name}"


def _against(results: Results, name: str, kind: str, *, at_least: float, aim: float, one_process: bool) -> Goal:
    ours, theirs = _workers(results.standings, one_process=one_process), _of(results.standings, kind)
    measured, basis = _compared(ours, theirs)
    return Goal(name=name, unit=TIMES, at_least=at_least, aim=aim, more=True, measured=measured, basis=basis)


def _against_pgbench(results: Results) -> Goal:
    theirs = [one for one in _of(results.standings, "pgbench") if one.concurrency == _PGBENCH_CLIENTS]
    measured, basis = _compared(_workers(results.standings, one_process=False), theirs)
    return Goal(
        name="against pgbench with the statements of one event, 16 clients; end to end with Kafka",
        unit=TIMES,
        at_least=0.85,
        aim=1.1,
        more=True,
        measured=measured,
        basis=basis,
    )


def _hot(results: Results) -> Goal:
    measured, basis = _compared(_workers(results.hot, one_process=True), _of(results.hot, "plain"))
    return Goal(
        name="one hot release, against the plain loop on the same stream",
        unit=TIMES,
        at_least=10,
        aim=20,
        more=True,
        measured=measured,
        basis=basis,
    )


def _cpu(results: Results) -> Goal:
    """One process on both sides; of each the fastest, not the thriftiest."""
    ours = _workers(results.standings, one_process=True)
    theirs = _of(results.standings, "baseline")
    measured, basis = None, "one side is missing"
    if ours and (cost_us := _own_and_database_us(_fastest(ours))):
        before_us = _own_and_database_us(_fastest(theirs)) if theirs else BASELINE_CPU_US
        before = _fastest(theirs).name if theirs else "the figure of docs/benchmarks.md"
        measured, basis = (
            before_us / cost_us,
            f"{before_us:,.0f} µs, {before} / {cost_us:,.0f} µs, {_fastest(ours).name}",
        )
    return Goal(
        name="own and database CPU per event, before against now",
        unit=TIMES,
        at_least=1.8,
        aim=2.3,
        more=True,
        measured=measured,
        basis=basis,
    )


def _own_and_database_us(standing: Standing) -> float:
    return standing.costs.contender_us + standing.costs.database_us if standing.costs else 0.0


def _latency(results: Results, name: str, of: Callable[[Latency], float], *, at_least: float, aim: float) -> Goal:
    at_half = [latency for latency in results.latencies if latency.load.why == HALF_OF_PLAIN]
    measured, basis = None, "one side is missing"
    for ours, plain in _pairs(at_half):
        basis = f"{of(ours):,.1f} ms / {of(plain):,.1f} ms at {ours.load.events_per_second:,.0f} events/s"
        measured = None if math.isinf(of(plain)) else of(ours) / of(plain)
    return Goal(
        name=f"{name} latency at half the plain loop's capacity, ours against its",
        unit=TIMES,
        at_least=at_least,
        aim=aim,
        more=False,
        measured=measured,
        basis=basis,
    )


def _pairs(latencies: Sequence[Latency]) -> Iterator[tuple[Latency, Latency]]:
    for ours in latencies:
        for other in latencies:
            if ours.kind == "worker" and other.kind == "plain":
                yield ours, other


def _own_latency(results: Results) -> Goal:
    measured, basis = None, "not measured"
    for latency in results.latencies:
        if latency.kind == "worker" and latency.load.why == HALF_OF_WORKER:
            measured, basis = latency.p99_ms, f"{latency.load.events_per_second:,.0f} events/s, {latency.contender}"
    return Goal(
        name="p99 latency at 50 % of its own capacity",
        unit=" ms",
        at_least=30,
        aim=20,
        more=False,
        measured=measured,
        basis=basis,
    )


def _memory(results: Results) -> Goal:
    memory = results.memory
    return Goal(
        name="peak memory with a 1,000,000-event backlog",
        unit=" MB",
        at_least=120,
        aim=90,
        more=False,
        measured=memory.rss_peak_bytes / _BYTES_PER_MB if memory else None,
        basis=f"{memory.contender}, a backlog of {memory.backlog_events:,}" if memory else "not measured",
    )


def _growth(results: Results) -> Goal:
    growth = results.growth
    return Goal(
        name="database CPU per event at 10,000,000 log entries against empty tables",
        unit=TIMES,
        at_least=1.3,
        aim=1.1,
        more=False,
        measured=ratio(growth.large_us.rounds, growth.empty_us.rounds) if growth else None,
        basis=f"{growth.large_us.median:,.0f} µs at {growth.log_entries:,} entries / {growth.empty_us.median:,.0f} µs"
        if growth
        else "not measured",
    )
