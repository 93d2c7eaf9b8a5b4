"""What a large activity log costs: the database's processor time per event at so many entries, against empty tables.

Each round runs the same events on an empty database and on the large one, which is not copied: each round's events are
of a day of their own, and views of that day are compared with the oracle.
"""

import itertools
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from benchmarks.bench import Bench, Template, Workload
from benchmarks.contenders.contender import Contender
from benchmarks.large_database import fill_large
from benchmarks.measured_run import Run, measure_run, measure_run_in
from benchmarks.quantiles import Spread, spread
from benchmarks.sizes import Sizes
from benchmarks.stream import BEGINS_AT, Traffic, records
from tests.oracle.comparison import TABLES

# ruff: noqa: S608 - what is put together here are constants of this program, never anybody's values

DATABASE: Final = "large"
_READER: Final = "reader"
"""The role of the check: it finds the views of the day in place of the tables."""
_OF_RELEASES: Final = ("release_versions", "release_apim_base_revisions")
"""Tables without a time of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Microseconds of the database per event and events per second, on empty tables and with `log_entries`."""

    contender: str
    log_entries: int
    events: int
    empty_us: Spread
    large_us: Spread
    empty_speed: Spread
    large_speed: Spread
    filled_seconds: float
    differences: tuple[str, ...]


def measure_growth(bench: Bench, contender: Contender, sizes: Sizes, *, history: Template) -> Growth:
    """Raises ContenderFailed, ServerFailed."""
    bench.say(f"growth: filling a database with {sizes.log_entries:,} log entries")
    began_at_seconds = time.monotonic()
    entries = fill_large(bench.postgres, DATABASE, history=history.database, log_entries=sizes.log_entries)
    filled_seconds = time.monotonic() - began_at_seconds
    bench.say(f"    {entries:,} log entries in {filled_seconds:,.0f} s")
    bench.postgres.execute(f"CREATE ROLE {_READER} SUPERUSER LOGIN")
    runs: list[tuple[Run, Run]] = []
    for number in range(1, sizes.rounds + 1):
        traffic = Traffic(releases_active=sizes.releases_active, seed=2026 + number, day=number)
        workload = bench.workload(itertools.islice(records(traffic), sizes.growth_events), template=bench.empty)
        empty, large = measure_run(bench, contender, workload), _on_large(bench, contender, workload, day=number)
        runs.append((empty, large))
        bench.say(
            f"round {number} of {sizes.rounds}: database {empty.costs.database_us:,.0f} µs per event on empty tables, "
            f"{large.costs.database_us:,.0f} µs on large ones"
        )
    bench.database.drop(DATABASE)
    bench.postgres.execute(f"DROP ROLE {_READER}")
    return Growth(
        contender=contender.name,
        log_entries=entries,
        events=sizes.growth_events,
        empty_us=spread([empty.costs.database_us for empty, _ in runs]),
        large_us=spread([large.costs.database_us for _, large in runs]),
        empty_speed=spread([empty.events_per_second for empty, _ in runs]),
        large_speed=spread([large.events_per_second for _, large in runs]),
        filled_seconds=filled_seconds,
        differences=tuple(line for run in itertools.chain.from_iterable(runs) for line in run.differences),
    )


def _on_large(bench: Bench, contender: Contender, workload: Workload, *, day: int) -> Run:
    bench.postgres.execute(_views(day), database=DATABASE)
    resources = bench.resources(replace(workload, template=Template(database=DATABASE)), copied=False)
    resources = replace(resources, check_url=resources.database_url.replace("postgres@", f"{_READER}@"))
    try:
        run, _ = measure_run_in(bench, contender, workload, resources)
        return run
    finally:
        bench.clear(resources)


def _views(day: int) -> str:
    begin = BEGINS_AT.replace(tzinfo=None) + timedelta(days=day)
    of_day = f"created_at >= '{begin}' AND created_at < '{begin + timedelta(days=1)}'"
    views = []
    for table in TABLES:
        of_releases = f"release_mgt_id IN (SELECT id FROM public.releases WHERE {of_day})"
        condition = of_releases if table in _OF_RELEASES else of_day
        views.append(f"CREATE VIEW day.{table} AS SELECT * FROM public.{table} WHERE {condition};")
    return (
        f"DROP SCHEMA IF EXISTS day CASCADE; CREATE SCHEMA day; {' '.join(views)} "
        f"ALTER ROLE {_READER} IN DATABASE {DATABASE} SET search_path = day, public"
    )
