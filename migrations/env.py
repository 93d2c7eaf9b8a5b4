"""Runs the revisions against a database, or writes them as SQL (`--sql`).

The URL comes from whoever runs this in code (`config.attributes["url"]`), or from RUDDER_DATABASE_URL, or from the file
that RUDDER_DATABASE_URL_FILE names. Logging is left to the caller: standard output carries SQL and nothing else.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from alembic import context
from alembic.ddl.mssql import MSSQLImpl
from alembic.util import CommandError
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

# SQLite rolls DDL back as the others do, as long as the driver does not meddle with its transactions (see below).
_OPTIONS: dict[str, Any] = {
    # `alembic check` compares with these; the migrations themselves know nothing of the worker's models.
    "target_metadata": context.config.attributes.get("target_metadata"),
    "transaction_per_migration": True,
    "transactional_ddl": True,
    "compare_server_default": True,
    "render_as_batch": True,
}

# Rebuilding a table, SQLite's way to add a constraint, drops the old one; with foreign keys on that would delete the
# rows which refer to it. Inside a transaction the pragma does nothing, so it stands before the first.
_SQLITE_PRAGMA = "PRAGMA foreign_keys = OFF"

# What runs a script goes on after an error, unless it is told otherwise, and the batches after it would stand alone.
_MSSQL_HEADER = """\
-- To be run by sqlcmd -b, which stops at the first error.

SET XACT_ABORT ON;

SET QUOTED_IDENTIFIER ON;

GO

"""

# Replicas that start together may all migrate: one goes first, and the others find nothing left to do. The locks belong
# to the session and end with it. SQLite has none; a second migration that meets a first one there fails and rolls back.
_LOCKS = {
    "postgresql": "SELECT pg_advisory_lock(hashtext('rudder migrations'))",
    "mssql": "EXEC sp_getapplock @Resource = 'rudder migrations', @LockMode = 'Exclusive', @LockOwner = 'Session'",
}


class _MssqlScripts(MSSQLImpl):
    """In place of Alembic's own: a script's CREATE TRIGGER has to be the first statement of its batch, and would come
    right behind a BEGIN TRANSACTION.
    """

    __dialect__ = "mssql"

    def emit_begin(self) -> None:
        super().emit_begin()
        self.static_output(self.batch_separator)


def _url() -> URL:
    given: URL | str | None = context.config.attributes.get("url") or os.environ.get("RUDDER_DATABASE_URL")
    file = os.environ.get("RUDDER_DATABASE_URL_FILE")
    if not given and file:
        given = Path(file).read_text(encoding="utf-8").strip()
    if not given:
        raise CommandError("no database: set RUDDER_DATABASE_URL or RUDDER_DATABASE_URL_FILE")
    return make_url(given)


def _own_names_only(name: str | None, kind: str, _parents: object) -> bool:
    # Autogenerate must not propose to drop the tables of other systems in the same database.
    metadata = _OPTIONS["target_metadata"]
    return kind != "table" or (metadata is not None and name in metadata.tables)


def _write_sql(url: URL) -> None:
    context.configure(
        url=url,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        include_name=_own_names_only,
        **_OPTIONS,
    )
    header = {"sqlite": f"{_SQLITE_PRAGMA};\n", "mssql": _MSSQL_HEADER}.get(url.get_backend_name())
    if header:
        context.get_context().impl.static_output(header)
    with context.begin_transaction():
        context.run_migrations()


async def _migrate(url: URL) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    if url.get_backend_name() == "sqlite":
        _own_transactions(engine)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run_revisions)
    finally:
        await engine.dispose()


def _own_transactions(engine: AsyncEngine) -> None:
    """Makes SQLite's transactions real: the driver alone would begin none for DDL."""

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(_SQLITE_PRAGMA)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _run_revisions(connection: Connection) -> None:
    if lock := _LOCKS.get(connection.dialect.name):
        connection.exec_driver_sql(lock)
        connection.commit()
    context.configure(connection=connection, include_name=_own_names_only, **_OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    _write_sql(_url())
else:
    asyncio.run(_migrate(_url()))
