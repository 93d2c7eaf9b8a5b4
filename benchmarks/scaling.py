"""What parallelism the traffic allows: the worker's throughput against partitions, and against key skew."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from benchmarks.bench import Bench, Template, Workload
from benchmarks.contenders.contender import Contender
from benchmarks.measured_run import measure_run
from benchmarks.quantiles import Spread, spread
from benchmarks.sizes import Sizes
from benchmarks.stream import SKEWS, Traffic, records

PARTITIONS: Final = (1, 4, 16)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """`value` of `dimension`, and the speed there, in events per second."""

    dimension: str
    value: str
    contender: str
    events: int
    speed: Spread
    differences: tuple[str, ...]


def against_partitions(
    bench: Bench, contender: Contender, sizes: Sizes, *, template: Template, after: int
) -> tuple[Scaling, ...]:
    """The same events, `after` those of the template, in topics with increasing numbers of partitions."""
    traffic = Traffic(releases_active=sizes.releases_active)
    events = list(itertools.islice(records(traffic), after, after + sizes.scaling_events))
    numbers = _ends(PARTITIONS) if sizes.quick else PARTITIONS
    workloads = {str(number): bench.workload(events, template=template, partitions=number) for number in numbers}
    return _compare(bench, contender, "partitions", workloads, rounds=sizes.rounds)


def against_skew(bench: Bench, contender: Contender, sizes: Sizes) -> tuple[Scaling, ...]:
    """Streams of the same size, on empty tables."""
    workloads: dict[str, Workload] = {}
    for skew in _ends(SKEWS) if sizes.quick else SKEWS:
        traffic = Traffic(skew=skew, releases_active=sizes.releases_active)
        stream = itertools.islice(records(traffic), sizes.scaling_events)
        workloads[skew] = bench.workload(stream, template=bench.empty)
    return _compare(bench, contender, "key skew", workloads, rounds=sizes.rounds)


def _ends(of: Sequence[T]) -> Sequence[T]:
    return of[0], of[-1]


def _compare(
    bench: Bench, contender: Contender, dimension: str, workloads: Mapping[str, Workload], *, rounds: int
) -> tuple[Scaling, ...]:
    speeds: dict[str, list[float]] = {value: [] for value in workloads}
    wrong: dict[str, list[str]] = {value: [] for value in workloads}
    for number in range(1, rounds + 1):
        for value, workload in workloads.items():
            run = measure_run(bench, contender, workload)
            bench.say(f"round {number} of {rounds}: {dimension} {value}: {run.events_per_second:,.0f} events/s")
            speeds[value].append(run.events_per_second)
            wrong[value] += run.differences
    return tuple(
        Scaling(
            dimension=dimension,
            value=value,
            contender=contender.name,
            events=workload.events,
            speed=spread(speeds[value]),
            differences=tuple(wrong[value]),
        )
        for value, workload in workloads.items()
    )
