"""`python -m benchmarks`: measure, print the tables, keep them as files. Exit code 1: some contender did wrong.

Progress goes to standard error, results to standard output and to `bench-output/`.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.contenders.lineup import CONCURRENCY
from benchmarks.databases import BenchmarkDatabase, Postgres, Tds
from benchmarks.goals import goals
from benchmarks.pgbench import PgbenchFailed
from benchmarks.program import MEASUREMENTS, WrongHistory, run
from benchmarks.results import Results, as_json
from benchmarks.running import ContenderFailed
from benchmarks.sizes import QUICK, Sizes
from benchmarks.tables import markdown
from benchmarks.topics import TopicsFailed
from tests.testkit.kafka_jars import KafkaUnavailable
from tests.testkit.mssql import MssqlUnavailable
from tests.testkit.postgres import PostgresUnavailable
from tests.testkit.server_process import ServerFailed

OUTPUT: Final = Path("bench-output")
ON_TDS: Final = ("throughput", "hot", "partitions", "skew")
"""The others look at PostgreSQL itself."""

_FAILURES: Final = (
    ContenderFailed,
    KafkaUnavailable,
    MssqlUnavailable,
    PgbenchFailed,
    PostgresUnavailable,
    ServerFailed,
    TopicsFailed,
    WrongHistory,
)


class What(StrEnum):
    ALL = "all"
    THROUGHPUT = "throughput"
    LATENCY = "latency"
    MEMORY = "memory"
    PARTITIONS = "partitions"
    SKEW = "skew"
    HOT = "hot"
    GROWTH = "growth"


class Db(StrEnum):
    POSTGRESQL = "postgresql"
    MSSQL = "mssql"


def main(
    what: Annotated[What, typer.Argument(help="Which measurement.")] = What.ALL,
    *,
    rounds: Annotated[int | None, typer.Option(min=1, help="How often each contender runs.")] = None,
    events: Annotated[int | None, typer.Option(min=100, help="Events of a run.")] = None,
    slow_events: Annotated[int | None, typer.Option(min=100, help="Events of a run of the slow contenders.")] = None,
    backlog: Annotated[
        int | None, typer.Option(min=100, help="Events of the backlog that memory is watched by.")
    ] = None,
    db: Annotated[Db, typer.Option(help="PostgreSQL, or the TDS server that RUDDER_TEST_MSSQL_URL names.")] = (
        Db.POSTGRESQL
    ),
    concurrency: Annotated[int, typer.Option(min=1, help="The worker's, wherever it runs alone.")] = CONCURRENCY,
    log_entries: Annotated[
        int | None, typer.Option(min=1_000, help="Entries of the activity log that growth is measured with.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            resolve_path=True,
            help="A checkout of another commit, whose worker runs in the same rounds (throughput).",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1, help="Events per second of the compared latencies; default: half of the plain loop's capacity."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, one round: does it work?")] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Measure this worker against others, on one broker and one PostgreSQL that are started for it."""
    given: dict[str, Any] = {"rounds": rounds, "events": events, "slow_events": slow_events, "backlog_events": backlog}
    given["log_entries"] = log_entries
    sizes = replace(QUICK if quick else Sizes(), **{name: value for name, value in given.items() if value is not None})
    wanted = tuple(each for each in MEASUREMENTS if what in (What.ALL, each))
    if db is Db.MSSQL:
        wanted = tuple(each for each in wanted if each in ON_TDS)
        if not wanted:
            raise typer.BadParameter(f"on a TDS server there are only {', '.join(ON_TDS)}", param_hint="WHAT")
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    report, wrong = "", True
    try:
        for results in run(
            wanted,
            sizes,
            command=command,
            concurrency=concurrency,
            say=_say,
            database=_DATABASES[db],
            checkout=baseline,
            rate=rate,
        ):
            texts = _texts(results)
            _keep(what, texts)
            report, wrong = texts["json" if as_json_ else "md"], bool(results.differences)
    except _FAILURES as failure:
        wrong = True
        _say(f"the benchmark failed: {failure}")
    typer.echo(report)
    if wrong:
        raise typer.Exit(1)


_DATABASES: Final[dict[Db, Callable[[], BenchmarkDatabase]]] = {Db.POSTGRESQL: Postgres, Db.MSSQL: Tds}


def _texts(results: Results) -> dict[str, str]:
    """By the ends of their files' names."""
    reached = goals(results)
    listed = [{**asdict(goal), "verdict": goal.verdict} for goal in reached]
    return {"json": as_json(results, listed), "md": markdown(results, reached)}


def _keep(what: What, texts: dict[str, str]) -> None:
    """After each measurement: what follows may fail."""
    OUTPUT.mkdir(exist_ok=True)
    for end, text in texts.items():
        (OUTPUT / f"{what}.{end}").write_text(text + "\n", "utf-8")


def _say(line: str) -> None:
    typer.echo(line, err=True)


if __name__ == "__main__":
    typer.run(main)
