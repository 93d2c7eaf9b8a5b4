"""One lap: a contender works off a filled topic while the benchmark looks on, and is recounted afterwards.

The clock is the broker's: the times at which it appended the first and the last status record, the same way for all,
with the first tenth left out (starting, joining the group, warming up). Nothing that a contender says counts.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.check import Published, differences, published
from benchmarks.contenders.contender import Contender
from benchmarks.running import Running
from benchmarks.stage import Course, Place, Stage
from benchmarks.topics import TopicOffsets
from benchmarks.usage import Usage, process_with, usage_of

WARM_UP_SHARE: Final = 0.1
STALL_TIMEOUT_SECONDS: Final = 90.0
_GLANCE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Processor time per event behind the warm-up, in microseconds: the contender's, the broker's, the database's."""

    contender_us: float
    broker_us: float
    database_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """What one contender did in one lap; `differences` is empty where it did it rightly."""

    contender: str
    events: int
    events_per_second: float
    costs: Costs
    rss_peak_bytes: int
    differences: tuple[str, ...]


@dataclass(slots=True)
class Glances:
    """What the benchmark saw of a lap, and when: families of processes are looked at twice only, it costs them time."""

    stage: Stage
    contender: Running
    warm: tuple[float, "Meters"] | None = None
    done: tuple[float, "Meters"] | None = None
    _broker: int = field(init=False)
    _database: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._broker = process_with(self.stage.kafka.mark)
        self._database = tuple(map(process_with, self.stage.database.marks))

    def note(self, share: float) -> None:
        """`share` of the status records is there."""
        if self.warm is None and share >= WARM_UP_SHARE:
            self.warm = share, self.read()
        if self.done is None and share >= 1:
            self.done = share, self.read()

    def read(self) -> "Meters":
        return Meters(
            contender=self.contender.usage(), broker=usage_of(self._broker), database=usage_of(*self._database)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    contender: Usage
    broker: Usage
    database: Usage


def run_lap(stage: Stage, contender: Contender, course: Course) -> Lap:
    """Raises ContenderFailed where it does not get to the end."""
    place = stage.place(course)
    try:
        lap, _ = run_at(stage, contender, course, place)
        return lap
    finally:
        stage.clear(place)


def run_at(stage: Stage, contender: Contender, course: Course, place: Place) -> tuple[Lap, Published]:
    """A lap at a place that stays, and what was published there."""
    with Running(contender, variables=variables(stage, course, place), folder=place.folder) as running:
        glances = Glances(stage, running)
        _finish(stage, course, place, glances)
        running.stop()
    seen = published(stage.bootstrap_servers, place.outputs)
    lap = Lap(
        contender=contender.name,
        events=course.events,
        events_per_second=events_per_second(seen.append_times_ms, events=course.events),
        costs=costs(glances, events=course.events),
        rss_peak_bytes=glances.done[1].contender.rss_peak_bytes if glances.done else 0,
        differences=tuple(_differences(stage, contender, course, place, seen)),
    )
    return lap, seen


def variables(stage: Stage, course: Course, place: Place) -> dict[str, str]:
    """What every contender is told."""
    return {
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": stage.bootstrap_servers,
        "RUDDER_GROUP_ID": place.name,
        "RUDDER_INPUT_TOPICS": course.topic,
        "RUDDER_DEPLOYMENT_STATUS_TOPIC": place.outputs.deployment_status,
        "RUDDER_RELEASE_STATUS_TOPIC": place.outputs.release_status,
        "RUDDER_DEAD_LETTER_TOPIC": place.outputs.dead_letters,
        "RUDDER_DATABASE_URL": place.database_url,
        "RUDDER_HTTP_PORT": "0",
        "RUDDER_LOG_LEVEL": "warning",
        "BENCH_JDBC_URL": stage.database.jdbc_url(place.database),
        "BENCH_INPUT_RECORDS": str(course.events),
        "BENCH_STATUS_RECORDS": str(course.status_records),
    }


def events_per_second(append_times_ms: Sequence[int], *, events: int) -> float:
    """From the broker's times of all status records, in order; the first tenth does not count."""
    if not append_times_ms:
        return 0.0
    first_ms = append_times_ms[int(len(append_times_ms) * WARM_UP_SHARE)]
    seconds = max(append_times_ms[-1] - first_ms, 1) / 1_000
    return events * (1 - WARM_UP_SHARE) / seconds


def costs(glances: Glances, *, events: int) -> Costs:
    if glances.warm is None or glances.done is None or glances.warm[0] >= 1:
        return Costs(contender_us=0.0, broker_us=0.0, database_us=0.0)
    (share, before), (_, after) = glances.warm, glances.done
    counted = events * (1 - share) / 1_000_000
    return Costs(
        contender_us=(after.contender.cpu_seconds - before.contender.cpu_seconds) / counted,
        broker_us=(after.broker.cpu_seconds - before.broker.cpu_seconds) / counted,
        database_us=(after.database.cpu_seconds - before.database.cpu_seconds) / counted,
    )


def _finish(stage: Stage, course: Course, place: Place, glances: Glances) -> None:
    """Wait until every offset is committed and every status record there; ContenderFailed if nothing moves."""
    offsets = TopicOffsets(stage.bootstrap_servers)
    seen, moved_at_seconds = (-1, -1), time.monotonic()
    while seen != (course.status_records, course.events):
        glances.contender.require_running()
        status_records = offsets.count(*place.outputs.status)
        glances.note(status_records / course.status_records)
        arrived = status_records >= course.status_records
        committed = offsets.committed(place.name, course.topic) if arrived else 0
        if (now := (min(status_records, course.status_records), committed)) != seen:
            seen, moved_at_seconds = now, time.monotonic()
        elif time.monotonic() - moved_at_seconds > STALL_TIMEOUT_SECONDS:
            said = f"{status_records} of {course.status_records} status records, {committed} of {course.events} offsets"
            raise glances.contender.failed(f"stands still at {said}")
        time.sleep(_GLANCE_SECONDS)


def _differences(stage: Stage, contender: Contender, course: Course, place: Place, seen: Published) -> list[str]:
    if course.expected is None or not contender.writes_rows:
        return []
    return differences(
        course.expected,
        database_url=place.database_url,
        seen=course.ground.published + seen,
        dead_letters=TopicOffsets(stage.bootstrap_servers).count(place.outputs.dead_letters),
    )
