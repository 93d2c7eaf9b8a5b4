"""The run: which measurements, in which order, and what one hands to the next."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, assert_never

from benchmarks.bench import Bench, Template, Workload
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.lineup import CONCURRENCIES, CONCURRENCY, baseline, lineup, plain_loop, this_worker
from benchmarks.databases import BenchmarkDatabase, Postgres
from benchmarks.goals import HALF_OF_PLAIN, HALF_OF_WORKER
from benchmarks.growth import Growth, measure_growth
from benchmarks.latency import WARM_UP_EVENTS, Latency, LatencyRun, Load, latency_of, measure_latency
from benchmarks.machine import this_machine
from benchmarks.measured_run import measure_run, measure_run_in
from benchmarks.memory import Memory, measure_memory
from benchmarks.results import Results
from benchmarks.scaling import against_partitions, against_skew
from benchmarks.servers import kafka_description
from benchmarks.sizes import Sizes
from benchmarks.stream import Traffic, records
from benchmarks.throughput import Standing, compare
from tests.conformance.producers import ToSend

Measurement = Literal["throughput", "hot", "latency", "memory", "partitions", "skew", "growth"]
MEASUREMENTS: Final[tuple[Measurement, ...]] = (
    "throughput",
    "hot",
    "latency",
    "partitions",
    "skew",
    "memory",
    "growth",
)
LOAD_SHARE_MAX: Final = 0.25
ON_EVERY_DATABASE: Final = frozenset({"worker", "plain", "faststream"})


class WrongHistory(Exception):
    """This worker itself did not do what the contract says; there is nothing to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacities:
    """Events per second that were measured."""

    worker: float
    plain: float


def run(
    wanted: tuple[Measurement, ...],
    sizes: Sizes,
    *,
    command: str,
    concurrency: int,
    say: Callable[[str], None],
    database: Callable[[], BenchmarkDatabase] = Postgres,
    checkout: Path | None = None,
    rate: float | None = None,
) -> Iterator[Results]:
    """Run the chosen measurements on one bench, and yield all results after each measurement.

    `concurrency` is the worker's, wherever it runs alone. `checkout`: the working tree of the commit to compare with.
    `rate`: events per second of the latencies that are compared; default: half of the plain loop's capacity.

    Raises:
        ContenderFailed, WrongHistory: one that everything else rests on failed.
        ServerFailed, PgbenchFailed, TopicsFailed: a server did.
    """
    began_at_seconds, machine = time.monotonic(), this_machine()
    if machine.load > machine.cores * LOAD_SHARE_MAX:
        say(f"others are at work on this machine (load {machine.load}): figures and ratios will be off")
    worker = this_worker(concurrency=concurrency)
    with Bench(say=say, database=database) as bench:
        say("the servers run; making the history" if bench.database.keeps_history else "the servers run")
        template, baseline_template = bench.empty, None
        if bench.database.keeps_history:
            history = _history(bench, sizes)
            template = _template(bench, worker, history)
            if checkout is not None:
                empty = replace(history, template=bench.empty_of(checkout))
                baseline_template = _template(bench, baseline(checkout)[0], empty)
        results = Results(
            command=command,
            seconds=0.0,
            machine=machine,
            broker=kafka_description(),
            database=bench.database.description,
            sizes=sizes,
        )
        for measurement in wanted:
            match measurement:
                case "throughput":
                    everyone = (*_everyone(bench), *(baseline(checkout) if checkout else ()))
                    found_standings = _throughput(bench, everyone, sizes, template, baseline_template)
                    results = replace(results, standings=found_standings)
                case "hot":
                    results = replace(results, hot=_hot(bench, sizes))
                case "latency":
                    capacities = _capacities(bench, worker, sizes, template, results.standings, rate)
                    latencies = _latencies(bench, worker, sizes, template, capacities)
                    results = replace(results, latencies=latencies)
                case "memory":
                    results = replace(results, memory=_memory(bench, worker, sizes))
                case "partitions":
                    found = against_partitions(bench, worker, sizes, template=template, after=sizes.history_events)
                    results = replace(results, scalings=results.scalings + found)
                case "skew":
                    results = replace(results, scalings=results.scalings + against_skew(bench, worker, sizes))
                case "growth":
                    results = replace(results, growth=_growth(bench, worker, sizes, template))
                case _:
                    assert_never(measurement)
            results = replace(results, seconds=time.monotonic() - began_at_seconds)
            yield results


def _traffic(sizes: Sizes) -> Traffic:
    return Traffic(releases_active=sizes.releases_active)


def make_history(bench: Bench, worker: Contender, sizes: Sizes) -> Template:
    """The template of the runs, made by this worker and recounted. Raises WrongHistory."""
    return _template(bench, worker, _history(bench, sizes))


def _history(bench: Bench, sizes: Sizes) -> Workload:
    return bench.workload(itertools.islice(records(_traffic(sizes)), sizes.history_events), template=bench.empty)


def stream_after(sizes: Sizes, template: Template) -> Iterator[ToSend]:
    """What follows on the history, where there is one."""
    return itertools.islice(records(_traffic(sizes)), len(template.records), None)


def _template(bench: Bench, worker: Contender, workload: Workload) -> Template:
    """The history, made by this worker and recounted. It also warms up the broker, which is a JVM."""
    resources = bench.resources(workload)
    run, seen = measure_run_in(bench, worker, workload, resources)
    if run.differences:
        raise WrongHistory("\n".join(run.differences))
    return bench.keep_as_template(workload, resources, seen)


