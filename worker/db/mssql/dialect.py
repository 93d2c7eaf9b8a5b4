"""SQL Server through pyodbc and Microsoft's ODBC driver 18: in threads for messages, under aioodbc for the rest."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import NullPool

from worker.db.engine_errors import pool_reaction
from worker.db.inspection import examination
from worker.db.loads import BatchedLoad
from worker.db.mssql import advice as mssql_advice
from worker.db.mssql import privileges as mssql_privileges
from worker.db.mssql.batched_load import batched_load
from worker.db.mssql.connections import MssqlConnections
from worker.db.mssql.driver import completed
from worker.db.mssql.errors import reaction
from worker.db.mssql.fragments import FRAGMENTS, POINTERS
from worker.db.mssql.url import is_freetds
from worker.db.pointers import ComponentKey
from worker.db.privileges import Role
from worker.db.session import Connections, Examination
from worker.db.statement import positional
from worker.db.url_parts import DatabaseUrl
from worker.rules.errors import ConfigurationError, Unavailable

_RESOLUTION_TIMEOUT_SECONDS: Final = 10
"""The driver's login timeout does not count the resolution of the host name."""

_ANSWER_TIMEOUT_SECONDS: Final = 5
"""How long an answer may take beyond what the server may wait for a lock: then it will not come."""

_ALL_AT_ONCE_BYTES: Final = 2**31 - 1
"""A long text is sent with the rest and not after it, which would be another round trip."""

_SESSION: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET XACT_ABORT ON; SET LOCK_TIMEOUT {milliseconds};"
"""The server gives up first: what the client gave up alone would still wait there, and be written one day."""

_SNAPSHOT: Final = "SELECT is_read_committed_snapshot_on FROM sys.databases WHERE name = DB_NAME()"
"""By name: on Azure SQL Database DB_ID() need not be the database_id in sys.databases."""

FREETDS: Final = (
    "RUDDER_DATABASE_URL names FreeTDS, which is not supported: after a transaction that the server aborted its roll "
    "back fails, and statements may commit by themselves; leave the driver out, or name ODBC Driver 18 for SQL Server"
)
NO_SNAPSHOT: Final = (
    "READ_COMMITTED_SNAPSHOT is off: readers of the worker's tables and the worker wait for each other; run ALTER "
    "DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE, which ends the other transactions"
)


def _bounded(timeout_seconds: float) -> Callable[[Any], Awaitable[None]]:
    async def bound(connection: Any) -> None:
        connection.timeout = math.ceil(timeout_seconds)  # of each statement: pyodbc's own attribute

    return bound


def _connecting(timeout_seconds: float) -> Callable[..., Awaitable[Any]]:
    """aioodbc's `connect`, which waits for a thread, with a bound."""
    bound_seconds = math.ceil(timeout_seconds) + _RESOLUTION_TIMEOUT_SECONDS

    async def connect(*args: Any, **options: Any) -> Any:
        import aioodbc  # of the extra `mssql`: the engine could not have been made without it

        try:
            async with asyncio.timeout(bound_seconds):
                return await aioodbc.connect(*args, **options)
        except TimeoutError as error:
            raise Unavailable(
                f"SQL Server: no connection after {bound_seconds} s; the host name may not resolve"
            ) from error

    return connect


class MssqlDialect:
    """READ COMMITTED, in autocommit; a batch that writes is a transaction."""

    advises = True
    fragments = FRAGMENTS
    pointers = POINTERS
    utc_now: str | None = "SYSUTCDATETIME()"
    to_statement = staticmethod(positional)

    def __init__(self, url: DatabaseUrl, *, timeout_seconds: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._errors: tuple[type[BaseException], ...] = (DBAPIError,)

    def batched_load(self, component: ComponentKey | None) -> BatchedLoad:
        return batched_load(component)

    def completed(self, url: DatabaseUrl) -> DatabaseUrl:
        return completed(url)

    def engine_arguments(self) -> dict[str, Any]:
        timeout_seconds = self._timeout_seconds
        return {
            # For looking at the tables, at the start. Messages and probes have connections without its layers.
            "poolclass": NullPool,
            "isolation_level": "READ COMMITTED",
            "connect_args": {
                "async_creator_fn": _connecting(timeout_seconds),
                "timeout": math.ceil(timeout_seconds),  # of the login
                "after_created": _bounded(timeout_seconds),
            },
        }

    def prepare(self, engine: AsyncEngine) -> None:
        if driver := engine.dialect.dbapi:  # messages use it without SQLAlchemy's layers, and meet its own errors
            self._errors = (DBAPIError, driver.Error)

    def connections(self, engine: Callable[[], AsyncEngine], *, connections_max: int) -> MssqlConnections:
        opened, timeout_seconds = engine(), self._timeout_seconds
        import pyodbc  # of the extra `mssql`: the engine could not have been made without it

        # A driver manager with pooling switched on would keep closed connections, open transactions included.
        pyodbc.pooling = False
        try:
            _, arguments = opened.dialect.create_connect_args(opened.url)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"the database driver refuses RUDDER_DATABASE_URL: {error}") from error
        dsn = str(arguments["dsn"])
        session = _SESSION.format(milliseconds=math.ceil(timeout_seconds * 1_000))

        def connect() -> Any:
            connection = pyodbc.connect(dsn, autocommit=True, timeout=math.ceil(timeout_seconds))
            connection.timeout = math.ceil(timeout_seconds) + _ANSWER_TIMEOUT_SECONDS
            connection.maxwrite = _ALL_AT_ONCE_BYTES
            try:
                with connection.cursor() as cursor:
                    cursor.execute(session)
            except pyodbc.Error:
                connection.close()
                raise
            return connection

        return MssqlConnections(
            connect, errors=pyodbc.Error, connections_max=connections_max, timeout_seconds=timeout_seconds
        )

    async def examine(self, connections: Connections, engine: Callable[[], AsyncEngine]) -> Examination:
        del connections
        return await examination(engine(), self)

    def statement_bound(self, timeout_seconds: float) -> str | None:
        del timeout_seconds  # the connection has it
        return None

    async def advice(self, connection: AsyncConnection) -> Sequence[str]:
        return [
            *([FREETDS] if is_freetds(self._url) else []),
            *([NO_SNAPSHOT] if await connection.scalar(text(_SNAPSHOT)) in (False, 0) else []),
            *await mssql_advice.of_pointers(connection),
        ]

    def grants(self, login: str, *, role: Role, revision: str) -> str:
        return mssql_privileges.script(login, role=role, revision=revision)

    def reaction(self, error: BaseException) -> Exception | None:
        if isinstance(error, PoolTimeoutError | OSError | TimeoutError):
            return Unavailable(f"SQL Server: {error!r}")
        if not isinstance(error, self._errors):
            return pool_reaction(error)
        return reaction(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)
