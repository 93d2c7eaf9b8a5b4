"""What parallelism the traffic allows: the worker's throughput against partitions, and against key skew."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from benchmarks.contenders.contender import Contender
from benchmarks.lap import run_lap
from benchmarks.quantiles import Spread, spread
from benchmarks.sizes import Sizes
from benchmarks.stage import Course, Ground, Stage
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
    stage: Stage, contender: Contender, sizes: Sizes, *, ground: Ground, after: int
) -> tuple[Scaling, ...]:
    """The same events, `after` those of the ground, in topics of so many partitions."""
    traffic = Traffic(releases_active=sizes.releases_active)
    events = list(itertools.islice(records(traffic), after, after + sizes.scaling_events))
    numbers = _ends(PARTITIONS) if sizes.quick else PARTITIONS
    courses = {str(number): stage.course(events, ground=ground, partitions=number) for number in numbers}
    return _race(stage, contender, "partitions", courses, rounds=sizes.rounds)


def against_skew(stage: Stage, contender: Contender, sizes: Sizes) -> tuple[Scaling, ...]:
    """Streams of the same size, on empty tables."""
    courses: dict[str, Course] = {}
    for skew in _ends(SKEWS) if sizes.quick else SKEWS:
        traffic = Traffic(skew=skew, releases_active=sizes.releases_active)
        stream = itertools.islice(records(traffic), sizes.scaling_events)
        courses[skew] = stage.course(stream, ground=stage.empty)
    return _race(stage, contender, "key skew", courses, rounds=sizes.rounds)


def _ends(of: Sequence[T]) -> Sequence[T]:
    return of[0], of[-1]


def _race(
    stage: Stage, contender: Contender, dimension: str, courses: Mapping[str, Course], *, rounds: int
) -> tuple[Scaling, ...]:
    speeds: dict[str, list[float]] = {value: [] for value in courses}
    wrong: dict[str, list[str]] = {value: [] for value in courses}
    for number in range(1, rounds + 1):
        for value, course in courses.items():
            lap = run_lap(stage, contender, course)
            stage.say(f"round {number} of {rounds}: {dimension} {value}: {lap.events_per_second:,.0f} events/s")
            speeds[value].append(lap.events_per_second)
            wrong[value] += lap.differences
    return tuple(
        Scaling(
            dimension=dimension,
            value=value,
            contender=contender.name,
            events=course.events,
            speed=spread(speeds[value]),
            differences=tuple(wrong[value]),
        )
        for value, course in courses.items()
    )
