"""RUDDER_DATABASE_URL: its parts, and what is refused before anything connects."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from worker.db.mssql import url as mssql_url
from worker.db.postgresql import url as postgresql_url
from worker.db.sqlite import url as sqlite_url
from worker.db.url_parts import DatabaseUrl, url_parts
from worker.rules.errors import ConfigurationError

_CHECKS: Final[Mapping[str, Callable[[DatabaseUrl], object]]] = {
    "mssql+aioodbc": mssql_url.check,
    "postgresql+asyncpg": postgresql_url.connect_arguments,
    "sqlite+aiosqlite": sqlite_url.check,
}
"""What the driver would refuse of a URL only when it connects."""

SUPPORTED: Final = tuple(_CHECKS)
"""The URL schemes of `RUDDER_DATABASE_URL`."""

_PORT_MAX: Final = 65_535
_SECRETS: Final = frozenset({"odbc_connect", "pwd", "password", "sslpassword", "passfile", "accesstoken"})


def parse_url(url: str) -> DatabaseUrl:
    """The URL's parts.

    Raises:
        ConfigurationError: it is none, names an unsupported driver, or has what the driver refuses. The message does
            not hold the URL, which may hold a password.
    """
    try:
        parsed = url_parts(postgresql_url.with_host_list(url))
    except ValueError as error:
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
    if parsed.drivername not in _CHECKS:
        supported = ", ".join(SUPPORTED)
        raise ConfigurationError(f"RUDDER_DATABASE_URL begins with {parsed.drivername}; supported are {supported}")
    _CHECKS[parsed.drivername](parsed)
    return parsed


def masked(url: str) -> str:
    """The URL as it may be shown: neither the password nor what an ODBC connection string or a query may hide."""
    parsed = parse_url(url)
    query = {name: "***" if name.lower() in _SECRETS else value for name, value in parsed.query.items()}
    return replace(parsed, query=query).masked()


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
