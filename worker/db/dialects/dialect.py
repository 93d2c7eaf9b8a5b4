"""What the store has to know about a kind of database, and nothing more."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.db.conversation import Conversations
from worker.domain.errors import Unavailable


class Dialect(Protocol):
    """One module beside this one implements it per database."""

    def engine_arguments(self, url: URL, *, connections_max: int, timeout_seconds: float) -> dict[str, Any]:
        """Keyword arguments for `create_async_engine`: pool, timeouts, isolation."""
        ...

    def prepare(self, engine: AsyncEngine) -> None:
        """Hook up what every connection needs."""
        ...

    def conversations(self, engine: AsyncEngine, *, connections_max: int, timeout_seconds: float) -> Conversations:
        """How messages are handled on this database. Nothing is connected to yet; `engine` is closed after it."""
        ...

    def reaction(self, error: BaseException) -> Exception | None:
        """The error of `worker.domain.errors` that a driver's or SQLAlchemy's error calls for; None: it is neither.

        A database error that is not known to be the fault of the event's own values is Unavailable: waiting loses
        nothing, rejecting does.
        """
        ...


@contextmanager
def translating(dialect: Dialect) -> Iterator[None]:
    """Turn what the driver raises inside into the errors of `worker.domain.errors`; others pass as they are."""
    try:
        yield
    except Exception as error:
        reaction = dialect.reaction(error)
        if reaction is None and isinstance(error, SQLAlchemyError) and not isinstance(error, StatementError):
            reaction = Unavailable(repr(error))  # of the pool or the connection, so not of any message's making
        if reaction is None:
            raise
        raise reaction from error
