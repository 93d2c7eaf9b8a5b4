"""A TDS server that somebody else runs: SQL Server, or Babelfish, named by RUDDER_TEST_MSSQL_URL."""

import asyncio
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.servers.availability import unavailable
from worker.db.engine import completed_url

_DROP_TIMEOUT_SECONDS = 30.0

VARIABLE = "RUDDER_TEST_MSSQL_URL"


def administer(statement: str) -> None:
    """On the server, outside of any transaction."""

    async def execute() -> None:
        engine = create_async_engine(_server(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                await connection.exec_driver_sql(statement)
        finally:
            await engine.dispose()

    # In a thread, since the test may have an event loop of its own.
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, execute()).result()


@contextmanager
def empty_database() -> Iterator[str]:
    """Its URL, complete; skips the test where there is no server."""
    server = _server()
    name = f"rudder_test_{uuid.uuid4().hex}"
    administer(f"CREATE DATABASE {name}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        _drop(name)


def _drop(name: str) -> None:
    """Whoever was killed is still connected for as long as the server has not noticed."""
    give_up_at_seconds = time.monotonic() + _DROP_TIMEOUT_SECONDS
    while True:
        try:
            return administer(f"DROP DATABASE {name}")
        except DBAPIError as error:
            if "in use" not in str(error) or time.monotonic() > give_up_at_seconds:
                raise
        time.sleep(0.5)


def _server() -> URL:
    server = os.environ.get(VARIABLE)
    if not server:
        unavailable("mssql", f"{VARIABLE} names no SQL Server")
    return completed_url(server)
