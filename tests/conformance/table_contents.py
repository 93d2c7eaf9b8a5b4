"""The contents of all tables in Python's types. Equal rows have equal contents on every database."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table, insert, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from worker.db.models import Base
from worker.demo.company import app_environments

TABLES: Mapping[str, Table] = Base.metadata.tables
WORKERS_TABLES = (
    "releases",
    "release_deployments",
    "release_activity_logs",
    "release_apim_base_revisions",
    "release_event_rejections",
)
OPERATORS_TABLES = (
    "database_identity",
    "operator_actions",
    "redrive_records",
    "release_event_dismissals",
    "worker_breakers",
)
"""Not a function of the topics."""

Row = dict[str, Any]
Contents = dict[str, list[Row]]


async def contents(url: str, *tables: str) -> Contents:
    """Every cell of the tables, rows in a fixed order. Default: all tables but OPERATORS_TABLES."""
    found: Contents = {}
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            for name in tables or tuple(table for table in TABLES if table not in OPERATORS_TABLES):
                rows = await connection.execute(select(TABLES[name]))
                found[name] = sorted((dict(row._mapping) for row in rows), key=lambda row: str(list(row.values())))
    finally:
        await engine.dispose()
    return found


async def rows(url: str, table: str) -> list[Row]:
    return (await contents(url, table))[table]


async def row(url: str, table: str) -> Row:
    """The table's only row."""
    [only] = await rows(url, table)
    return only


async def insert_rows(url: str, table: str, values: Sequence[Row]) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(insert(TABLES[table]), values)
    finally:
        await engine.dispose()


async def insert_environments(database_url: str, seed: int) -> None:
    """Inserts the platform's rows, whose pointers the worker sets."""
    await insert_rows(database_url, "app_environments", app_environments(seed=seed))
