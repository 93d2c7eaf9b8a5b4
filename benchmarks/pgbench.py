"""The database's own ceiling: pgbench runs the statements of one event over and over, with nothing else around them.

What stands between this figure and the worker's is all that the worker does besides: Kafka, JSON, rules, Python.
"""

import re
import resource
from dataclasses import dataclass
from typing import Final

from benchmarks import statements
from benchmarks.bench import Bench, Template
from benchmarks.measured_run import Costs
from benchmarks.usage import process_with, usage_of

SECONDS: Final = 10
_THREADS: Final = 2
_TPS = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: ([0-9]+)", re.MULTILINE)


class PgbenchFailed(Exception):
    """pgbench printed no rate, or had transactions that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """One run of pgbench; its script is one event."""

    events_per_second: float
    costs: Costs


def run_pgbench(bench: Bench, template: Template, *, clients: int, seconds: int = SECONDS) -> Ceiling:
    """`pgbench -M prepared` on a copy of the template. Raises PgbenchFailed."""
    database = f"pgbench-{clients}"
    bench.postgres.create_database(database, template=template.database)
    try:
        bench.postgres.execute(statements.preparation(), database=database)
        bench.postgres.execute("checkpoint")
        return _run(bench, database, clients=clients, seconds=seconds)
    finally:
        bench.postgres.drop_database(database)


def _run(bench: Bench, database: str, *, clients: int, seconds: int) -> Ceiling:
    script = bench.script(statements.script())
    arguments = ["-n", "-M", "prepared", "-c", str(clients), "-j", str(_THREADS), "-T", str(seconds), "-f", str(script)]
    server = process_with(bench.postgres.mark)
    server_before, own_before = usage_of(server).cpu_seconds, _children_seconds()
    printed = bench.postgres.pgbench(*arguments, database=database)
    rate = rate_of(printed)
    millions = rate * seconds / 1_000_000
    return Ceiling(
        events_per_second=rate,
        costs=Costs(
            contender_us=(_children_seconds() - own_before) / millions,
            broker_us=0.0,
            database_us=(usage_of(server).cpu_seconds - server_before) / millions,
        ),
    )


def rate_of(printed: str) -> float:
    """Transactions per second, from what pgbench prints. Raises PgbenchFailed."""
    rate, failed = _TPS.search(printed), _FAILED.search(printed)
    if rate is None or failed is None or int(failed[1]):
        raise PgbenchFailed(printed[-1_000:])
    return float(rate[1])


def _children_seconds() -> float:
    """Of children that have ended, which pgbench has and the servers have not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
