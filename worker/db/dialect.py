"""What the store has to know about a kind of database, and nothing more."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, Protocol

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.db.loads import BatchedLoad
from worker.db.pointers import ComponentKey, PointerFragments
from worker.db.privileges import Role
from worker.db.queries import Fragments
from worker.db.session import Connections
from worker.db.statement import Statement
from worker.rules.errors import Unavailable

READ_ONLY: Mapping[str, Any] = MappingProxyType({"rudder_read_only": True, "postgresql_readonly": True})
"""Execution options of a connection that only reads and blocks no writer."""


class Dialect(Protocol):
    """One module beside this one implements it per database.

    `advises`: whether there may ever be any `advice`. `fragments`, `pointers`: the database's own words in statements.
    `utc_now`: an expression for the time of the server's clock in UTC; None: it has the clock of this machine.
    """

    advises: bool
    fragments: Fragments
    pointers: PointerFragments
    utc_now: str | None

    def to_statement(self, sql: str) -> Statement:
        """A statement with its parameters as the driver takes them."""
        ...

    def batched_load(self, component: ComponentKey | None) -> BatchedLoad | None:
        """The SELECT for many messages, for an `app_environments` whose `component_id` is of that kind; None: there is
        none.
        """
        ...

    def completed(self, url: URL) -> URL:
        """The URL for SQLAlchemy's engine: with what it may leave out, without what `engine_arguments` says.

        Raises:
            ConfigurationError: it cannot be completed.
            ImportError: what it needs is not installed.
        """
        ...

    def engine_arguments(self, url: URL, *, timeout_seconds: float) -> dict[str, Any]:
        """Keyword arguments for `create_async_engine`: pool, timeouts, isolation. `url`: as it was given."""
        ...

    def prepare(self, engine: AsyncEngine) -> None:
        """Hook up what every connection needs."""
        ...

    def connections(self, engine: AsyncEngine, *, connections_max: int, timeout_seconds: float) -> Connections:
        """The connections for messages. Nothing is connected to yet; `engine` is closed after them."""
        ...

    def statement_bound(self, timeout_seconds: float) -> str | None:
        """A statement that bounds the time of the later ones in its transaction; None: the driver does it, or nothing
        can.
        """
        ...

    async def advice(self, connection: AsyncConnection) -> Sequence[str]:
        """What an operator or a DBA should know of the driver and the database, a line each; nothing that forbids
        going on.
        """
        ...

    def grants(self, login: str, *, role: Role, revision: str) -> str:
        """A script that gives the login the privileges of the role, in a database at `revision`.

        Raises:
            ConfigurationError: the database knows no logins, or none of that name.
        """
        ...

    def reaction(self, error: BaseException) -> Exception | None:
        """The error of `worker.rules.errors` that a driver's or SQLAlchemy's error calls for; None: it is neither.

        A database error that is not known to be the fault of the event's own values is Unavailable: waiting loses
        nothing, rejecting does.
        """
        ...


@asynccontextmanager
async def reading(engine: AsyncEngine, dialect: Dialect) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction that only reads; the driver's errors become the worker's."""
    with translating(dialect):
        async with engine.connect() as connection:
            await connection.execution_options(**READ_ONLY)
            async with connection.begin():
                yield connection


@contextmanager
def translating(dialect: Dialect) -> Iterator[None]:
    """Turn what the driver raises inside into the errors of `worker.rules.errors`; others pass as they are."""
    try:
        yield
    except Exception as error:
        reaction = dialect.reaction(error)
        if reaction is None and isinstance(error, SQLAlchemyError) and not isinstance(error, StatementError):
            reaction = Unavailable(repr(error))  # of the pool or the connection, so not of any message's making
        if reaction is None:
            raise
        raise reaction from error
