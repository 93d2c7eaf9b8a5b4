"""A TDS server that runs outside the tests: SQL Server or Babelfish, named by RUDDER_TEST_MSSQL_URL."""

import asyncio
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.testkit.availability import unavailable
from worker.db.engine import completed_url

VARIABLE = "RUDDER_TEST_MSSQL_URL"

_DROP_TIMEOUT_SECONDS = 30.0


class MssqlUnavailable(Exception):
    """No server is named; the message has the variable that names one."""


class MssqlServer:
    """The login of the URL creates and drops databases on it."""

    def __init__(self) -> None:
        named = os.environ.get(VARIABLE)
        if not named:
            raise MssqlUnavailable(f"{VARIABLE} names no SQL Server")
        self._url = completed_url(named)

    def execute(self, statement: str) -> Any:
        """Runs the statement outside a transaction; returns the first value of the first row, if any."""

        async def execute() -> Any:
            engine = create_async_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
            try:
                async with engine.connect() as connection:
                    result = await connection.exec_driver_sql(statement)
                    return result.scalar() if result.returns_rows else None
            finally:
                await engine.dispose()

        # In a thread, since the caller may have an event loop of its own.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(asyncio.run, execute()).result()

    def version(self) -> str:
        """The first line of the server's @@VERSION."""
        return str(self.execute("SELECT @@VERSION")).splitlines()[0]

    def create(self) -> str:
        """Creates an empty database and returns its name."""
        name = f"rudder_test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        if not self.execute("SELECT CAST(SERVERPROPERTY('babelfish') AS INT)"):
            self.execute(f"ALTER DATABASE {name} SET READ_COMMITTED_SNAPSHOT ON")  # as it should be
        return name

    def url(self, name: str) -> str:
        """The complete URL, with its password."""
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        self.execute_when_free(f"DROP DATABASE {name}")

    def execute_when_free(self, statement: str) -> None:
        """Retries while the server still counts the connections of a killed or closed client."""
        give_up_at_seconds = time.monotonic() + _DROP_TIMEOUT_SECONDS
        while True:
            try:
                self.execute(statement)
            except DBAPIError as error:
                if (
                    not any(words in str(error) for words in ("in use", "currently logged in"))
                    or time.monotonic() > give_up_at_seconds
                ):
                    raise
            else:
                return
            time.sleep(0.5)


def server() -> MssqlServer:
    """The server; skips the test without one."""
    try:
        return MssqlServer()
    except MssqlUnavailable as error:
        unavailable("mssql", str(error))


@contextmanager
def empty_database() -> Iterator[str]:
    """The URL of an empty database; skips the test without a server."""
    one = server()
    name = one.create()
    try:
        yield one.url(name)
    finally:
        one.drop(name)
