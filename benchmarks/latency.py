"""How long an event takes from its publisher to its status event, at a load that does not wait for anybody.

Events are due on a fixed schedule and their time counts from when they were due: a worker that falls behind, or a
publisher held up by it, is not spared (no coordinated omission). Both clocks are this process's one.

A load is offered in several runs, which take turns with those of other loads; the percentiles are of the events of all
runs together.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench, Resources, Template, Workload
from benchmarks.check import differences, expectation, published
from benchmarks.contenders.contender import Contender
from benchmarks.measured_run import variables
from benchmarks.open_loop import Publisher, Subscriber
from benchmarks.quantiles import percentile
from benchmarks.running import Running
from benchmarks.topics import TopicOffsets, read_topic
from tests.conformance.producers import ToSend

WARM_UP_EVENTS: Final = 100
"""Before the schedule begins: published at once and waited for, so that the contender is there and warm."""
WARM_UP_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is offered; `why` is how the rate came about, for the table."""

    events_per_second: float
    seconds: int
    why: str

    @property
    def events(self) -> int:
        return max(int(self.events_per_second * self.seconds), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds over so many events; `lost` had no status event a minute after the last was due.

    `rounds_p99_ms` are those of the single runs: they show whether one of them decides.
    """

    contender: str
    kind: str
    load: Load
    events: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    lost: int
    rounds_p99_ms: tuple[float, ...]
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRun:
    """One run: the moment at which each event was due, and the moment of its first status event, by the event's id."""

    due: Mapping[str, float]
    seen: Mapping[str, float]
    differences: tuple[str, ...]

    @property
    def taken_ms(self) -> list[float]:
        """Ascending; infinite where no status event came. The first tenth of the events does not count."""
        counted = list(self.due)[int(len(self.due) * WARM_UP_SHARE) :]
        return sorted((self.seen.get(event_id, float("inf")) - self.due[event_id]) * 1_000 for event_id in counted)


def measure_latency(
    bench: Bench, contender: Contender, load: Load, *, records: Sequence[ToSend], template: Template
) -> LatencyRun:
    """`records` are the stream's next ones, at least as many as the load and its warm-up ask for."""
    workload = bench.workload((), template=template, checked=False)
    resources = bench.resources(workload)
    try:
        with (
            Running(contender, variables=variables(bench, workload, resources), folder=resources.folder) as running,
            Subscriber(bench.bootstrap_servers, resources.outputs.deployment_status, workload.partitions) as subscriber,
        ):
            publisher = Publisher(bench.bootstrap_servers, workload.topic)
            publisher.publish(records[:WARM_UP_EVENTS])
            if not subscriber.waited_for(WARM_UP_EVENTS):
                raise running.failed("did not answer the first events")
            offered = records[WARM_UP_EVENTS : WARM_UP_EVENTS + load.events]
            due = publisher.publish(offered, events_per_second=load.events_per_second)
            subscriber.waited_for(WARM_UP_EVENTS + len(offered))
            running.stop()
        wrong = _differences(bench, workload, resources) if subscriber.count >= WARM_UP_EVENTS + len(offered) else []
        return LatencyRun(due=due, seen=subscriber.seen(), differences=tuple(wrong))
    finally:
        bench.clear(resources)


def latency_of(contender: Contender, load: Load, runs: Sequence[LatencyRun]) -> Latency:
    """The runs of one load together. ValueError without a run."""
    taken_ms = sorted(itertools.chain.from_iterable(run.taken_ms for run in runs))
    return Latency(
        contender=contender.name,
        kind=contender.kind,
        load=load,
        events=len(taken_ms),
        p50_ms=percentile(taken_ms, 0.5),
        p99_ms=percentile(taken_ms, 0.99),
        p999_ms=percentile(taken_ms, 0.999),
        max_ms=taken_ms[-1],
        lost=sum(event_id not in run.seen for run in runs for event_id in run.due),
        rounds_p99_ms=tuple(percentile(run.taken_ms, 0.99) for run in runs),
        differences=tuple(line for run in runs for line in run.differences),
    )


def _differences(bench: Bench, workload: Workload, resources: Resources) -> list[str]:
    template = workload.template
    return differences(
        expectation([*template.records, *read_topic(bench.bootstrap_servers, workload.topic)]),
        database_url=resources.database_url,
        seen=template.published + published(bench.bootstrap_servers, resources.outputs),
        dead_letters=TopicOffsets(bench.bootstrap_servers).count(resources.outputs.dead_letters),
    )
