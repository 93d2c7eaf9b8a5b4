"""Errors of connections that SQLAlchemy's pool gives up, in one line each.

The pool logs a traceback when a connection cannot be closed, terminated or reset in order, for example because the
server no longer answers. That is no fault of the worker: the pool discards the connection, and the statement that
used it has reported its own error.
"""

import asyncio
import logging

from sqlalchemy.ext.asyncio import AsyncEngine

from worker.db.dialect import Dialect


class _OneLine(logging.Filter):
    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self.dialect = dialect

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return True
        cause = "cancelled" if isinstance(error, asyncio.CancelledError) else self.dialect.reaction(error)
        if cause is not None:
            record.msg, record.args = f"{record.getMessage()}; it is discarded: {cause}", ()
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True


def install(engine: AsyncEngine, dialect: Dialect) -> None:
    """Have the engine's pool log its database's errors in one line. A bug of another kind keeps its traceback."""
    pool = type(engine.sync_engine.pool)
    logger = logging.getLogger(f"{pool.__module__}.{pool.__name__}")
    for earlier in list(logger.filters):
        if isinstance(earlier, _OneLine) and type(earlier.dialect) is type(dialect):
            logger.removeFilter(earlier)
    logger.addFilter(_OneLine(dialect))
