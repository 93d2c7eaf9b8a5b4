"""Whether a client keeps its session at the server, or a pooler gives each of its transactions another one."""

from collections.abc import Awaitable, Callable

import asyncpg

from worker.db.postgresql.errors import TRANSACTION_POOLING
from worker.rules.errors import ConfigurationError

_ROUNDS = 5
"""Poolers may be busy, or take their sessions in turn: a session that changes hands shows in one of these."""


async def require_session(
    connection: "asyncpg.Connection", connect: "Callable[[], Awaitable[asyncpg.Connection]]"
) -> bool:
    """Look whether `connection` keeps its session, and whether there is a pooler; only then a second one is made.

    Raises:
        ConfigurationError: it does not.
    """
    # A pooler makes up the process id that it announces to a client; PostgreSQL announces the session's own.
    if await _session(connection) == connection.get_server_pid():
        return False
    try:
        other = await connect()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return True  # a pool of one session, which the first connection has: it would have been free for the other
    try:
        for _ in range(_ROUNDS):
            await _require_session(connection, other)
    finally:
        other.terminate()
    return True


async def _require_session(connection: "asyncpg.Connection", other: "asyncpg.Connection") -> None:
    own = {await _session(connection), await _session(connection)}
    async with other.transaction():
        own_and_other = own | {await _session(other)}
        if len(own) == 1 and len(own_and_other) == 2:
            own_and_other.add(await _session(connection))
    if len(own) > 1 or len(own_and_other) != 2:
        raise ConfigurationError(TRANSACTION_POOLING)


async def _session(connection: "asyncpg.Connection") -> int:
    """The server's process of a transaction. Unnamed, so that no session is left with a prepared statement."""
    async with connection.transaction():
        statement = await connection.prepare("SELECT pg_backend_pid()", name="")
        found: int = await statement.fetchval()
        return found
