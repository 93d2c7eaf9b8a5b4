"""Databases at the head revision, copied from one that the migrations made: on PostgreSQL a third of their cost.

The first database of each server is migrated and becomes the template of the others; so does the first SQLite file of
the process. Only empty databases are replaced by a copy, all others are migrated. Tests of the migrations themselves
call `worker.db.migration`.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import asyncpg
from sqlalchemy import URL, make_url

from tests.testkit.postgres import SUPERUSER
from worker.db import migration

_TEMPLATE = "template_at_head"

_EMPTY = """
SELECT NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace)
   AND (SELECT COUNT(*) = 4 FROM pg_namespace)
   AND NOT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = d.oid)
   AND d.datacl IS NULL
  FROM pg_database AS d WHERE d.datname = current_database()
"""
"""No table, no further schema, no setting and no privilege of its own: nothing that a copy would lose."""


async def migrate(url: str, revision: str = "head") -> None:
    parsed = make_url(url)
    if revision != "head":
        await asyncio.to_thread(migration.upgrade, url, revision)
    elif parsed.get_backend_name() == "sqlite":
        await asyncio.to_thread(_migrate_file, url, parsed.database or "")
    elif parsed.get_backend_name() == "postgresql" and parsed.username == SUPERUSER and await _is_empty(parsed):
        await _replace_by_copy(parsed)
    else:
        await asyncio.to_thread(migration.upgrade, url)


def _migrate_file(url: str, name: str) -> None:
    path = Path(name)
    if path.is_absolute() and path.parent.is_dir() and not path.exists():
        path.write_bytes(_sqlite_at_head())
    else:
        migration.upgrade(url)


@cache
def _sqlite_at_head() -> bytes:
    with tempfile.TemporaryDirectory(prefix="rudder-template-") as folder:
        path = Path(folder) / "template.db"
        migration.upgrade(f"sqlite+aiosqlite:///{path}")
        assert [one.name for one in Path(folder).iterdir()] == [path.name], "the log is not in the file"
        return path.read_bytes()


async def _is_empty(url: URL) -> bool:
    async with _connected(url, url.database) as database:
        return bool(await database.fetchval(_EMPTY))


async def _replace_by_copy(url: URL) -> None:
    """The first time on a server, the database itself is migrated, and copied for the next."""
    async with _connected(url, "postgres") as server:
        if await server.fetchval(f"SELECT EXISTS (SELECT FROM pg_database WHERE datname = '{_TEMPLATE}')"):
            await server.execute(f'DROP DATABASE "{url.database}" WITH (FORCE)')
            await server.execute(_copy(_TEMPLATE, url.database))
        else:
            await asyncio.to_thread(migration.upgrade, url.render_as_string(hide_password=False))
            await server.execute(_copy(url.database, _TEMPLATE))


def _copy(source: str | None, target: str | None) -> str:
    return f'CREATE DATABASE "{target}" TEMPLATE "{source}" STRATEGY file_copy'


@asynccontextmanager
async def _connected(url: URL, database: str | None) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(host=url.host, port=url.port, user=url.username, database=database, ssl=False)
    try:
        yield connection
    finally:
        await connection.close()
