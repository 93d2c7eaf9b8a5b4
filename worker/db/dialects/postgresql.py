"""PostgreSQL through asyncpg. Error classes: PostgreSQL documentation, appendix A."""

from collections.abc import Awaitable, Sequence
from typing import Any

import asyncpg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import NullPool

from worker.db.dialects import postgresql_grants
from worker.db.dialects.postgresql_connections import PostgresqlConnections
from worker.db.pointers import EXACTLY
from worker.domain.errors import Conflict, Misconfigured, Outrun, Unavailable, Unprocessable

_CONFLICT_CLASSES = ("23", "40", "RW")
"""Integrity constraint violation, transaction rollback (serialisation, deadlock), and the worker's own guards."""

_RELEASE_CHANGED = "RW003"

_UNPROCESSABLE_CLASSES = ("22",)
"""Data exception: a value that the column cannot hold."""

_MISCONFIGURED_CLASSES = ("28", "3D", "42501")
"""Invalid authorisation, invalid catalog name, insufficient privilege: nobody is let in, there is no such database, or
a right is missing.
"""


_ANSWER_TIMEOUT_SECONDS = 5.0
"""How long the answer may take beyond what the server takes: then it will not come."""

POINT_LOOKUPS = {
    # Every statement of a message looks rows up by an index that has them in the order that is asked for. A plan is
    # made once, and tables that are still small, or that nobody has analysed, must not talk the planner into reading
    # them whole, into sorting what another index finds, or into a join that reads them all, when they have grown.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_sort": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


def _connect_arguments(timeout_seconds: float) -> dict[str, Any]:
    return {
        "timeout": timeout_seconds,
        "command_timeout": timeout_seconds,
        "server_settings": {
            "application_name": "rudder-worker",
            "TimeZone": "UTC",
            # A worker that is stopped or cut off must not hold a release against whoever comes next.
            "idle_in_transaction_session_timeout": str(int(timeout_seconds * 1000)),
            "tcp_keepalives_idle": str(max(1, int(timeout_seconds))),
        },
    }


class PostgresqlDialect:
    """READ COMMITTED, as the server has it by default: the release's row serialises what must be."""

    advises = False
    exactly = EXACTLY

    def completed(self, url: URL) -> URL:
        return url

    def engine_arguments(self, url: URL, *, timeout_seconds: float) -> dict[str, Any]:
        del url
        return {
            # For looking at the tables, at the start. Messages and probes have connections without its layers.
            "poolclass": NullPool,
            "isolation_level": "READ COMMITTED",
            "connect_args": _connect_arguments(timeout_seconds),
        }

    def prepare(self, engine: AsyncEngine) -> None:
        """Nothing to hook up."""

    def conversations(
        self, engine: AsyncEngine, *, connections_max: int, timeout_seconds: float
    ) -> PostgresqlConnections:
        _, arguments = engine.dialect.create_connect_args(engine.url)
        # SQLAlchemy's names for what asyncpg does as well; behind a pooler that shares sessions it has to be 0.
        arguments.pop("prepared_statement_name_func", None)
        if "prepared_statement_cache_size" in arguments:
            arguments["statement_cache_size"] = arguments.pop("prepared_statement_cache_size")
        arguments.update(_connect_arguments(timeout_seconds))
        arguments["server_settings"] |= POINT_LOOKUPS
        # The server gives up first: what the client gave up alone would still wait there, and be written one day.
        arguments["server_settings"]["statement_timeout"] = str(int(timeout_seconds * 1000))
        arguments["command_timeout"] = timeout_seconds + _ANSWER_TIMEOUT_SECONDS

        def connect() -> Awaitable[asyncpg.Connection]:
            connecting: Awaitable[asyncpg.Connection] = asyncpg.connect(**arguments)
            return connecting

        return PostgresqlConnections(connect, connections_max=connections_max, timeout_seconds=timeout_seconds)

    async def advice(self, connection: AsyncConnection) -> Sequence[str]:
        del connection
        return ()

    def grants(self, login: str, *, revision: str) -> str:
        return postgresql_grants.script(login, revision=revision)

    def reaction(self, error: BaseException) -> Exception | None:
        if isinstance(error, DBAPIError):
            return _by_state(getattr(error.orig, "sqlstate", None), str(error.orig))
        if isinstance(error, asyncpg.PostgresError):
            return _by_state(error.sqlstate, str(error))
        if isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError):
            return Unavailable(f"PostgreSQL: {error!r}")
        return None


def _by_state(sqlstate: str | None, text: str) -> Exception:
    state = sqlstate or ""
    if state == _RELEASE_CHANGED:
        return Outrun(text)
    if state.startswith(_CONFLICT_CLASSES):
        return Conflict(text)
    if state.startswith(_UNPROCESSABLE_CLASSES):
        return Unprocessable(text)
    if state.startswith(_MISCONFIGURED_CLASSES):
        return Misconfigured(f"PostgreSQL: {text}")
    return Unavailable(f"PostgreSQL: {text}")