def _courses(bench: Bench, sizes: Sizes, template: Template) -> tuple[Workload, Workload]:
    return (
        bench.workload(itertools.islice(stream_after(sizes, template), sizes.events), template=template),
        bench.workload(itertools.islice(stream_after(sizes, template), sizes.slow_events), template=template),
    )


def _throughput(
    bench: Bench,
    everyone: Iterable[Contender],
    sizes: Sizes,
    template: Template,
    baseline_template: Template | None,
) -> tuple[Standing, ...]:
    workload, slow_workload = _courses(bench, sizes, template)
    return compare(
        bench,
        [contender for contender in everyone if not sizes.quick or _is_typical(contender)],
        workload=workload,
        slow_workload=slow_workload,
        rounds=sizes.rounds,
        pgbench_seconds=sizes.pgbench_seconds if isinstance(bench.database, Postgres) else None,
        baseline_template=baseline_template,
    )


def _hot(bench: Bench, sizes: Sizes) -> tuple[Standing, ...]:
    """All events are of one release. What is measured is how fast the events of one release can follow each other."""
    traffic = Traffic(skew="single", releases_active=1)
    stream = list(itertools.islice(records(traffic), max(sizes.scaling_events, sizes.slow_events)))
    return compare(
        bench,
        [*(this_worker(concurrency=concurrency) for concurrency in sorted({16, CONCURRENCY})), plain_loop()],
        workload=bench.workload(stream[: sizes.scaling_events], template=bench.empty),
        slow_workload=bench.workload(stream[: sizes.slow_events], template=bench.empty),
        rounds=sizes.rounds,
        pgbench_seconds=None,
    )


def _everyone(bench: Bench) -> tuple[Contender, ...]:
    """Without a Java contender and the bare broker where the database is not PostgreSQL, whose statements they have."""
    if isinstance(bench.database, Postgres):
        return lineup()
    return tuple(each for each in lineup() if each.kind in ON_EVERY_DATABASE and each.concurrency != CONCURRENCIES[-1])


def _growth(bench: Bench, worker: Contender, sizes: Sizes, template: Template) -> Growth:
    return measure_growth(bench, worker, sizes, history=template)


def _memory(bench: Bench, worker: Contender, sizes: Sizes) -> Memory:
    bench.say(f"memory: a backlog of {sizes.backlog_events:,} events")
    backlog = itertools.islice(records(_traffic(sizes)), sizes.backlog_events)
    return measure_memory(bench, worker, bench.workload(backlog, template=bench.empty, checked=False))


def _is_typical(contender: Contender) -> bool:
    """Whether a quick look needs it: one of each kind, and the worker once with more processes."""
    typical = CONCURRENCIES[1]
    if contender.kind == "worker":
        return contender.concurrency in {typical, CONCURRENCY}
    return contender.concurrency in {None, typical}


def _capacities(
    bench: Bench,
    worker: Contender,
    sizes: Sizes,
    template: Template,
    standings: tuple[Standing, ...],
    rate: float | None,
) -> Capacities:
    """From the comparison, or measured now where there was none. With a `rate`, the plain loop's is twice that."""
    known = {standing.name: standing.speed.median for standing in standings if standing.speed}
    plain = plain_loop()
    if rate is not None:
        known[plain.name] = 2 * rate
    if worker.name in known and plain.name in known:
        return Capacities(worker=known[worker.name], plain=known[plain.name])
    workload, slow_workload = _courses(bench, sizes, template)
    bench.say("measuring the capacities that latency is a share of")
    return Capacities(
        worker=measure_run(bench, worker, workload).events_per_second,
        plain=known.get(plain.name) or measure_run(bench, plain, slow_workload).events_per_second,
    )


def _latencies(
    bench: Bench,
    worker: Contender,
    sizes: Sizes,
    template: Template,
    capacities: Capacities,
) -> tuple[Latency, ...]:
    """The loads take turns, round after round, so that what disturbs one disturbs all."""
    plain = plain_loop()
    loads = [(each, capacities.plain / 2, HALF_OF_PLAIN) for each in (worker, plain)]
    loads.append((worker, capacities.worker / 2, HALF_OF_WORKER))
    runs: list[list[LatencyRun]] = [[] for _ in loads]
    for number in range(1, sizes.rounds + 1):
        for (contender, events_per_second, why), found in zip(loads, runs, strict=True):
            load = Load(events_per_second=events_per_second, seconds=sizes.latency_seconds, why=why)
            bench.say(
                f"round {number} of {sizes.rounds}: latency, {contender.name} at {events_per_second:,.0f} events/s, "
                f"{why}"
            )
            stream = list(itertools.islice(stream_after(sizes, template), load.events + WARM_UP_EVENTS))
            found.append(measure_latency(bench, contender, load, records=stream, template=template))
            latency = latency_of(contender, load, found[-1:])
            bench.say(
                f"    p50 {latency.p50_ms:,.1f} ms, p99 {latency.p99_ms:,.1f} ms, p99.9 {latency.p999_ms:,.1f} ms, "
                f"unanswered {latency.lost}"
            )
    return tuple(
        latency_of(contender, Load(events_per_second=events_per_second, seconds=sizes.latency_seconds, why=why), found)
        for (contender, events_per_second, why), found in zip(loads, runs, strict=True)
    )
