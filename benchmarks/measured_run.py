"""One run: a contender handles a filled topic while the benchmark measures; its output is checked afterwards.

The clock is the broker's: the append times of the first and the last status record, the same for all contenders. The
first tenth is left out: starting, joining the group, warming up. A contender's own figures are not used.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.bench import Bench, Resources, Workload
from benchmarks.check import Published, differences, published
from benchmarks.contenders.contender import Contender
from benchmarks.running import Running
from benchmarks.topics import TopicOffsets
from benchmarks.usage import Usage, process_with, usage_of

WARM_UP_SHARE: Final = 0.1
STALL_TIMEOUT_SECONDS: Final = 90.0
_SAMPLE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Processor time per event behind the warm-up, in microseconds: the contender's, the broker's, the database's."""

    contender_us: float
    broker_us: float
    database_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The result of one run. `differences`: from the expected rows and status records."""

    contender: str
    events: int
    events_per_second: float
    costs: Costs
    rss_peak_bytes: int
    differences: tuple[str, ...]


@dataclass(slots=True)
class Samples:
    """Processor times at two moments of a run. Reading more often would slow the processes down."""

    bench: Bench
    contender: Running
    warm: tuple[float, "Usages"] | None = None
    done: tuple[float, "Usages"] | None = None
    _broker: int = field(init=False)
    _database: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._broker = process_with(self.bench.kafka.mark)
        self._database = tuple(map(process_with, self.bench.database.marks))

    def note(self, share: float) -> None:
        """`share` of the status records is published."""
        if self.warm is None and share >= WARM_UP_SHARE:
            self.warm = share, self.read()
        if self.done is None and share >= 1:
            self.done = share, self.read()

    def read(self) -> "Usages":
        return Usages(
            contender=self.contender.usage(), broker=usage_of(self._broker), database=usage_of(*self._database)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usages:
    contender: Usage
    broker: Usage
    database: Usage


def measure_run(bench: Bench, contender: Contender, workload: Workload) -> Run:
    """Raises ContenderFailed where the contender does not finish."""
    resources = bench.resources(workload)
    try:
        run, _ = measure_run_in(bench, contender, workload, resources)
        return run
    finally:
        bench.clear(resources)


def measure_run_in(
    bench: Bench, contender: Contender, workload: Workload, resources: Resources
) -> tuple[Run, Published]:
    """A run whose topics and database are kept, and its published records."""
    with Running(contender, variables=variables(bench, workload, resources), folder=resources.folder) as running:
        samples = Samples(bench, running)
        _finish(bench, workload, resources, samples)
        running.stop()
    seen = published(bench.bootstrap_servers, resources.outputs)
    run = Run(
        contender=contender.name,
        events=workload.events,
        events_per_second=events_per_second(seen.append_times_ms, events=workload.events),
        costs=costs(samples, events=workload.events),
        rss_peak_bytes=samples.done[1].contender.rss_peak_bytes if samples.done else 0,
        differences=tuple(_differences(bench, contender, workload, resources, seen)),
    )
    return run, seen


def variables(bench: Bench, workload: Workload, resources: Resources) -> dict[str, str]:
    """The environment variables of every contender."""
    return {
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": bench.bootstrap_servers,
        "RUDDER_GROUP_ID": resources.name,
        "RUDDER_INPUT_TOPICS": workload.topic,
        "RUDDER_DEPLOYMENT_STATUS_TOPIC": resources.outputs.deployment_status,
        "RUDDER_RELEASE_STATUS_TOPIC": resources.outputs.release_status,
        "RUDDER_DEAD_LETTER_TOPIC": resources.outputs.dead_letters,
        "RUDDER_DEPLOYMENT_STATE_TOPIC": "",  # no contender publishes states
        "RUDDER_DATABASE_URL": resources.database_url,
        "RUDDER_HTTP_PORT": "0",
        "RUDDER_LOG_LEVEL": "warning",
        "BENCH_JDBC_URL": bench.database.jdbc_url(resources.database),
        "BENCH_INPUT_RECORDS": str(workload.events),
        "BENCH_STATUS_RECORDS": str(workload.status_records),
    }


def events_per_second(append_times_ms: Sequence[int], *, events: int) -> float:
    """From the broker's times of all status records, in order; the first tenth does not count."""
    if not append_times_ms:
        return 0.0
    first_ms = append_times_ms[int(len(append_times_ms) * WARM_UP_SHARE)]
    seconds = max(append_times_ms[-1] - first_ms, 1) / 1_000
    return events * (1 - WARM_UP_SHARE) / seconds


def costs(samples: Samples, *, events: int) -> Costs:
    if samples.warm is None or samples.done is None or samples.warm[0] >= 1:
        return Costs(contender_us=0.0, broker_us=0.0, database_us=0.0)
    (share, before), (_, after) = samples.warm, samples.done
    counted = events * (1 - share) / 1_000_000
    return Costs(
        contender_us=(after.contender.cpu_seconds - before.contender.cpu_seconds) / counted,
        broker_us=(after.broker.cpu_seconds - before.broker.cpu_seconds) / counted,
        database_us=(after.database.cpu_seconds - before.database.cpu_seconds) / counted,
    )


def _finish(bench: Bench, workload: Workload, resources: Resources, samples: Samples) -> None:
    """Wait until every offset is committed and every status record there; ContenderFailed if nothing moves."""
    offsets = TopicOffsets(bench.bootstrap_servers)
    seen, moved_at_seconds = (-1, -1), time.monotonic()
    while seen != (workload.status_records, workload.events):
        samples.contender.require_running()
        status_records = offsets.count(*resources.outputs.status)
        samples.note(status_records / workload.status_records)
        arrived = status_records >= workload.status_records
        committed = offsets.committed(resources.name, workload.topic) if arrived else 0
        if (now := (min(status_records, workload.status_records), committed)) != seen:
            seen, moved_at_seconds = now, time.monotonic()
        elif time.monotonic() - moved_at_seconds > STALL_TIMEOUT_SECONDS:
            reached = f"{status_records} of {workload.status_records} status records"
            raise samples.contender.failed(f"makes no progress after {reached}, {committed} offsets")
        time.sleep(_SAMPLE_SECONDS)


def _differences(
    bench: Bench, contender: Contender, workload: Workload, resources: Resources, seen: Published
) -> list[str]:
    if workload.expected is None or not contender.writes_rows:
        return []
    return differences(
        workload.expected,
        database_url=resources.check_url or resources.database_url,
        seen=workload.template.published + seen,
        dead_letters=TopicOffsets(bench.bootstrap_servers).count(resources.outputs.dead_letters),
    )
