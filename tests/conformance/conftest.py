"""The databases that every conformance test runs on, each time an empty one."""

import asyncio
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.servers.availability import unavailable
from worker.db.engine import completed_url


@pytest.fixture(params=["sqlite", "postgresql", "mssql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database; SQL Server only where RUDDER_TEST_MSSQL_URL names a server."""
    match request.param:
        case "sqlite":
            yield f"sqlite+aiosqlite:///{tmp_path / 'rudder.db'}"
        case "postgresql":
            yield request.getfixturevalue("postgres_url")
        case _:
            yield from _empty_mssql_database()


def _empty_mssql_database() -> Iterator[str]:
    server = os.environ.get("RUDDER_TEST_MSSQL_URL")
    if not server:
        unavailable("mssql", "RUDDER_TEST_MSSQL_URL names no SQL Server")
    server = completed_url(server).render_as_string(hide_password=False)
    name = f"rudder_test_{uuid.uuid4().hex}"
    administer(f"CREATE DATABASE {name}")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        administer(f"DROP DATABASE {name}")


def administer(statement: str) -> None:
    """On the server of RUDDER_TEST_MSSQL_URL, outside of any transaction."""
    server = completed_url(os.environ["RUDDER_TEST_MSSQL_URL"])

    async def execute() -> None:
        engine = create_async_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                await connection.exec_driver_sql(statement)
        finally:
            await engine.dispose()

    # In a thread, since the test may have an event loop of its own.
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, execute()).result()
