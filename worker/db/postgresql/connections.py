"""The connections that messages take turns on: last in, first out, so that those in use stay warm.

asyncpg's own pool starts a task whenever a connection comes back, which costs more than all that is done here.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg
import structlog

from worker.db.connection_limit import ConnectionLimit
from worker.db.postgresql.errors import is_of_the_statement, is_too_many
from worker.db.postgresql.pipelining import Pipeline
from worker.db.postgresql.pooling import require_session
from worker.db.postgresql.session import PostgresqlSession
from worker.rules.errors import Unavailable
from worker.telemetry import LogEvent

_CLOSE_TIMEOUT_SECONDS = 5.0

_LIMITED_SECONDS = 60.0
"""How long the worker uses fewer connections before it attempts to open more."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.db")


class _Opened(NamedTuple):
    connection: asyncpg.Connection
    pipeline: Pipeline


class PostgresqlConnections:
    """`worker.db.session.Connections`. Nothing is connected to before it is needed.

    Where the server grants fewer connections than requested, the worker uses those that it has.
    """

    def __init__(
        self,
        connect: "Callable[[], Awaitable[asyncpg.Connection]]",
        *,
        connections_max: int,
        timeout_seconds: float,
        answer_timeout_seconds: float,
    ) -> None:
        """`answer_timeout_seconds`: of each statement."""
        self._connect = connect
        self._answer_timeout_seconds = answer_timeout_seconds
        self._connections_max = connections_max
        self._connection_limit = ConnectionLimit(
            database="PostgreSQL", connections_max=connections_max, timeout_seconds=timeout_seconds
        )
        self._idle: list[_Opened] = []
        self._in_use = 0
        """Connections that a message has, and those that are being made."""
        self._closed = self._limit_logged = False
        self._pooled: bool | None = None
        self._limited_until_seconds = 0.0

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresqlSession]:
        opened = await self._taken()
        connection = opened.connection
        try:
            try:
                yield PostgresqlSession(connection, opened.pipeline)
            except asyncpg.PostgresError as error:
                # Any error but the statement's may be the connection's own, of a server that became a replica for one.
                if not is_of_the_statement(error):
                    connection.terminate()
                raise
            except BaseException:
                connection.terminate()  # its state is unknown
                raise
            finally:
                self._in_use -= 1
                if self._closed:
                    connection.terminate()
                elif not connection.is_closed():
                    self._idle.append(opened)
        finally:
            self._connection_limit.give_back()

    async def close(self) -> None:
        self._closed = True
        idle, self._idle = self._idle, []
        for opened in idle:
            try:
                await opened.connection.close(timeout=_CLOSE_TIMEOUT_SECONDS)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                opened.connection.terminate()  # the server is unavailable, so the connection cannot be closed in order

    async def _taken(self) -> "_Opened":
        """A connection, and a place for it. Raises Unavailable where none becomes free in time."""
        while True:
            if time.monotonic() >= self._limited_until_seconds:
                self._connection_limit.restore()
            await self._connection_limit.take()
            self._in_use += 1
            opened: _Opened | None = None
            try:
                opened = await self._connection()
            except (asyncpg.PostgresError, TimeoutError) as error:
                # A pooler does not refuse a connection beyond its pool: it lets it wait.
                limited = is_too_many(error) or (self._pooled and isinstance(error, TimeoutError))
                if not limited or self._in_use + len(self._idle) == 1:
                    raise
                self._limit(error)
            else:
                return opened
            finally:
                if opened is None:
                    self._in_use -= 1
                    self._connection_limit.give_back()

    def _limit(self, error: Exception) -> None:
        """Lower the limit by one for a while: callers wait for an existing connection."""
        self._connection_limit.withhold()
        self._limited_until_seconds = time.monotonic() + _LIMITED_SECONDS
        if not self._limit_logged:
            self._limit_logged = True
            _log.warning(LogEvent.CONNECTIONS_LIMITED, wanted=self._connections_max, cause=f"PostgreSQL: {error!r}")

    async def _connection(self) -> "_Opened":
        while self._idle:
            opened = self._idle.pop()
            if not opened.connection.is_closed():
                return opened
        try:
            connection = await self._connect()
        except (TypeError, ValueError) as error:  # none of a message's values has been looked at yet
            if isinstance(error, asyncpg.ClientConfigurationError):
                raise
            raise Unavailable(f"PostgreSQL: connecting failed: {error!r}") from error
        try:
            if self._pooled is None:
                self._pooled = await require_session(connection, self._connect)
        except BaseException:
            connection.terminate()
            raise
        pipeline = Pipeline(connection, timeout_seconds=self._answer_timeout_seconds)
        return _Opened(connection, pipeline)
