"""Runs the revisions against a database, or writes them as SQL (`--sql`).

The URL comes from whoever runs this in code (`config.attributes["url"]`), or from RUDDER_DATABASE_URL, or from the file
that RUDDER_DATABASE_URL_FILE names. Logging is left to the caller: standard output carries SQL and nothing else.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import context
from alembic.ddl.mssql import MSSQLImpl
from alembic.util import CommandError
from sqlalchemy import URL, Connection, event, inspect, make_url, text
from sqlalchemy.exc import TimeoutError as LockTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

# SQLite rolls DDL back as the others do, as long as the driver does not meddle with its transactions (see below).
_OPTIONS: dict[str, Any] = {
    # `alembic check` compares with these; the migrations themselves know nothing of the worker's models.
    "target_metadata": context.config.attributes.get("target_metadata"),
    # Not Alembic's own name, which another application in the same schema may use.
    "version_table": "rudder_alembic_version",
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

# Replicas that start together may all migrate: one goes first, and the others find nothing left to do. The lock ends
# with the transaction that all revisions are run in, so that none stays in a pooler. SQLite's own lock does the same.
_LOCK_TIMEOUT_SECONDS = 300

_LOCKS = {
    "postgresql": "pg_advisory_xact_lock(hashtext('rudder migrations'))",
    "mssql": "EXEC sp_getapplock 'rudder migrations', 'Exclusive', 'Transaction', {milliseconds}",
}

# The version table of earlier versions of the worker: Alembic's own name.
_FORMER_VERSION_TABLE = "alembic_version"

# By this table a row of that name is known to be the worker's: the first revision makes none of its own.
_TABLE_OF_THE_WORKER = "release_activity_logs"


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
        transaction_per_migration=True,
        **_OPTIONS,
    )
    output = context.get_context().impl.static_output
    header = {"sqlite": f"{_SQLITE_PRAGMA};\n", "mssql": _MSSQL_HEADER}.get(url.get_backend_name())
    if header:
        output(header)
    if start := context.get_starting_revision_argument():
        [revision] = context.script.get_revisions(start)
        output(_version_table_at(revision.revision, url.get_backend_name()))
    with context.begin_transaction():
        context.run_migrations()


def _version_table_at(revision: str, kind: str) -> str:
    """For a script that does not begin with an empty database, whose version may stand in the former table."""
    table = _OPTIONS["version_table"]
    create = f"CREATE TABLE IF NOT EXISTS {table} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
    if kind == "mssql":
        create = f"IF OBJECT_ID(N'{table}') IS NULL CREATE TABLE {table} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
    insert = f"INSERT INTO {table} (version_num) SELECT '{revision}' WHERE NOT EXISTS (SELECT 1 FROM {table})"  # noqa: S608 - our names
    separator = "\n\nGO" if kind == "mssql" else ""
    return f"{create};{separator}\n\n{insert};{separator}\n"


async def _migrate(url: URL) -> None:
    arguments = dict(context.config.attributes.get("connect_args", {}))
    engine = create_async_engine(url, poolclass=NullPool, connect_args=arguments)
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
    context.configure(connection=connection, include_name=_own_names_only, **_OPTIONS)
    with context.begin_transaction():
        _lock(connection)
        _take_over(connection)
        context.run_migrations()


def _lock(connection: Connection) -> None:
    timeout_seconds = int(context.config.attributes.get("lock_timeout_seconds", _LOCK_TIMEOUT_SECONDS))
    waiting: Callable[[int], None] = context.config.attributes.get("waiting", lambda _seconds: None)
    kind = connection.dialect.name
    if kind == "postgresql":
        # Of every lock that the migration waits for: a table may be in use, too.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{timeout_seconds}s'")
        if not connection.scalar(text(f"SELECT {_LOCKS[kind].replace('pg_', 'pg_try_', 1)}")):
            waiting(timeout_seconds)
            connection.execute(text(f"SELECT {_LOCKS[kind]}"))
    elif kind == "mssql":
        connection.exec_driver_sql(f"SET LOCK_TIMEOUT {timeout_seconds * 1_000}")
        # ODBC's implicit transactions begin with a statement that reads a table, and not with an EXEC: without one
        # there is no transaction that could own the lock.
        connection.exec_driver_sql("SELECT TOP (1) 1 FROM sys.objects").all()
        if not connection.scalar(
            text("SELECT APPLOCK_TEST('public', 'rudder migrations', 'Exclusive', 'Transaction')")
        ):
            waiting(timeout_seconds)
        connection.exec_driver_sql(_LOCKS[kind].format(milliseconds=timeout_seconds * 1_000))
        # Its result would come behind others, which a driver may or may not pass over.
        if connection.scalar(text("SELECT APPLOCK_MODE('public', 'rudder migrations', 'Transaction')")) != "Exclusive":
            raise LockTimeout(f"another migration has kept its lock for {timeout_seconds} s")


def _take_over(connection: Connection) -> None:
    """Continue from the version that an earlier version of the worker left in Alembic's own table, which stays as it
    is for a worker of that version. Another application's table of that name has none of our revisions.
    """
    tables = inspect(connection)
    table = _OPTIONS["version_table"]
    if tables.has_table(table) or not tables.has_table(_FORMER_VERSION_TABLE):
        return
    if not tables.has_table(_TABLE_OF_THE_WORKER):
        return
    columns = {column["name"] for column in tables.get_columns(_FORMER_VERSION_TABLE)}
    if "version_num" not in columns:
        return
    found = connection.execute(text(f"SELECT version_num FROM {_FORMER_VERSION_TABLE}")).scalars().all()  # noqa: S608 - our name
    own = {script.revision for script in context.script.walk_revisions()} & set(found)
    if len(own) == 1:
        connection.execute(text(f"CREATE TABLE {table} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(text(f"INSERT INTO {table} (version_num) VALUES (:version)"), {"version": own.pop()})  # noqa: S608 - our name


if context.is_offline_mode():
    _write_sql(_url())
else:
    asyncio.run(_migrate(_url()))
