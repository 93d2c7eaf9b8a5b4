"""The objects of a migrated database with their definitions, to compare schemas, and one row for each table."""

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Executable, insert, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from worker.db.models import Release, ReleaseActivityLog, ReleaseApimBaseRevision, ReleaseDeployment

SQLITE = """
SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master WHERE tbl_name <> 'rudder_alembic_version'
"""

POSTGRESQL = """
SELECT concat_ws(' ', 'column', table_name, ordinal_position, column_name, data_type, character_maximum_length,
                 is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'rudder_alembic_version'
UNION ALL
SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'rudder_alembic_version'
UNION ALL
SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'rudder_alembic_version'
UNION ALL
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""

MSSQL = """
SELECT CONCAT('column ', t.name, ' ', c.column_id, ' ', c.name, ' ', TYPE_NAME(c.user_type_id), ' ', c.max_length,
              ' ', c.is_nullable, ' ', d.definition)
FROM sys.columns AS c JOIN sys.tables AS t ON t.object_id = c.object_id
LEFT JOIN sys.default_constraints AS d ON d.parent_object_id = c.object_id AND d.parent_column_id = c.column_id
WHERE t.name <> 'rudder_alembic_version'
UNION ALL
SELECT CONCAT('index ', t.name, ' ', CASE WHEN i.is_primary_key = 1 THEN 'primary key' ELSE i.name END)
FROM sys.indexes AS i JOIN sys.tables AS t ON t.object_id = i.object_id
WHERE t.name <> 'rudder_alembic_version' AND i.index_id > 0
UNION ALL
SELECT CONCAT('check ', name, ' ', {check}) FROM sys.check_constraints
UNION ALL
SELECT CONCAT('foreign key ', OBJECT_NAME(parent_object_id), ' ', delete_referential_action) FROM sys.foreign_keys
UNION ALL
SELECT CONCAT('trigger ', name, ' ', OBJECT_DEFINITION(object_id)) FROM sys.triggers
"""

BABELFISH_CHECK = "''"
"""Babelfish 4.3 cannot show a CHECK with IN: `unrecognized node type`."""

BATCHES = re.compile(r"^GO$", re.MULTILINE)
"""Separates the batches of a script for SQL Server; read by sqlcmd, not by the server."""

MOMENT = datetime(2024, 2, 29, 12, 30, 0, 5, tzinfo=UTC)
ID = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
ROWS = (
    insert(Release).values(
        id=ID,
        created_at=MOMENT,
        release_date=date(2024, 2, 29),
        release_number=7,
        project_id=ID,
        organization_id="Größe ✓",
        created_by="somebody",
        component_id=ID,
        deployment_track_id="main",
    ),
    insert(ReleaseDeployment).values(id=ID, release_mgt_id=ID, environment_id="prod"),
    insert(ReleaseActivityLog).values(id=ID, release_mgt_id=ID, activity_type="NOTE"),
    insert(ReleaseApimBaseRevision).values(
        release_mgt_id=ID, endpoint_name="e", api_id="a", revision_id="r", access_mode="m"
    ),
)
QUERIES = {"sqlite": SQLITE, "postgresql": POSTGRESQL, "mssql": MSSQL}
TABLES_OF_ROWS = ("releases", "release_deployments", "release_activity_logs", "release_apim_base_revisions")


def run(url: str, *statements: str | Executable, foreign_keys: bool = False) -> list[Sequence[Any]]:
    """Executes the statements in one transaction; returns the last one's rows."""

    async def execute() -> list[Sequence[Any]]:
        engine = create_async_engine(url, poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                if foreign_keys and url.startswith("sqlite"):
                    await connection.exec_driver_sql("PRAGMA foreign_keys = ON")
                for statement in statements:
                    result = await connection.execute(text(statement) if isinstance(statement, str) else statement)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            await engine.dispose()

    return asyncio.run(execute())


def catalog(url: str) -> set[str]:
    """Every object of the database with its definition, without Alembic's own table. Layout, comments, quotes and a
    final semicolon are removed.
    """
    query = QUERIES[make_url(url).get_backend_name()]
    if url.startswith("mssql"):
        query = query.replace("{check}", BABELFISH_CHECK if is_babelfish(url) else "definition")
    definitions = (re.sub(r"--.*", "", definition).replace('"', "") for (definition,) in run(url, query))
    return {" ".join(definition.split()).removesuffix(";") for definition in definitions}


def is_babelfish(url: str) -> bool:
    """Whether the server is Babelfish, PostgreSQL with TDS, which lacks some of SQL Server's features."""
    return url.startswith("mssql") and run(url, "SELECT CAST(SERVERPROPERTY('babelfish') AS INT)") == [(1,)]


def counts(url: str) -> list[int]:
    """The number of rows in each table of ROWS."""
    return [run(url, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES_OF_ROWS]


def execute_script(url: str, script: str) -> None:
    """Run a whole script in one connection, batch by batch, as a DBA does."""

    async def on_mssql() -> None:
        engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                for batch in BATCHES.split(script):
                    if batch.strip():
                        await connection.exec_driver_sql(batch)
        finally:
            await engine.dispose()

    async def on_postgresql() -> None:
        connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(False))
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    if url.startswith("postgresql"):
        asyncio.run(on_postgresql())
    elif url.startswith("mssql"):
        asyncio.run(on_mssql())
    else:
        connection = sqlite3.connect(str(make_url(url).database))
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(script)
        connection.close()
