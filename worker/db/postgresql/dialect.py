"""PostgreSQL through asyncpg, directly or through a pooler that gives each client a session."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg

from worker.db.postgresql import default_files as postgresql_default_files
from worker.db.postgresql import privileges as postgresql_privileges
from worker.db.postgresql.connections import PostgresqlConnections
from worker.db.postgresql.errors import reaction
from worker.db.postgresql.examination import examination
from worker.db.postgresql.fragments import FRAGMENTS, POINTERS, batched_load
from worker.db.postgresql.url import connect_arguments
from worker.db.privileges import Role
from worker.db.session import Connections, Examination
from worker.db.statement import numbered
from worker.db.url_parts import DatabaseUrl

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_ANSWER_TIMEOUT_SECONDS = 5.0
"""How long the answer may take beyond what the server takes: then it will not come."""

POINT_LOOKUPS = {
    # Every statement of a message looks rows up by an index that has them in the requested order. A plan is
    # made once, and tables that are still small, or not analysed yet, must not talk the planner into reading
    # them whole, into sorting what another index finds, or into a join that reads them all, when they have grown.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_sort": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


class PostgresqlDialect:
    """READ COMMITTED, as the server has it by default: the release's row serialises what must be."""

    advises = False
    fragments = FRAGMENTS
    pointers = POINTERS
    utc_now: str | None = "clock_timestamp() AT TIME ZONE 'UTC'"
    to_statement = staticmethod(numbered)
    batched_load = staticmethod(batched_load)

    def __init__(self, url: DatabaseUrl, *, timeout_seconds: float) -> None:
        given = connect_arguments(url)
        # Only what a pooler lets through is a startup parameter; the rest is set on the connection, once there is one.
        startup = {"application_name": "rudder-worker", "TimeZone": "UTC", **given.pop("server_settings", {})}
        self._connect_timeout_seconds = timeout_seconds
        self._timeout_seconds = given.setdefault("command_timeout", timeout_seconds)
        self._arguments: dict[str, Any] = {"timeout": timeout_seconds, **given, "server_settings": startup}
        self._engine_reaction: Callable[[BaseException], Exception | None] | None = None

    def completed(self, url: DatabaseUrl) -> DatabaseUrl:
        return replace(url, query={})

    def engine_arguments(self) -> dict[str, Any]:
        from sqlalchemy.pool import NullPool

        postgresql_default_files.install()
        return {
            "poolclass": NullPool,
            "isolation_level": "READ COMMITTED",
            "connect_args": self._arguments,
        }

    def prepare(self, engine: "AsyncEngine") -> None:
        from sqlalchemy import event

        from worker.db.postgresql.engine_errors import engine_reaction

        self._engine_reaction = engine_reaction
        setting = _setting(_of_sessions(self._timeout_seconds))

        def connected(connection: Any, _record: object) -> None:
            connection.run_async(lambda asyncpg_connection: asyncpg_connection.execute(setting))

        event.listen(engine.sync_engine, "connect", connected)

    def connections(self, engine: "Callable[[], AsyncEngine]", *, connections_max: int) -> PostgresqlConnections:
        del engine
        postgresql_default_files.install()
        milliseconds = str(int(self._timeout_seconds * 1000))
        # The server gives up first: what the client gave up alone would still wait there, and be written one day.
        settings = POINT_LOOKUPS | _of_sessions(self._timeout_seconds) | {"statement_timeout": milliseconds}
        arguments = {**self._arguments, "command_timeout": self._timeout_seconds + _ANSWER_TIMEOUT_SECONDS}

        async def connect() -> asyncpg.Connection:
            connection = await asyncpg.connect(**arguments)
            try:
                await connection.execute(_setting(settings))
            except BaseException:
                connection.terminate()
                raise
            return connection

        return PostgresqlConnections(
            connect,
            connections_max=connections_max,
            timeout_seconds=self._connect_timeout_seconds,
            answer_timeout_seconds=arguments["command_timeout"],
        )

    async def examine(self, connections: Connections, engine: "Callable[[], AsyncEngine]") -> Examination:
        del engine
        async with connections.begin() as session:
            return await examination(session)

    def statement_bound(self, timeout_seconds: float) -> str | None:
        # Compiling a plan to machine code costs more than it saves in statements of a few milliseconds, and so does
        # a temporary file for what fits into memory.
        settings = {"statement_timeout": str(int(timeout_seconds * 1000)), "jit": "off", "work_mem": "32MB"}
        return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())

    async def advice(self, connection: "AsyncConnection") -> Sequence[str]:
        del connection
        return ()

    def grants(self, login: str, *, role: Role, revision: str) -> str:
        return postgresql_privileges.script(login, role=role, revision=revision)

    def reaction(self, error: BaseException) -> Exception | None:
        of_engine = None if self._engine_reaction is None else self._engine_reaction(error)
        return of_engine or reaction(error)


def _of_sessions(timeout_seconds: float) -> dict[str, str]:
    return {
        # A worker that is stopped or cut off must not block a release for the next worker.
        "idle_in_transaction_session_timeout": str(int(timeout_seconds * 1000)),
        "tcp_keepalives_idle": str(max(1, int(timeout_seconds))),
    }


def _setting(settings: Mapping[str, str]) -> str:
    return "; ".join(f"SET {name} = '{value}'" for name, value in settings.items())
