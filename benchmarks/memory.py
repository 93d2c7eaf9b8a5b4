"""How much memory the worker takes while it drains a backlog: the peak of its whole family of processes."""

import time
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench, Resources, Workload
from benchmarks.contenders.contender import Contender
from benchmarks.measured_run import STALL_TIMEOUT_SECONDS, variables
from benchmarks.running import Running
from benchmarks.topics import TopicOffsets
from benchmarks.usage import Usage

_SAMPLE_SECONDS: Final = 2.0
_REPORT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """`rss_peak_bytes` is what the kernel remembers of each process (VmHWM), summed; `rss_end_bytes` what they have
    when the backlog is done; `cpu_share` is of one core.
    """

    contender: str
    backlog_events: int
    seconds: float
    events_per_second: float
    rss_peak_bytes: int
    rss_end_bytes: int
    cpu_share: float
    differences: tuple[str, ...]


def measure_memory(bench: Bench, contender: Contender, workload: Workload) -> Memory:
    """Raises ContenderFailed where the backlog does not come to its end."""
    resources = bench.resources(workload)
    try:
        with Running(contender, variables=variables(bench, workload, resources), folder=resources.folder) as running:
            began_at_seconds = time.monotonic()
            usage = _drain(bench, workload, resources, running)
            seconds = time.monotonic() - began_at_seconds
            running.stop()
        return Memory(
            contender=contender.name,
            backlog_events=workload.events,
            seconds=seconds,
            events_per_second=workload.events / seconds,
            rss_peak_bytes=usage.rss_peak_bytes,
            rss_end_bytes=usage.rss_bytes,
            cpu_share=usage.cpu_seconds / seconds,
            differences=tuple(_differences(bench, workload, resources)),
        )
    finally:
        bench.clear(resources)


def _drain(bench: Bench, workload: Workload, resources: Resources, running: Running) -> Usage:
    """Wait until all is committed; the last look at the processes, whose peaks only ever grow."""
    offsets = TopicOffsets(bench.bootstrap_servers)
    last, moved_at_seconds = -1, time.monotonic()
    reported_at_seconds = moved_at_seconds
    while last < workload.events:
        running.require_running()
        committed, now_seconds = offsets.committed(resources.name, workload.topic), time.monotonic()
        if committed != last:
            last, moved_at_seconds = committed, now_seconds
        elif now_seconds - moved_at_seconds > STALL_TIMEOUT_SECONDS:
            raise running.failed(f"stands still at {committed} of {workload.events} events")
        if now_seconds - reported_at_seconds > _REPORT_SECONDS:
            reported_at_seconds = now_seconds
            peak_mb = running.usage().rss_peak_bytes / 1_000_000
            bench.say(f"    {committed:,} of {workload.events:,} events, peak {peak_mb:,.0f} MB")
        time.sleep(_SAMPLE_SECONDS)
    return running.usage()


def _differences(bench: Bench, workload: Workload, resources: Resources) -> list[str]:
    """So many events cannot be recounted in memory; that each has its entries can be: no two happen at one time."""
    counted = bench.postgres.execute(
        "SELECT count(DISTINCT created_at) FROM release_activity_logs", database=resources.database
    )
    rejected = bench.postgres.execute("SELECT count(*) FROM release_event_rejections", database=resources.database)
    found = []
    if int(counted) != workload.events:
        found.append(f"the activity log has {counted} events, expected {workload.events}")
    if int(rejected):
        found.append(f"{rejected} rejections, though every event is valid")
    return found
