"""The comparison: every contender over the same events, round after round, so that what disturbs one disturbs all."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from benchmarks.bench import Bench, Template, Workload
from benchmarks.contenders.contender import Contender
from benchmarks.measured_run import Costs, measure_run
from benchmarks.pgbench import run_pgbench
from benchmarks.quantiles import Spread, spread
from benchmarks.running import ContenderFailed

CLIENTS: Final = (16, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one contender did over all rounds. `speed` is in events per second; None where it could not be run."""

    name: str
    kind: str
    does: str
    processes: int
    concurrency: int | None
    events: int
    speed: Spread | None
    costs: Costs | None
    rss_peak_bytes: int
    differences: tuple[str, ...]
    missing: str | None = None


@dataclass(slots=True)
class _Tally:
    speeds: list[float] = field(default_factory=list)
    costs: list[Costs] = field(default_factory=list)
    rss_peak_bytes: int = 0
    differences: list[str] = field(default_factory=list)
    events: int = 0


def compare(
    bench: Bench,
    contenders: Iterable[Contender],
    *,
    workload: Workload,
    slow_workload: Workload,
    rounds: int,
    pgbench_seconds: int | None,
    baseline_template: Template | None = None,
) -> tuple[Standing, ...]:
    """What a contender did wrongly stands in its standing, as does that it did not get to the end. Without
    `pgbench_seconds` there is no ceiling. A baseline has a template of its own, with the same contents.
    """
    everyone = tuple(contenders)
    tallies = {contender.name: _Tally() for contender in everyone}
    ceilings = {clients: _Tally() for clients in (CLIENTS if pgbench_seconds is not None else ())}
    for number in range(1, rounds + 1):
        for contender in everyone:
            if contender.missing is None:
                bench.say(f"round {number} of {rounds}: {contender.name}")
                chosen = slow_workload if contender.slow else workload
                if contender.kind == "baseline" and baseline_template is not None:
                    chosen = replace(chosen, template=baseline_template)
                _measure(bench, contender, chosen, tallies[contender.name])
        for clients, tally in ceilings.items():
            bench.say(f"round {number} of {rounds}: pgbench, {clients} clients")
            ceiling = run_pgbench(bench, workload.template, clients=clients, seconds=pgbench_seconds or 0)
            tally.speeds.append(ceiling.events_per_second)
            tally.costs.append(ceiling.costs)
    return (
        *(_standing(contender, tallies[contender.name]) for contender in everyone),
        *(_ceiling(clients, tally) for clients, tally in ceilings.items()),
    )


def _measure(bench: Bench, contender: Contender, workload: Workload, tally: _Tally) -> None:
    try:
        run = measure_run(bench, contender, workload)
    except ContenderFailed as failure:  # the others go on; the run has failed all the same
        bench.say(f"    FAILED: {failure}")
        tally.differences.append(str(failure))
        return
    tally.events = run.events
    tally.speeds.append(run.events_per_second)
    tally.costs.append(run.costs)
    tally.rss_peak_bytes = max(tally.rss_peak_bytes, run.rss_peak_bytes)
    tally.differences += run.differences
    costs = run.costs
    bench.say(
        f"    {run.events_per_second:,.0f} events/s; per event {costs.contender_us:,.0f} µs, broker "
        f"{costs.broker_us:,.0f} µs, database {costs.database_us:,.0f} µs"
        + (f"; WRONG: {run.differences[0]}" if run.differences else "")
    )


def _standing(contender: Contender, tally: _Tally) -> Standing:
    return Standing(
        name=contender.name,
        kind=contender.kind,
        does=contender.does,
        processes=contender.processes,
        concurrency=contender.concurrency,
        events=tally.events,
        speed=spread(tally.speeds) if tally.speeds else None,
        costs=_middle(tally.costs),
        rss_peak_bytes=tally.rss_peak_bytes,
        differences=tuple(tally.differences),
        missing=contender.missing,
    )


def _ceiling(clients: int, tally: _Tally) -> Standing:
    return Standing(
        name=f"pgbench, {clients} clients",
        kind="pgbench",
        does=f"`pgbench -M prepared -c {clients}` running the statements of one event, and nothing else",
        processes=1,
        concurrency=clients,
        events=0,
        speed=spread(tally.speeds),
        costs=_middle(tally.costs),
        rss_peak_bytes=0,
        differences=(),
    )


def _middle(costs: list[Costs]) -> Costs | None:
    if not costs:
        return None

    def median(of: Callable[[Costs], float]) -> float:
        return spread([of(each) for each in costs]).median

    return Costs(
        contender_us=median(lambda each: each.contender_us),
        broker_us=median(lambda each: each.broker_us),
        database_us=median(lambda each: each.database_us),
    )
