"""`rudder-worker migrate`: create or change the tables, or print the SQL for review."""

import asyncio
from typing import Annotated, Literal

import typer

from worker.cli.exits import clear_errors, warn_of_unknown_names
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load


def migrate(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="Target revision.")] = "head",
    down: Annotated[
        bool, typer.Option("--down", help="Downgrade to the revision; `base` removes all tables of the worker.")
    ] = False,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL instead of running it, without a connection.")
    ] = False,
    start: Annotated[str | None, typer.Option("--from", help="With --sql: current revision of the database.")] = None,
    grants: Annotated[
        str | None,
        typer.Option(metavar="LOGIN", help="Print the GRANT statements for the privileges of LOGIN, and exit."),
    ] = None,
    role: Annotated[
        Literal["worker", "operator", "reader"] | None,
        typer.Option(
            help="With --grants: what LOGIN is for. Default: worker. `replay --execute` needs worker and operator."
        ),
    ] = None,
) -> None:
    """Create or change the worker's tables in RUDDER_DATABASE_URL."""
    with clear_errors():
        log_setup.configure(level="info", log_format=context.obj)
        settings = load()
        warn_of_unknown_names()
        log_setup.configure(level=settings.log_level, log_format=context.obj)
        if grants is not None:
            if down or sql or start is not None or revision != "head":
                raise ConfigurationError(
                    "--grants cannot be combined with other options; it prints the privileges at the newest revision"
                )
            _print_grants(settings, grants, role or "worker")
            return
        if role is not None:
            raise ConfigurationError("--role requires --grants: it selects the privileges to print")
        if start is not None and not sql:
            raise ConfigurationError("--from requires --sql: it is the first revision of the script")
        if down and revision == "head":
            if not sql:
                raise ConfigurationError("--down requires a target revision, for example `base`")
            revision = "base"
        from worker.db import migration
        from worker.db.database_url import parse_url
        from worker.db.revisions import head_revision

        url = settings.database_url.get_secret_value()
        parse_url(url)
        if sql:
            print(migration.script(url, start=start, revision=revision))
            return
        asyncio.run(_require_connection(settings))
        (migration.downgrade if down else migration.upgrade)(url, revision)
        print(f"the database is at revision {head_revision() if revision == 'head' else revision}")


def _print_grants(settings: Settings, login: str, role: str) -> None:
    from worker.db.dialect import dialect_of
    from worker.db.privileges import Role
    from worker.db.revisions import head_revision

    dialect = dialect_of(settings.database_url.get_secret_value())
    print(dialect.grants(login, role=Role(role), revision=head_revision()))


async def _require_connection(settings: Settings) -> None:
    """Connect once: Alembic would raise the driver's exceptions, not ConfigurationError or Unavailable."""
    from worker.assembly.databases import store

    database = store(settings)
    try:
        await database.connect()
    finally:
        await database.close()
