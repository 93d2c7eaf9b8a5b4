"""What an engine's errors call for: SQLAlchemy wraps those of asyncpg."""

from sqlalchemy.exc import DBAPIError

from worker.db.engine_errors import pool_reaction
from worker.db.postgresql.errors import reaction_by_state


def engine_reaction(error: BaseException) -> Exception | None:
    """The worker's error for one of SQLAlchemy's; None: it is none."""
    if isinstance(error, DBAPIError):
        return reaction_by_state(getattr(error.orig, "sqlstate", None), str(error.orig))
    return pool_reaction(error)
