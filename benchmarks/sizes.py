"""How much is measured: one set of sizes for a run that counts, one for a quick look that everything works."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """`slow_events` are for contenders that take one message at a time; they are the first of the others' `events`.

    A p99.9 needs some ten thousand events: three runs of a minute at 95 events a second.
    """

    rounds: int = 3
    events: int = 20_000
    slow_events: int = 4_000
    scaling_events: int = 6_000
    backlog_events: int = 1_000_000
    releases_active: int = 2_000
    history_events: int = 10_000
    pgbench_seconds: int = 10
    latency_seconds: int = 60
    log_entries: int = 10_000_000
    growth_events: int = 20_000
    quick: bool = False
    """Leaves out what differs only in degree from what is left in."""


QUICK = Sizes(
    rounds=1,
    events=4_000,
    slow_events=800,
    scaling_events=1_500,
    backlog_events=20_000,
    releases_active=400,
    history_events=2_000,
    pgbench_seconds=3,
    latency_seconds=8,
    log_entries=100_000,
    growth_events=2_000,
    quick=True,
)
