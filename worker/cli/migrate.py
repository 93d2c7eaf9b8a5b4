"""`rudder-worker migrate`: the tables, up, down, or as a script for review."""

from typing import Annotated

import typer

from worker.cli import logs
from worker.cli.exits import clear_errors
from worker.settings import load


def migrate(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="The revision to go to.")] = "head",
    down: Annotated[
        bool, typer.Option("--down", help="Go down to the revision; `base` takes everything back.")
    ] = False,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL instead of running it; connects to nothing.")
    ] = False,
    start: Annotated[str | None, typer.Option("--from", help="With --sql: the revision the database is at.")] = None,
) -> None:
    """Create or change the worker's tables in RUDDER_DATABASE_URL."""
    with clear_errors():
        settings = load()
        logs.configure(level=settings.log_level, log_format=context.obj)
        url = settings.database_url.get_secret_value()
        from worker.db import migration
        from worker.db.dialects.dialect import translating
        from worker.db.engine import dialect_of

        if sql:
            target = "base" if down and revision == "head" else revision
            print(migration.script(url, start=start, revision=target))
            return
        if down and revision == "head":
            raise typer.BadParameter("--down needs the revision to go down to, such as `base`")
        with translating(dialect_of(url)):
            if down:
                migration.downgrade(url, revision)
            else:
                migration.upgrade(url, revision)
        print(f"the database is at revision {migration.head_revision() if revision == 'head' else revision}")
