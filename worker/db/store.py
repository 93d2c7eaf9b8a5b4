"""`worker.ports.Store`: loads and transactions on the connections of one database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.event import ReleaseReference
from worker.db.breakers import SqlOpenings
from worker.db.dialect import Dialect, translating
from worker.db.engine import open_engine
from worker.db.known_events import SqlKnownEvents
from worker.db.loads import Loads
from worker.db.pointers import Pointers
from worker.db.revisions import require_current
from worker.db.session import Connections
from worker.db.table_reader import SqlTableReader
from worker.db.writes import write_set_of
from worker.ports import Transaction
from worker.rules.query import Query
from worker.rules.state import State
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.db")


class SqlStore:
    """Opened by `open`; its caller closes it."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect, connections: Connections) -> None:
        self._engine = engine
        self._dialect = dialect
        self._connections = connections
        self._use(None)

    @classmethod
    def open(cls, url: str, *, connections_max: int, timeout_seconds: float) -> "SqlStore":
        """Nothing is connected to yet.

        Raises:
            ConfigurationError: as `worker.db.engine.open_engine`.
        """
        engine, dialect = open_engine(url, timeout_seconds=timeout_seconds)
        connections = dialect.connections(engine, connections_max=connections_max, timeout_seconds=timeout_seconds)
        return cls(engine, dialect, connections)

    async def close(self) -> None:
        await self._connections.close()
        await self._engine.dispose()

    async def check(self) -> None:
        """Look whether the tables are those that this version was written for, and what app_environments is like.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: it refuses the login, or is not migrated.
        """
        await self.connect()
        async with self._connected() as connection:
            await require_current(connection)
            self._use(await Pointers.look_up(connection, fragments=self._dialect.pointers))
            advice = await self._dialect.advice(connection)
        await self.ping()
        if self._pointers is None:
            _log.warning(LogEvent.ENVIRONMENT_POINTERS_DISABLED)
        for line in advice:
            _log.warning(LogEvent.DATABASE_ADVICE, advice=line)

    async def advice(self) -> Sequence[str]:
        """What an operator or a DBA should know of the database, a line each.

        Raises:
            Unavailable, ConfigurationError: as `check`.
        """
        async with self._connected() as connection:
            return await self._dialect.advice(connection)

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

    def tables(self) -> SqlTableReader:
        """Whole releases, by connections of their own where the database has many. The store closes them."""
        return SqlTableReader(self._engine, self._dialect)

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

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, which is committed at the end; the driver's errors become the worker's."""
        with translating(self._dialect):
            async with self._engine.connect() as connection, connection.begin():
                yield connection
