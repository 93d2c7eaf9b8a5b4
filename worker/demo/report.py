"""The demo's report: what came, what became of it, how fast, and where to look for oneself."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worker.demo.contract_model import ContractModel
from worker.demo.latency import Quantiles
from worker.demo.recount import Recount, open_read_only

DIFFERENCES_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the demo measured from outside the worker."""

    backlog_records: int
    backlog_seconds: float
    backlog_latency: Quantiles | None
    steady_rate_per_second: float
    steady_latency: Quantiles | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One line of a release's history, from its activity log."""

    time: str
    subject: str
    change: str
    cause: str


def print_report(
    console: Console,
    *,
    recount: Recount,
    figures: Figures,
    database_path: Path,
    failures: Sequence[str] = (),
) -> None:
    """Print the tables, then the verdict; `failures` are what went wrong beside the recount."""
    console.print(outcomes_table(recount.model, records=recount.records))
    console.print(figures_table(figures))
    release_id = eventful_release(recount.model)
    if release_id:
        with closing(open_read_only(database_path)) as connection:
            console.print(timeline_table(release_id, release_timeline(connection, release_id=release_id)))
    print_database_hints(console, database_path=database_path)
    for failure in failures:
        console.print(f"[bold red]Failed:[/] {escape(failure)}", soft_wrap=True)
    print_verdict(console, recount=recount)


def outcomes_table(model: ContractModel, *, records: int) -> Table:
    table = Table("outcome", "reason", "records", title=f"{records:,} records, {len(model.releases):,} releases")
    table.columns[2].justify = "right"
    for outcome in ("applied", "stale", "duplicate", "rejected"):
        for (found, reason), count in sorted(model.tally.items(), key=str):
            if found == outcome:
                table.add_row(outcome, reason or "", f"{count:,}")
    return table


def figures_table(figures: Figures) -> Table:
    """The steady figure first: it is what one event takes. In the burst an event waits behind all those before it."""
    table = Table("phase", "rate", "status events", "p50", "p99", title="From publishing to the first status event")
    for column in table.columns[1:]:
        column.justify = "right"
    throughput = figures.backlog_records / figures.backlog_seconds if figures.backlog_seconds else 0.0
    for phase, rate, quantiles in (
        ("steady load", f"{figures.steady_rate_per_second:,.0f}/s published", figures.steady_latency),
        (
            f"cold start, {figures.backlog_records:,} records at once",
            f"{throughput:,.0f}/s processed",
            figures.backlog_latency,
        ),
    ):
        if quantiles:
            table.add_row(
                phase, rate, f"{quantiles.count:,}", f"{quantiles.p50_ms:,.1f} ms", f"{quantiles.p99_ms:,.1f} ms"
            )
        else:
            table.add_row(phase, rate, "0", "-", "-")
    return table


def eventful_release(model: ContractModel) -> str | None:
    """Return the release whose deployments went through the most different changes."""
    changes: dict[str, set[tuple[str, str | None, str | None]]] = {release_id: set() for release_id in model.releases}
    for judged in model.judged:
        for activity in judged.activities:
            if judged.release_id:
                changes[judged.release_id].add((activity.about, activity.previous, activity.status))
    return max(changes, key=lambda release_id: (len(changes[release_id]), release_id), default=None)


def release_timeline(connection: sqlite3.Connection, *, release_id: str) -> list[TimelineEntry]:
    """Return a release's activity in the order in which its records arrived."""
    query = "SELECT created_at, activity_type, environment_id, activity_data FROM release_activity_logs"
    rows = connection.execute(f"{query} WHERE release_mgt_id = ?", (release_id,)).fetchall()
    parsed = [(row, json.loads(row[3])) for row in rows]
    return [
        TimelineEntry(
            time=str(row[0])[11:19],
            subject=f"{row[2]} #{data['attempt']}" if row[2] and data.get("attempt") else row[2] or "release",
            change=_change(data) or row[1],
            cause=str((data.get("event") or {}).get("type", "")).removeprefix("dev.rudder.").removesuffix(".v1"),
        )
        for row, data in sorted(parsed, key=lambda each: _arrival(*each))
    ]


def timeline_table(release_id: str, activities: Sequence[TimelineEntry]) -> Table:
    table = Table("time", "subject", "change", "caused by", title=f"Release {release_id}")
    for activity in activities:
        table.add_row(*map(escape, (activity.time, activity.subject, activity.change, activity.cause)))
    return table


def print_database_hints(console: Console, *, database_path: Path) -> None:
    query = "SELECT status, count(*) FROM releases GROUP BY status"
    console.print(f"The rows are in {database_path}; look at them with one of", soft_wrap=True)
    console.print(f'  sqlite3 {database_path} "{query}"', highlight=False, soft_wrap=True, markup=False)
    python = f"import sqlite3; print(*sqlite3.connect('{database_path}').execute('{query}'), sep='\\n')"
    console.print(f'  python -c "{python}"', highlight=False, soft_wrap=True, markup=False)


def print_verdict(console: Console, *, recount: Recount) -> None:
    if not recount.differences:
        console.print("[bold green]The recount agrees:[/] every row, status event and dead letter is as it must be.")
        return
    console.print(f"[bold red]The recount disagrees in {len(recount.differences):,} places:[/]")
    for difference in recount.differences[:DIFFERENCES_SHOWN]:
        console.print(f"  {difference}", highlight=False, soft_wrap=True, markup=False)
    if len(recount.differences) > DIFFERENCES_SHOWN:
        console.print(f"  … and {len(recount.differences) - DIFFERENCES_SHOWN:,} more")


def _change(data: dict[str, Any]) -> str:
    change = data.get("change") or {}
    return f"{change.get('from') or '∅'} → {change['to']}" if change.get("to") else ""


def _arrival(row: tuple[Any, ...], data: dict[str, Any]) -> tuple[str, int, int, bool]:
    """Order by record; in one record the release comes first, then what is superseded, last the release's status."""
    record = data.get("record") or {}
    rank = {"RELEASE_CREATED": 0, "DEPLOYMENT_STATUS_CHANGED": 1, "RELEASE_STATUS_CHANGED": 2}.get(row[1], 3)
    return (
        f"{record.get('topic')}/{record.get('partition')}",
        int(record.get("offset") or 0),
        rank,
        not _change(data).endswith("CANCELLED"),
    )
