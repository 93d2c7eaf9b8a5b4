"""The connections that messages take turns on: last in, first out, so that those in use stay warm.

asyncpg's own pool starts a task whenever a connection comes back, which costs more than all that is done here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from worker.db.dialects.postgresql_conversation import PostgresqlConversation
from worker.db.places import Places
from worker.domain.errors import Misconfigured

_CLOSE_TIMEOUT_SECONDS = 5.0
_JUDGED_CLASSES = ("22", "23", "40", "RW")
"""Data exception, integrity constraint violation, transaction rollback, and the worker's own guards."""


class PostgresqlConnections:
    """`worker.db.conversation.Conversations`. Nothing is connected to before it is needed."""

    of_the_engine = False

    def __init__(
        self, connect: "Callable[[], Awaitable[asyncpg.Connection]]", *, connections_max: int, timeout_seconds: float
    ) -> None:
        self._connect = connect
        self._places = Places(database="PostgreSQL", connections_max=connections_max, timeout_seconds=timeout_seconds)
        self._idle: list[asyncpg.Connection] = []

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresqlConversation]:
        await self._places.take()
        try:
            connection = await self._connection()
            try:
                yield PostgresqlConversation(connection)
            except asyncpg.PostgresError as error:
                # The server judged the statement, and in autocommit has undone it: the connection is as good as new.
                # Any other error may be the connection's own, of a server that has become a replica for one.
                if not (error.sqlstate or "").startswith(_JUDGED_CLASSES):
                    connection.terminate()
                raise
            except BaseException:
                connection.terminate()  # in the middle of something, nobody knows of what
                raise
            finally:
                if not connection.is_closed():
                    self._idle.append(connection)
        finally:
            self._places.give_back()

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            try:
                await connection.close(timeout=_CLOSE_TIMEOUT_SECONDS)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()  # the server is away: there is nobody to say goodbye to

    async def _connection(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            return await self._connect()
        except (TypeError, ValueError) as error:  # asyncpg's words for an option of the URL that it does not know
            raise Misconfigured(f"the database driver refuses RUDDER_DATABASE_URL: {error}") from error
