"""From a URL to SQLAlchemy's engine, which behaves the same on every supported database. Messages on PostgreSQL do
without: their process does not import this module.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from worker.db import pool_log
from worker.db.database_url import parse_url
from worker.db.dialect import Dialect, dialect_of
from worker.db.postgresql import url as postgresql_url
from worker.db.url_parts import DatabaseUrl
from worker.rules.errors import ConfigurationError


def open_engine(url: str, *, timeout_seconds: float) -> tuple[AsyncEngine, Dialect]:
    """An engine, not yet connected, and what is special about its database.

    Raises:
        ConfigurationError: the URL is none, names an unsupported driver, or its driver is not installed.
    """
    dialect = dialect_of(url, timeout_seconds=timeout_seconds)
    return engine_of(dialect, url), dialect


def engine_of(dialect: Dialect, url: str) -> AsyncEngine:
    """An engine, not yet connected. Raises ConfigurationError as `open_engine`."""
    parsed = parse_url(url)
    with _its_driver(parsed):
        whole = _sqlalchemy_url(dialect.completed(parsed))
        engine = create_async_engine(whole, hide_parameters=True, **dialect.engine_arguments())
    dialect.prepare(engine)
    pool_log.install(engine, dialect)
    return engine


def completed_url(url: str) -> URL:
    """The URL with what it may leave out, as its driver needs it.

    Raises:
        ConfigurationError: as `open_engine`.
    """
    parsed = parse_url(url)
    with _its_driver(parsed):
        return _sqlalchemy_url(dialect_of(url).completed(parsed))


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
    with _its_driver(parse_url(url)):
        whole.get_dialect().import_dbapi()


def _sqlalchemy_url(url: DatabaseUrl) -> URL:
    return URL.create(
        url.drivername,
        username=url.username,
        password=url.password,
        host=url.host,
        port=url.port,
        database=url.database,
        query=url.query,
    )


@contextmanager
def _its_driver(url: DatabaseUrl) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        extra = (
            "; pip install 'rudder-worker[mssql]' brings it, and the system package libodbc2"
            if url.drivername.startswith("mssql")
            else ""
        )
        raise ConfigurationError(f"the driver for {url.drivername} cannot be loaded: {error}{extra}") from error
