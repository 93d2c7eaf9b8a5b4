"""How long an event takes from its publisher to its status event, at a load that does not wait for anybody.

Events are due on a fixed schedule and their time counts from when they were due: a worker that falls behind, or a
publisher held up by it, is not spared (no coordinated omission). Both clocks are this process's one.
"""

from collections.abc import Sequence
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
    """Milliseconds over so many events; `lost` had no status event a minute after the last was due."""

    contender: str
    kind: str
    load: Load
    events: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    lost: int
    differences: tuple[str, ...]


def measure_latency(
    bench: Bench, contender: Contender, load: Load, *, records: Sequence[ToSend], template: Template
) -> Latency:
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
        return _latency(contender, load, due=due, seen=subscriber.seen(), wrong=wrong)
    finally:
        bench.clear(resources)


def _latency(
    contender: Contender, load: Load, *, due: dict[str, float], seen: dict[str, float], wrong: Sequence[str]
) -> Latency:
    counted = list(due)[int(len(due) * WARM_UP_SHARE) :]
    taken_ms = sorted((seen.get(identifier, float("inf")) - due[identifier]) * 1_000 for identifier in counted)
    return Latency(
        contender=contender.name,
        kind=contender.kind,
        load=load,
        events=len(counted),
        p50_ms=percentile(taken_ms, 0.5),
        p99_ms=percentile(taken_ms, 0.99),
        p999_ms=percentile(taken_ms, 0.999),
        max_ms=taken_ms[-1],
        lost=sum(identifier not in seen for identifier in due),
        differences=tuple(wrong),
    )


def _differences(bench: Bench, workload: Workload, resources: Resources) -> list[str]:
    template = workload.template
    return differences(
        expectation([*template.records, *read_topic(bench.bootstrap_servers, workload.topic)]),
        database_url=resources.database_url,
        seen=template.published + published(bench.bootstrap_servers, resources.outputs),
        dead_letters=TopicOffsets(bench.bootstrap_servers).count(resources.outputs.dead_letters),
    )
