"""The demo's report: what became of the events, one release's history, and where to look."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_STALE = "EVENT_STALE"
_EVENTS = """
    SELECT activity_type = :stale, count(DISTINCT json_extract(activity_data, '$.event.source')
                                         || char(10) || json_extract(activity_data, '$.event.id'))
    FROM release_activity_logs GROUP BY 1
"""
_REJECTIONS = (
    "SELECT reason, count(*), count(resolved_at) FROM release_event_rejections GROUP BY reason ORDER BY reason"
)
_EVENTFUL_RELEASE = """
    SELECT release_mgt_id FROM release_activity_logs GROUP BY release_mgt_id
    ORDER BY count(DISTINCT coalesce(environment_id, '') || activity_type || status) DESC, release_mgt_id LIMIT 1
"""
_HISTORY = """
    SELECT created_at, activity_type, environment_id, activity_data FROM release_activity_logs
    WHERE release_mgt_id = ? ORDER BY rowid
"""
_RELEASES = "SELECT status, count(*) FROM releases GROUP BY status"


def print_report(console: Console, *, records: int, database_path: Path) -> None:
    """What the tables hold; `records`: how many were published."""
    with closing(sqlite3.connect(f"{database_path.as_uri()}?mode=ro", uri=True)) as connection:
        console.print(outcomes_table(connection, records=records))
        console.print(history_table(connection))
    console.print(f"The tables are in {database_path}; query them with one of", highlight=False, soft_wrap=True)
    for command in (
        f'sqlite3 {database_path} "{_RELEASES}"',
        f"python -c \"import sqlite3; print(*sqlite3.connect('{database_path}').execute('{_RELEASES}'), sep='\\n')\"",
    ):
        console.print(f"  {command}", highlight=False, soft_wrap=True, markup=False)


def outcomes_table(connection: sqlite3.Connection, *, records: int) -> Table:
    """Records by outcome. Each record that is in no table repeats one that is: a duplicate."""
    events = dict(connection.execute(_EVENTS, {"stale": _STALE}))
    rejections = connection.execute(_REJECTIONS).fetchall()
    table = Table("outcome", "reason", "records", title=f"{records:,} records")
    table.columns[2].justify = "right"
    applied, stale = events.get(0, 0), events.get(1, 0)
    duplicates = records - applied - stale - sum(count for _, count, _ in rejections)
    for outcome, count in (("applied", applied), ("stale", stale), ("duplicate", duplicates)):
        table.add_row(outcome, "", f"{count:,}")
    for reason, count, resolved in rejections:
        table.add_row(
            "rejected", f"{reason} ({resolved} applied after a redrive)" if resolved else reason, f"{count:,}"
        )
    return table


def history_table(connection: sqlite3.Connection) -> Table:
    """The activity log of the release with the most different changes, in the order in which it was written."""
    (release_id,) = connection.execute(_EVENTFUL_RELEASE).fetchone() or ("none",)
    table = Table("time", "subject", "change", "caused by", title=f"Activity log of release {release_id}")
    for created_at, activity_type, environment_id, activity_data in connection.execute(_HISTORY, (release_id,)):
        data = json.loads(activity_data)
        subject = f"{environment_id} #{data['attempt']}" if data.get("attempt") else environment_id or "release"
        cause = data["event"]["type"].removeprefix("dev.rudder.").removesuffix(".v1")
        cells = (created_at[11:19], subject, _change_text(data.get("change")) or activity_type, cause)
        table.add_row(*map(escape, cells))
    return table


def print_verification(console: Console, path: Path, *, verified: bool) -> None:
    """What `verify` printed, and what that means."""
    console.print("\n`rudder-worker verify` compared the topics and the tables:")
    console.print(path.read_text("utf-8"), highlight=False, markup=False, soft_wrap=True)
    if verified:
        console.print("[bold green]Verified:[/] every row, status event and dead letter is as the contract says.")
    else:
        console.print("[bold red]Not verified:[/] see the findings above.")


def print_addresses(console: Console, http_port: int, bootstrap_servers: str, database_path: Path) -> None:
    """Where the worker and the broker listen, and how to publish one more event."""
    with closing(sqlite3.connect(database_path)) as connection:
        release_id, organization_id = connection.execute("SELECT id, organization_id FROM releases LIMIT 1").fetchone()
    data = {"release_id": release_id, "organization_id": organization_id, "environment_id": "development"}
    event = f"--type deployment.requested --source /demo --id 1 --data '{json.dumps(data)}'"
    console.print("\nEverything stays up until Ctrl-C:")
    for line in (
        f"http://127.0.0.1:{http_port}/readyz",
        f"http://127.0.0.1:{http_port}/metrics",
        f"RUDDER_KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers} rudder-worker publish {event}",
    ):
        console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)


def _change_text(change: dict[str, Any] | None) -> str:
    return f"{change['from'] or '∅'} → {change['to']}" if change else ""
