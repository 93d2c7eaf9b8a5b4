"""SQLAlchemy's own errors, which are of no driver."""

from sqlalchemy.exc import SQLAlchemyError, StatementError

from worker.rules.errors import Unavailable


def pool_reaction(error: BaseException) -> Unavailable | None:
    """Of an error of the pool or the connection, so not of any message's making; None: it is another one."""
    if isinstance(error, SQLAlchemyError) and not isinstance(error, StatementError):
        return Unavailable(repr(error))
    return None
