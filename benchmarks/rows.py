"""A database's rows in a SQLite one in memory: the recount reads no other kind, and asks for its texts."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from tests.conformance.contents import contents
from worker.db.models import Base

TABLES: Final = (
    "releases",
    "release_deployments",
    "release_activity_logs",
    "release_apim_base_revisions",
    "release_event_rejections",
    "app_environments",
)


@contextmanager
def rows_in_sqlite(database_url: str) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a copy of all that the worker's tables hold."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for table, (columns, rows) in asyncio.run(_read(database_url)).items():
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            connection.execute(f"CREATE TABLE {table} ({names})")
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - names of our own
        yield connection


def as_text(value: Any) -> Any:
    """Return a value as SQLite's tables hold it: times to the microsecond, ids in lower case."""
    match value:
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S.%f}"
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            return value


Tables = dict[str, tuple[list[str], list[tuple[Any, ...]]]]


async def _read(database_url: str) -> Tables:
    if not database_url.startswith("postgresql"):
        return await _read_as_mapped(database_url)
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        found = {}
        for table in TABLES:
            statement = await connection.prepare(f"SELECT * FROM {table}")  # noqa: S608 - named above
            columns = [attribute.name for attribute in statement.get_attributes()]
            rows = [tuple(map(as_text, row)) for row in await statement.fetch()]
            found[table] = (columns, rows)
        return found
    finally:
        await connection.close()


async def _read_as_mapped(database_url: str) -> Tables:
    """In the types of the worker's models, where the driver's own are others."""
    return {
        name: (list(Base.metadata.tables[name].columns.keys()), [tuple(map(as_text, row.values())) for row in rows])
        for name, rows in (await contents(database_url, *TABLES)).items()
    }
