"""The run: which measurements, in which order, and what one hands to the next."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, assert_never

from benchmarks.contenders.contender import Contender
from benchmarks.contenders.lineup import CONCURRENCIES, lineup, plain_loop, this_worker
from benchmarks.databases import BenchmarkDatabase, Postgres
from benchmarks.goals import HALF_OF_PLAIN
from benchmarks.lap import run_at, run_lap
from benchmarks.latency import WARM_UP_EVENTS, Latency, Load, measure_latency
from benchmarks.machine import this_machine
from benchmarks.memory import Memory, measure_memory
from benchmarks.results import Results
from benchmarks.scaling import against_partitions, against_skew
from benchmarks.servers import kafka_description
from benchmarks.sizes import Sizes
from benchmarks.stage import Course, Ground, Stage
from benchmarks.stream import Traffic, records
from benchmarks.throughput import Standing, compare
from tests.conformance.producers import ToSend

Measurement = Literal["throughput", "latency", "memory", "partitions", "skew"]
MEASUREMENTS: Final[tuple[Measurement, ...]] = ("throughput", "latency", "partitions", "skew", "memory")
SHARES: Final = (0.1, 0.5, 0.9)
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
) -> Iterator[Results]:
    """Run what is wanted on one stage, and yield all that is known after each measurement.

    `concurrency` is the worker's, wherever it runs alone.

    Raises:
        ContenderFailed, WrongHistory: one that everything else rests on failed.
        ServerFailed, PgbenchFailed, TopicsFailed: a server did.
    """
    began_at_seconds, machine = time.monotonic(), this_machine()
    if machine.load > machine.cores * LOAD_SHARE_MAX:
        say(f"others are at work on this machine (load {machine.load}): figures and ratios will be off")
    worker = this_worker(concurrency=concurrency)
    with Stage(say=say, database=database) as stage:
        say("the servers run; making the history" if stage.database.keeps_history else "the servers run")
        ground = _ground(stage, worker, sizes) if stage.database.keeps_history else stage.empty
        results = Results(
            command=command,
            seconds=0.0,
            machine=machine,
            broker=kafka_description(),
            database=stage.database.description,
            sizes=sizes,
        )
        for measurement in wanted:
            match measurement:
                case "throughput":
                    results = replace(results, standings=_throughput(stage, sizes, ground))
                case "latency":
                    capacities = _capacities(stage, worker, sizes, ground, results.standings)
                    results = replace(results, latencies=tuple(_latencies(stage, worker, sizes, ground, capacities)))
                case "memory":
                    results = replace(results, memory=_memory(stage, worker, sizes))
                case "partitions":
                    found = against_partitions(stage, worker, sizes, ground=ground, after=sizes.history_events)
                    results = replace(results, scalings=results.scalings + found)
                case "skew":
                    results = replace(results, scalings=results.scalings + against_skew(stage, worker, sizes))
                case _:
                    assert_never(measurement)
            results = replace(results, seconds=time.monotonic() - began_at_seconds)
            yield results


def _traffic(sizes: Sizes) -> Traffic:
    return Traffic(releases_active=sizes.releases_active)


def _stream(sizes: Sizes, ground: Ground) -> Iterator[ToSend]:
    """What follows on the history, where there is one."""
    return itertools.islice(records(_traffic(sizes)), len(ground.records), None)


def _ground(stage: Stage, worker: Contender, sizes: Sizes) -> Ground:
    """The history, made by this worker and recounted. It also warms up the broker, which is a JVM."""
    course = stage.course(itertools.islice(records(_traffic(sizes)), sizes.history_events), ground=stage.empty)
    place = stage.place(course)
    lap, seen = run_at(stage, worker, course, place)
    if lap.differences:
        raise WrongHistory("\n".join(lap.differences))
    return stage.keep_as_ground(course, place, seen)


def _courses(stage: Stage, sizes: Sizes, ground: Ground) -> tuple[Course, Course]:
    return (
        stage.course(itertools.islice(_stream(sizes, ground), sizes.events), ground=ground),
        stage.course(itertools.islice(_stream(sizes, ground), sizes.slow_events), ground=ground),
    )


def _throughput(stage: Stage, sizes: Sizes, ground: Ground) -> tuple[Standing, ...]:
    course, slow_course = _courses(stage, sizes, ground)
    return compare(
        stage,
        [contender for contender in _everyone(stage) if not sizes.quick or _is_typical(contender)],
        course=course,
        slow_course=slow_course,
        rounds=sizes.rounds,
        pgbench_seconds=sizes.pgbench_seconds if isinstance(stage.database, Postgres) else None,
    )


def _everyone(stage: Stage) -> tuple[Contender, ...]:
    """Without a Java contender and the bare broker where the database is not PostgreSQL, whose statements they have."""
    if isinstance(stage.database, Postgres):
        return lineup()
    return tuple(each for each in lineup() if each.kind in ON_EVERY_DATABASE and each.concurrency != CONCURRENCIES[-1])


def _memory(stage: Stage, worker: Contender, sizes: Sizes) -> Memory:
    stage.say(f"memory: a backlog of {sizes.backlog_events:,} events")
    backlog = itertools.islice(records(_traffic(sizes)), sizes.backlog_events)
    return measure_memory(stage, worker, stage.course(backlog, ground=stage.empty, checked=False))


def _is_typical(contender: Contender) -> bool:
    """Whether a quick look needs it: one of each kind, and the worker once with more processes."""
    typical = CONCURRENCIES[1]
    if contender.kind == "worker":
        return contender.concurrency == typical
    return contender.concurrency in {None, typical}


def _capacities(
    stage: Stage, worker: Contender, sizes: Sizes, ground: Ground, standings: tuple[Standing, ...]
) -> Capacities:
    """From the comparison, or measured now where there was none."""
    known = {standing.name: standing.speed.median for standing in standings if standing.speed}
    plain = plain_loop()
    if worker.name in known and plain.name in known:
        return Capacities(worker=known[worker.name], plain=known[plain.name])
    course, slow_course = _courses(stage, sizes, ground)
    stage.say("measuring the capacities that latency is a share of")
    return Capacities(
        worker=run_lap(stage, worker, course).events_per_second,
        plain=run_lap(stage, plain, slow_course).events_per_second,
    )


def _latencies(
    stage: Stage, worker: Contender, sizes: Sizes, ground: Ground, capacities: Capacities
) -> Iterator[Latency]:
    shares = SHARES[1:2] if sizes.quick else SHARES
    loads = [(worker, capacities.worker * share, f"{share:.0%} of its capacity") for share in shares]
    loads += [(each, capacities.plain / 2, HALF_OF_PLAIN) for each in (worker, plain_loop())]
    for contender, rate, why in loads:
        load = Load(events_per_second=rate, seconds=sizes.latency_seconds, why=why)
        stage.say(f"latency: {contender.name} at {rate:,.0f} events/s, {why}")
        stream = list(itertools.islice(_stream(sizes, ground), load.events + WARM_UP_EVENTS))
        latency = measure_latency(stage, contender, load, records=stream, ground=ground)
        stage.say(f"    p50 {latency.p50_ms:,.1f} ms, p99 {latency.p99_ms:,.1f} ms, unanswered {latency.lost}")
        yield latency
