"""What PostgreSQL's errors call for, by SQLSTATE: PostgreSQL documentation, appendix A."""

import re
import ssl
from typing import Final

import asyncpg

from worker.rules.errors import (
    ConfigurationError,
    Conflict,
    LockTimeout,
    StaleRead,
    Unavailable,
    Unprocessable,
)

_RELEASE_CHANGED: Final = "RW003"

_CONFLICT: Final = ("23", "40", "RW")
"""Integrity constraint violation, transaction rollback (serialisation, deadlock), and the worker's own guards."""

_UNPROCESSABLE: Final = ("22",)
"""Data exception: a value that the column cannot hold."""

_NO_RIGHT: Final = "42501"

GRANTS_ADVICE: Final = "grant what `rudder-worker migrate --grants` prints"

_CONFIGURATION: Final = ("28", "3D", _NO_RIGHT)
"""Invalid authorisation, invalid catalog name, insufficient privilege: the login is refused, or the database or a
privilege is missing.
"""

_TABLES_MISSING: Final = ("42P01", "42703", "42883", "3F")
"""Undefined table, column or function, invalid schema name."""

_UNPREPARED: Final = ("26", "42P05")
"""A prepared statement that does not exist, or exists already: the session is not this client's alone."""

_LOCK_TIMEOUT: Final = "55P03"

_TOO_MANY: Final = "53300"
"""Too many connections: of the server, the role or the database."""

_REFUSED_BY_POOLER: Final = re.compile(
    "unsupported startup parameter|no such (?:user|database)|(?:database|role) .* does not exist|authentication failed|"
    "statement pooling mode"
)
"""PgBouncer's messages. All of them, whatever they say, have the SQLSTATE of a protocol violation."""

_PROTOCOL: Final = "08"

_NO_TLS: Final = "rejected SSL upgrade"
"""asyncpg's message."""

_FULL_POOLER: Final = re.compile("no more connections allowed|query_wait_timeout")
"""PgBouncer's messages: too many clients, or too many for its pool."""

TRANSACTION_POOLING: Final = (
    "RUDDER_DATABASE_URL leads to a pooler that gives every transaction another session; the worker prepares "
    "statements and has settings for a session: connect to PostgreSQL itself, or to a pool with pool_mode=session"
)


def reaction(error: BaseException) -> Exception | None:
    """The worker's error for one of asyncpg's; None: it is none."""
    if isinstance(error, asyncpg.UniqueViolationError) and error.table_name == "release_versions":
        return StaleRead(str(error))  # another worker was the first to give the release a version
    if isinstance(error, asyncpg.PostgresError):
        return reaction_by_state(error.sqlstate, str(error))
    if isinstance(error, ConnectionError) and _NO_TLS in str(error):
        return ConfigurationError(f"{error}: the server has no TLS, which sslmode in RUDDER_DATABASE_URL asks for")
    # What TLS or the URL's environment variables (PGSSLMODE and the like) lack does not appear by waiting.
    if isinstance(error, ssl.SSLCertVerificationError | asyncpg.ClientConfigurationError):
        return ConfigurationError(f"PostgreSQL: {error}")
    if isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        return Unavailable(f"PostgreSQL does not answer: {cause}; see RUDDER_DATABASE_URL")
    return None


def is_too_many(error: BaseException) -> bool:
    """Whether the server is there, and grants no further connection."""
    if not isinstance(error, asyncpg.PostgresError):
        return False
    return error.sqlstate == _TOO_MANY or _FULL_POOLER.search(str(error)) is not None


def is_of_the_statement(error: asyncpg.PostgresError) -> bool:
    """Whether the server refused the statement, and in autocommit rolled it back: the connection is as good as new."""
    return (error.sqlstate or "").startswith((*_UNPROCESSABLE, *_CONFLICT, _LOCK_TIMEOUT))


def reaction_by_state(sqlstate: str | None, text: str) -> Exception:
    state = sqlstate or ""
    if state == _RELEASE_CHANGED:
        return StaleRead(text)
    if state.startswith(_CONFLICT):
        return Conflict(text)
    if state == _LOCK_TIMEOUT:
        return LockTimeout(f"PostgreSQL: {text}")
    if state.startswith(_UNPROCESSABLE):
        return Unprocessable(text)
    if state.startswith(_TABLES_MISSING):
        return ConfigurationError(f"PostgreSQL: {text}: run `rudder-worker migrate`, or look at the role's search_path")
    if state.startswith(_UNPREPARED):
        return ConfigurationError(f"PostgreSQL: {text}: {TRANSACTION_POOLING}")
    if state.startswith(_CONFIGURATION) or (state.startswith(_PROTOCOL) and _REFUSED_BY_POOLER.search(text)):
        return ConfigurationError(f"PostgreSQL: {text}{_advice(state, text)}")
    return Unavailable(f"PostgreSQL: {text}")


def _advice(state: str, text: str) -> str:
    if "unsupported startup parameter" in text:
        return ": leave it out of RUDDER_DATABASE_URL, or add it to ignore_startup_parameters of PgBouncer"
    if "statement pooling mode" in text:
        return f": {TRANSACTION_POOLING}"
    return f": {GRANTS_ADVICE}" if state == _NO_RIGHT else ""
