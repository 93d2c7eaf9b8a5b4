"""What the store has to know about a kind of database, and nothing more.

A process loads the dialect of its own database, and SQLAlchemy only where something has an engine.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from worker.db.database_url import parse_url
from worker.db.loads import BatchedLoad
from worker.db.pointers import ComponentKey, PointerFragments
from worker.db.privileges import Role
from worker.db.queries import Fragments
from worker.db.session import Connections, Examination
from worker.db.statement import Statement
from worker.db.url_parts import DatabaseUrl

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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

    def completed(self, url: DatabaseUrl) -> DatabaseUrl:
        """The URL for SQLAlchemy's engine: with what it may leave out, without what `engine_arguments` says.

        Raises:
            ConfigurationError: it cannot be completed.
            ImportError: what it needs is not installed.
        """
        ...

    def engine_arguments(self) -> dict[str, Any]:
        """Keyword arguments for `create_async_engine`: pool, timeouts, isolation."""
        ...

    def prepare(self, engine: "AsyncEngine") -> None:
        """Hook up what every connection needs, and know the engine's errors."""
        ...

    def connections(self, engine: "Callable[[], AsyncEngine]", *, connections_max: int) -> Connections:
        """The connections for messages. Nothing is connected to yet. `engine`: called where they need one, which is
        closed after them.

        Raises:
            ConfigurationError: as `worker.db.engine.engine_of`.
        """
        ...

    async def examine(self, connections: Connections, engine: "Callable[[], AsyncEngine]") -> Examination:
        """What a store looks at when it is opened. `engine`: as for `connections`.

        Raises what `reaction` takes.
        """
        ...

    def statement_bound(self, timeout_seconds: float) -> str | None:
        """A statement that bounds the time of the later ones in its transaction; None: the driver does it, or nothing
        can.
        """
        ...

    async def advice(self, connection: "AsyncConnection") -> Sequence[str]:
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
        """The error of `worker.rules.errors` that an error of the driver, or of a prepared engine, calls for; None: it
        is neither.

        A database error that is not known to be the fault of the event's own values is Unavailable: waiting loses
        nothing, rejecting does.
        """
        ...


def dialect_of(url: str, *, timeout_seconds: float = 0.0) -> Dialect:
    """What is special about the URL's database. `timeout_seconds`: of connecting, and of each statement, where the URL
    has no other; for connections and engines.

    Raises:
        ConfigurationError: as `parse_url`.
    """
    parsed = parse_url(url)
    match parsed.drivername:
        case "mssql+aioodbc":
            from worker.db.mssql.dialect import MssqlDialect

            return MssqlDialect(parsed, timeout_seconds=timeout_seconds)
        case "sqlite+aiosqlite":
            from worker.db.sqlite.dialect import SqliteDialect

            return SqliteDialect(parsed, timeout_seconds=timeout_seconds)
        case _:
            from worker.db.postgresql.dialect import PostgresqlDialect

            return PostgresqlDialect(parsed, timeout_seconds=timeout_seconds)


@asynccontextmanager
async def reading(engine: "AsyncEngine", dialect: Dialect) -> "AsyncIterator[AsyncConnection]":
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
        if reaction is None:
            raise
        raise reaction from error
