"""The content of a SQL Server URL, without any driver."""

import re
from collections.abc import Iterable
from typing import Final

from worker.db.mssql.keywords import check_connection_string, check_options
from worker.db.url_parts import DatabaseUrl
from worker.rules.errors import ConfigurationError

_ODBC_DRIVER: Final = re.compile(r"(?i)(?:^|;)\s*(driver|dsn|filedsn)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)")
_FREETDS: Final = re.compile(r"(?i)freetds|tdsodbc")


def check(url: DatabaseUrl) -> None:
    """Look at the URL without loading any driver.

    Raises:
        ConfigurationError: a keyword is given twice, is unknown, or has a value that it cannot have.
    """
    options = options_of(url)
    if "odbc_connect" in options:
        check_connection_string(options["odbc_connect"])
    else:
        check_options(options, data_source=names_a_dsn(url, options))


def is_freetds(url: DatabaseUrl) -> bool:
    """Whether the URL names FreeTDS, as a driver or as its library."""
    options = options_of(url)
    named = options.get("driver", "")
    if match := _ODBC_DRIVER.search(options.get("odbc_connect", "")):
        named = match[2]
    return _FREETDS.search(named) is not None


def names_a_driver(connection_string: str) -> bool:
    """Whether an ODBC connection string names a driver or a data source."""
    return _ODBC_DRIVER.search(connection_string) is not None


def options_of(url: DatabaseUrl) -> dict[str, str]:
    """The query by its keywords in lower case, as ODBC takes them in any; SQLAlchemy knows some in lower case only."""
    options: dict[str, str] = {}
    for name, value in url.query.items():
        if name.lower() in options or not isinstance(value, str):
            raise ConfigurationError(f"RUDDER_DATABASE_URL says {name} twice")
        options[name.lower()] = value
    return options


def names_a_dsn(url: DatabaseUrl, options: Iterable[str]) -> bool:
    """As SQLAlchemy decides it: a host without a database is the name of a data source."""
    return "dsn" in options or (url.host is not None and url.database is None and "database" not in options)
