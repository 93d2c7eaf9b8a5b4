"""Made-up results, for the tests of what is made from results."""

from typing import Any

from benchmarks.growth import Growth
from benchmarks.latency import Latency, Load
from benchmarks.machine import Machine
from benchmarks.measured_run import Costs
from benchmarks.memory import Memory
from benchmarks.quantiles import spread
from benchmarks.results import Results
from benchmarks.sizes import QUICK
from benchmarks.throughput import Standing

MACHINE = Machine(
    processor="a processor",
    cores=2,
    memory_gb=8.0,
    system="Linux 6",
    python="CPython 3.11",
    packages={"aiokafka": "0.14"},
    flush_us=120,
    load=0.1,
)


def standing(kind: str, *speeds: float, concurrency: int | None = 16, processes: int = 1, **more: Any) -> Standing:
    given: dict[str, Any] = {
        "name": f"{kind} {processes} x {concurrency}",
        "does": f"what {kind} does",
        "events": 1_000,
        "costs": Costs(contender_us=2_000, broker_us=500, database_us=900) if speeds else None,
        "rss_peak_bytes": 100_000_000,
        "differences": (),
    }
    return Standing(
        kind=kind,
        processes=processes,
        concurrency=concurrency,
        speed=spread(speeds) if speeds else None,
        **{**given, **more},
    )


def latency(kind: str, *, p99_ms: float, why: str, p50_ms: float = 5.0) -> Latency:
    return Latency(
        contender=kind,
        kind=kind,
        load=Load(events_per_second=100.0, seconds=10, why=why),
        events=900,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        p999_ms=p99_ms,
        max_ms=p99_ms,
        lost=0,
        rounds_p99_ms=(p99_ms,),
        differences=(),
    )


def memory(*, peak_mb: float) -> Memory:
    return Memory(
        contender="worker",
        backlog_events=1_000_000,
        seconds=500.0,
        events_per_second=2_000.0,
        rss_peak_bytes=int(peak_mb * 1_000_000),
        rss_end_bytes=90_000_000,
        cpu_share=0.9,
        differences=(),
    )


def growth(*, empty_us: float, large_us: float) -> Growth:
    return Growth(
        contender="worker",
        log_entries=10_000_000,
        events=20_000,
        empty_us=spread([empty_us]),
        large_us=spread([large_us]),
        empty_speed=spread([1_000.0]),
        large_speed=spread([900.0]),
        filled_seconds=300.0,
        differences=(),
    )


def results(**measured: Any) -> Results:
    return Results(
        command="python -m benchmarks",
        seconds=600.0,
        machine=MACHINE,
        broker="a broker",
        database="a database",
        sizes=QUICK,
        **measured,
    )
