"""A PostgreSQL database that answers queries and blocks writes: it holds a worker between load and write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import make_url

from tests.conformance.deadlines import until

_WAITING = (
    "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
)


class BlockedWrites:
    """Yielded by `blocked_writes`."""

    def __init__(self, connection: "asyncpg.Connection") -> None:
        self._connection = connection

    async def wait_for(self, count: int = 1) -> None:
        """Return when `count` connections wait to write; their queries before it were answered."""

        async def wait() -> bool:
            # Within a transaction the server repeats its first snapshot of the activity.
            await self._connection.execute("SELECT pg_stat_clear_snapshot()")
            return bool(await self._connection.fetchval(f"SELECT count(*) {_WAITING}") == count)

        await until(wait, what=f"{count} connections wait to write")

    async def terminate(self) -> None:
        """Terminate the waiting connections, which then have written nothing. A server process does not notice that its
        client has died, and would write later.
        """
        assert await self._connection.fetch(f"SELECT pg_terminate_backend(pid, 10000) {_WAITING}")


@asynccontextmanager
async def blocked_writes(database_url: str) -> AsyncIterator[BlockedWrites]:
    """Within the context, inserts into the activity log wait."""
    plain = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE release_activity_logs IN SHARE MODE")
            yield BlockedWrites(connection)
    finally:
        await connection.close()
