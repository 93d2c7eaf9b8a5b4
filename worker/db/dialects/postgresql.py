"""PostgreSQL through asyncpg. Error classes: PostgreSQL documentation, appendix A."""

from typing import Any

import asyncpg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.domain.errors import Conflict, Misconfigured, Unavailable, Unprocessable

_CONFLICT_CLASSES = ("23", "40", "RW")
"""Integrity constraint violation, transaction rollback (serialisation, deadlock), and the worker's own guards."""

_UNPROCESSABLE_CLASSES = ("22",)
"""Data exception: a value that the column cannot hold."""

_MISCONFIGURED_CLASSES = ("28", "3D")
"""Invalid authorisation, invalid catalog name: nobody is let in, or there is no such database."""


class PostgresqlDialect:
    """READ COMMITTED, as the server has it by default: the release's row serialises what must be."""

    single_writer = False

    def engine_arguments(self, url: URL, *, connections_max: int, timeout_seconds: float) -> dict[str, Any]:
        del url
        return {
            "pool_size": connections_max,
            "max_overflow": 0,
            "pool_timeout": timeout_seconds,
            "isolation_level": "READ COMMITTED",
            "connect_args": {
                "timeout": timeout_seconds,
                "command_timeout": timeout_seconds,
                "server_settings": {
                    "application_name": "rudder-worker",
                    "TimeZone": "UTC",
                    # A worker that is stopped or cut off must not hold its releases against whoever comes next.
                    "idle_in_transaction_session_timeout": str(int(timeout_seconds * 1000)),
                    "tcp_keepalives_idle": str(max(1, int(timeout_seconds))),
                },
            },
        }

    def prepare(self, engine: AsyncEngine) -> None:
        """Nothing to hook up."""

    def reaction(self, error: BaseException) -> Exception | None:
        if isinstance(error, DBAPIError):
            return _by_state(getattr(error.orig, "sqlstate", None), str(error.orig))
        if isinstance(error, asyncpg.PostgresError):
            return _by_state(error.sqlstate, str(error))
        if isinstance(error, PoolTimeoutError | OSError | TimeoutError | asyncpg.InterfaceError):
            return Unavailable(f"PostgreSQL: {error!r}")
        return None


def _by_state(sqlstate: str | None, text: str) -> Exception:
    state = sqlstate or ""
    if state.startswith(_CONFLICT_CLASSES):
        return Conflict(text)
    if state.startswith(_UNPROCESSABLE_CLASSES):
        return Unprocessable(text)
    if state.startswith(_MISCONFIGURED_CLASSES):
        return Misconfigured(f"PostgreSQL: {text}")
    return Unavailable(f"PostgreSQL: {text}")
