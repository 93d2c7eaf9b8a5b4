"""SQL Server through aioodbc and Microsoft's ODBC driver 18.

Error numbers: Microsoft's "Database Engine events and errors". Not run against a SQL Server so far; see the README.
"""

import math
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.db.dialects.mssql_conversation import MssqlConversations
from worker.domain.errors import Conflict, Misconfigured, Outrun, Unavailable, Unprocessable

_CONFLICTS = frozenset(
    {
        547,  # constraint (CHECK, foreign key)
        1205,  # deadlock victim
        2601,  # unique index
        2627,  # primary key or unique constraint
        3960,  # snapshot update conflict
        51001,  # the worker's guard on release_deployments
        51002,  # the worker's guard on releases
        51004,  # the worker's batch: a row is no longer as it was read
    }
)
_RELEASE_CHANGED = 51003  # the worker's batch
_UNPROCESSABLE = frozenset(
    {
        220,  # arithmetic overflow
        515,  # NULL in a NOT NULL column
        2628,  # text too long, naming the column
        8115,  # arithmetic overflow on conversion
        8152,  # text too long
    }
)
_MISCONFIGURED = frozenset(
    {
        4060,  # no such database, or no right to it
        18456,  # login failed
    }
)
_NUMBER = re.compile(r"\((\d+)\) \(SQL\w+\)")
"""How Microsoft's driver writes the server's number into its message."""


def _bounded(timeout_seconds: float) -> Callable[[Any], Awaitable[None]]:
    async def bound(connection: Any) -> None:
        connection.timeout = math.ceil(timeout_seconds)  # of each statement: pyodbc's own attribute

    return bound


class MssqlDialect:
    """READ COMMITTED; the release's row serialises what must be."""

    def __init__(self) -> None:
        self._errors: tuple[type[BaseException], ...] = (DBAPIError,)

    def engine_arguments(self, url: URL, *, connections_max: int, timeout_seconds: float) -> dict[str, Any]:
        del url
        return {
            "pool_size": connections_max,
            "max_overflow": 0,
            "pool_timeout": timeout_seconds,
            "isolation_level": "READ COMMITTED",
            # Whoever uses a connection ends its transaction; the pool's roll back would be a round trip for nothing.
            "pool_reset_on_return": None,
            "connect_args": {
                "timeout": math.ceil(timeout_seconds),  # of the login
                "after_created": _bounded(timeout_seconds),
                # One thread a connection: a COMMIT must never wait for a thread that waits for its lock.
                "executor": ThreadPoolExecutor(connections_max, thread_name_prefix="odbc"),
            },
        }

    def prepare(self, engine: AsyncEngine) -> None:
        if driver := engine.dialect.dbapi:  # messages use it without SQLAlchemy's layers, and meet its own errors
            self._errors = (DBAPIError, driver.Error)

    def conversations(self, engine: AsyncEngine, *, connections_max: int, timeout_seconds: float) -> MssqlConversations:
        del connections_max, timeout_seconds  # the engine's
        return MssqlConversations(engine)

    def reaction(self, error: BaseException) -> Exception | None:
        if isinstance(error, PoolTimeoutError | OSError | TimeoutError):
            return Unavailable(f"SQL Server: {error!r}")
        if not isinstance(error, self._errors):
            return None
        text = str(error.orig if isinstance(error, DBAPIError) else error)
        numbers = {int(number) for number in _NUMBER.findall(text)}
        if _RELEASE_CHANGED in numbers:
            return Outrun(text)
        if numbers & _CONFLICTS:
            return Conflict(text)
        if numbers & _UNPROCESSABLE:
            return Unprocessable(text)
        if numbers & _MISCONFIGURED:
            return Misconfigured(f"SQL Server: {text}")
        return Unavailable(f"SQL Server: {text}")
