"""From a URL to an engine that behaves the same on every supported database."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from worker.db import pool_log
from worker.db.dialect import Dialect
from worker.db.mssql import driver as mssql_driver
from worker.db.mssql.dialect import MssqlDialect
from worker.db.postgresql import url as postgresql_url
from worker.db.postgresql.dialect import PostgresqlDialect
from worker.db.sqlite import url as sqlite_url
from worker.db.sqlite.dialect import SqliteDialect
from worker.rules.errors import ConfigurationError

_DIALECTS: dict[str, type[Dialect]] = {
    "mssql+aioodbc": MssqlDialect,
    "postgresql+asyncpg": PostgresqlDialect,
    "sqlite+aiosqlite": SqliteDialect,
}

_CHECKS: dict[str, Callable[[URL], None]] = {
    "mssql+aioodbc": mssql_driver.check_url,
    "postgresql+asyncpg": postgresql_url.check,
    "sqlite+aiosqlite": sqlite_url.check,
}
"""What the driver would refuse of a URL only when it connects."""

_PORT_MAX = 65_535

SUPPORTED = tuple(_DIALECTS)
"""The URL schemes of `RUDDER_DATABASE_URL`."""


def open_engine(url: str, *, timeout_seconds: float) -> tuple[AsyncEngine, Dialect]:
    """An engine, not yet connected, and what is special about its database.

    Raises:
        ConfigurationError: the URL is none, names an unsupported driver, or its driver is not installed.
    """
    parsed, dialect = parse_url(url), dialect_of(url)
    with _its_driver(parsed):
        whole = dialect.completed(parsed)
    arguments = dialect.engine_arguments(parsed, timeout_seconds=timeout_seconds)
    with _its_driver(whole):
        engine = create_async_engine(whole, hide_parameters=True, **arguments)
    dialect.prepare(engine)
    pool_log.install(engine, dialect)
    return engine, dialect


def database_exists(url: str) -> bool:
    """Whether an embedded database has its file; of a server's database it is not known, and assumed.

    Raises:
        ConfigurationError: as `parse_url`.
    """
    parsed = parse_url(url)
    return not parsed.drivername.startswith("sqlite") or sqlite_url.has_file(parsed)


def require_database(url: str) -> None:
    """For commands that only read: look whether an embedded database is there, so that none is made.

    Raises:
        ConfigurationError: there is none, or the URL is none.
    """
    parsed = parse_url(url)
    if parsed.drivername.startswith("sqlite"):
        sqlite_url.require_file(parsed)


def completed_url(url: str) -> URL:
    """The URL with what it may leave out, as its driver needs it.

    Raises:
        ConfigurationError: as `open_engine`.
    """
    parsed = parse_url(url)
    with _its_driver(parsed):
        return _DIALECTS[parsed.drivername]().completed(parsed)


def connect_arguments(url: str) -> Mapping[str, Any]:
    """What the driver takes beside the completed URL, without any time-out of statements.

    Raises:
        ConfigurationError: as `parse_url`.
    """
    parsed = parse_url(url)
    if not parsed.drivername.startswith("postgresql"):
        return {}
    arguments = postgresql_url.connect_arguments(parsed)
    return {name: value for name, value in arguments.items() if name != "command_timeout"}


def require_driver(url: str) -> None:
    """Load the driver and connect to nothing.

    Raises:
        ConfigurationError: as `open_engine`.
    """
    whole = completed_url(url)
    with _its_driver(whole):
        whole.get_dialect().import_dbapi()


@contextmanager
def _its_driver(url: URL) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        extra = (
            "; pip install 'rudder-worker[mssql]' brings it, and the system package libodbc2"
            if url.drivername.startswith("mssql")
            else ""
        )
        raise ConfigurationError(f"the driver for {url.drivername} cannot be loaded: {error}{extra}") from error


def parse_url(url: str) -> URL:
    """The URL's parts.

    Raises:
        ConfigurationError: as `open_engine`; the message does not hold the URL, which may hold a password.
    """
    try:
        parsed = make_url(postgresql_url.with_host_list(url))
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigurationError("RUDDER_DATABASE_URL is no database URL") from error
    authority_and_path = url.partition("://")[2].partition("?")[0]
    if authority_and_path.count("@") > 1 or (parsed.host and set(parsed.host) & set("#/\\ ")):
        # The parts are ambiguous, and the apparent host may be half a password: quote none of them.
        raise ConfigurationError(
            "RUDDER_DATABASE_URL has special characters that need percent-encoding, such as %40 for @"
        )
    if parsed.drivername.startswith("sqlite") and (not parsed.database or ":memory:" in url or "mode=memory" in url):
        raise ConfigurationError(
            "RUDDER_DATABASE_URL names no file; an in-memory SQLite database cannot be read by other processes"
        )
    if parsed.port is not None and parsed.port > _PORT_MAX:
        raise ConfigurationError("RUDDER_DATABASE_URL has a port above 65535")
    if parsed.drivername not in _DIALECTS:
        supported = ", ".join(SUPPORTED)
        raise ConfigurationError(f"RUDDER_DATABASE_URL begins with {parsed.drivername}; supported are {supported}")
    if check := _CHECKS.get(parsed.drivername):
        check(parsed)
    return parsed


def masked(url: str) -> str:
    """The URL as it may be shown: neither the password nor what an ODBC connection string or a query may hide."""
    parsed = parse_url(url)
    shown = parsed.set(query={name: _shown(name, value) for name, value in parsed.query.items()})
    return shown.render_as_string(hide_password=True)


def _shown(name: str, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
    secret = name.lower() in {"odbc_connect", "pwd", "password", "sslpassword", "passfile", "accesstoken"}
    return "***" if secret else value


def dialect_of(url: str) -> Dialect:
    """What is special about the URL's database. Raises ConfigurationError as `parse_url`."""
    return _DIALECTS[parse_url(url).drivername]()
