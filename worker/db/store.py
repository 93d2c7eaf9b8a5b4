"""`worker.ports.Store`: loads and transactions on the connections of one database."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from schemas.event import ReleaseReference
from worker.db.breakers import SqlOpenings
from worker.db.dialect import Dialect, dialect_of, translating
from worker.db.known_events import SqlKnownEvents
from worker.db.loads import Loads
from worker.db.pointers import Pointers, require_columns
from worker.db.revisions import require_head
from worker.db.session import Examination
from worker.db.writes import write_set_of
from worker.ports import Transaction
from worker.rules.query import Query
from worker.rules.state import State
from worker.stored_rows import ReleaseRows
from worker.telemetry import LogEvent

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from worker.db.table_reader import SqlTableReader

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.db")


class SqlStore:
    """Opened by `open`; its caller closes it."""

    def __init__(self, dialect: Dialect, url: str, *, connections_max: int) -> None:
        self._dialect = dialect
        self._url = url
        self._opened_engine: AsyncEngine | None = None
        self._connections = dialect.connections(self._engine, connections_max=connections_max)
        self._use(None)

    @classmethod
    def open(cls, url: str, *, connections_max: int, timeout_seconds: float) -> "SqlStore":
        """Nothing is connected to yet.

        Raises:
            ConfigurationError: the URL is none, names an unsupported driver, or its driver is not installed.
        """
        return cls(dialect_of(url, timeout_seconds=timeout_seconds), url, connections_max=connections_max)

    async def close(self) -> None:
        await self._connections.close()
        if self._opened_engine is not None:
            await self._opened_engine.dispose()

    async def check(self) -> None:
        """Look whether the tables are those that this version was written for, and what app_environments is like.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: it refuses the login, or is not migrated.
        """
        await self.connect()
        examined = await self._examination()
        require_head(examined.revision)
        self._use(Pointers.of_columns(require_columns(examined.pointer_columns), fragments=self._dialect.pointers))
        await self.ping()
        if self._pointers is None:
            _log.warning(LogEvent.ENVIRONMENT_POINTERS_DISABLED)
        for line in examined.advice:
            _log.warning(LogEvent.DATABASE_ADVICE, advice=line)

    async def advice(self) -> Sequence[str]:
        """What an operator or a DBA should know of the database, a line each.

        Raises:
            Unavailable, ConfigurationError: as `check`.
        """
        return (await self._examination()).advice

    async def load(self, queries: Sequence[Query]) -> Sequence[State]:
        """As `worker.ports.Store` says."""
        with translating(self._dialect):
            async with self._connections.begin() as session:
                return await self._loads.load(session, queries)

    async def find_releases(self, references: Sequence[ReleaseReference]) -> Sequence[UUID | None]:
        """As `worker.ports.ReleaseFinder` says."""
        with translating(self._dialect):
            async with self._connections.begin() as session:
                return await self._loads.find_releases(session, references)

    async def write(self, transactions: Sequence[Transaction], *, patient: bool = True) -> Sequence[Exception | None]:
        """As `worker.ports.Store` says."""
        write_sets = [
            write_set_of(one.changes, one.query, one.state, self._pointers, follows=one.follows) for one in transactions
        ]
        with translating(self._dialect):
            async with self._connections.begin() as session:
                errors = await session.write(write_sets, patient=patient)
        return [error and (self._dialect.reaction(error) or error) for error in errors]

    def openings(self) -> SqlOpenings:
        """The openings of breakers, by the connections of messages."""
        return SqlOpenings(self._connections, self._dialect)

    def known_events(self) -> SqlKnownEvents:
        """Which events are stored, by the connections of messages."""
        return SqlKnownEvents(self._connections, self._dialect)

    async def rows_of(self, release_ids: Sequence[UUID]) -> Sequence[ReleaseRows]:
        """As `worker.pipeline.current_states.StoredReleases`."""
        return await self.tables().rows_of(release_ids)

    def tables(self) -> "SqlTableReader":
        """Whole releases, by connections of their own where the database has many. The store closes them."""
        from worker.db.table_reader import SqlTableReader

        return SqlTableReader(self._engine(), self._dialect)

    async def connect(self) -> None:
        """Take a connection as a message does, and give it back.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: it refuses the login, or the worker cannot use it.
        """
        with translating(self._dialect):
            async with self._connections.begin():
                pass

    async def ping(self) -> None:
        with translating(self._dialect):
            async with self._connections.begin() as session:
                await session.ping(self._pointers)

    def _use(self, pointers: Pointers | None) -> None:
        dialect, component = self._dialect, pointers.component if pointers else None
        self._pointers = pointers
        self._loads = Loads.of(
            dialect.fragments,
            component,
            to_statement=dialect.to_statement,
            batched=dialect.batched_load(component),
        )

    async def _examination(self) -> Examination:
        with translating(self._dialect):
            return await self._dialect.examine(self._connections, self._engine)

    def _engine(self) -> "AsyncEngine":
        """For whole releases, and for databases whose messages need it. Opened late: SQLAlchemy takes over 20 MB."""
        if self._opened_engine is None:
            from worker.db.engine import engine_of

            self._opened_engine = engine_of(self._dialect, self._url)
        return self._opened_engine
