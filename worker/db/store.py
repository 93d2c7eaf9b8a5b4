"""`worker.ports.Store` on SQLAlchemy: the one place where a transaction begins and ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import assert_never

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.db.dialects.dialect import Dialect, translating
from worker.db.engine import open_engine
from worker.db.migration import current_revision, head_revision, known_revisions
from worker.db.pointers import Pointers
from worker.db.reading import load_state
from worker.db.writing import write_changes, write_rejection
from worker.domain.errors import Misconfigured, Unavailable
from worker.domain.message import Message
from worker.domain.state import Applied, Duplicate, Outcome, Rejected, Stale, State
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.db")


class SqlStore:
    """Opened by `open`, and closed by whoever opened it."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect) -> None:
        self._engine = engine
        self._dialect = dialect
        self._pointers: Pointers | None = None

    @classmethod
    def open(cls, url: str, *, connections_max: int, timeout_seconds: float) -> "SqlStore":
        """Nothing is connected to yet.

        Raises:
            Misconfigured: as `worker.db.engine.open_engine`.
        """
        return cls(*open_engine(url, connections_max=connections_max, timeout_seconds=timeout_seconds))

    async def close(self) -> None:
        await self._engine.dispose()

    async def check(self) -> None:
        """Look whether the tables are those that this version was written for, and what app_environments is like.

        Raises:
            Unavailable: the database does not answer.
            Misconfigured: it lets nobody in, or was not migrated.
        """
        async with self._connected() as connection:
            revision, head = await current_revision(connection), head_revision()
            # A revision that this version does not know is a newer one: a rollout migrates before it restarts.
            if revision != head and (revision is None or revision in known_revisions()):
                at = f"at revision {revision}" if revision else "without the worker's tables"
                raise Misconfigured(
                    f"the database is {at}, this version needs {head}: run `rudder-worker migrate` first"
                )
            self._pointers = await Pointers.look_up(connection)
        if self._pointers is None:
            _log.warning(LogEvent.POINTERS_OFF)

    async def ping(self) -> None:
        async with self._connected() as connection:
            await connection.execute(text("SELECT 1"))

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["SqlTransaction"]:
        async with self._connected() as connection:
            yield SqlTransaction(connection, self._pointers, hold_release=not self._dialect.single_writer)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, which is committed at the end; the driver's errors become the worker's."""
        with translating(self._dialect):
            try:
                connection = await self._engine.connect()
            except (
                TypeError,
                ValueError,
            ) as error:  # the driver's words for an option of the URL that it does not know
                raise Misconfigured(f"the database driver refuses RUDDER_DATABASE_URL: {error}") from error
            try:
                async with connection.begin():
                    yield connection
            except Exception as error:
                if isinstance(self._dialect.reaction(error), Unavailable):
                    # What state its transaction is in, nobody knows: no later message may find out.
                    await connection.invalidate()
                raise
            finally:
                await connection.close()


class SqlTransaction:
    """`worker.ports.Transaction`; `SqlStore.begin` makes and ends it."""

    def __init__(self, connection: AsyncConnection, pointers: Pointers | None, *, hold_release: bool) -> None:
        self._connection = connection
        self._pointers = pointers
        self._hold_release = hold_release

    async def load(self, message: Message) -> State:
        return await load_state(self._connection, message, self._pointers, hold_release=self._hold_release)

    async def write(self, outcome: Outcome) -> None:
        match outcome:
            case Applied(changes=changes) | Stale(changes=changes):
                await write_changes(self._connection, changes, self._pointers)
            case Rejected(rejection=rejection, again=again):
                await write_rejection(self._connection, rejection, again=again)
            case Duplicate():
                pass
            case _:
                assert_never(outcome)
