"""RUDDER_DATABASE_URL for SQLite: a file, and with `uri=true` the parameters of SQLite's own URIs."""

from pathlib import Path
from typing import Final

from worker.db.url_parts import DatabaseUrl
from worker.rules.errors import ConfigurationError

_OF_A_URI: Final = ("mode", "cache", "psow", "vfs", "nolock", "immutable")
"""https://www.sqlite.org/uri.html"""


def check(url: DatabaseUrl) -> None:
    """Raises ConfigurationError: it names a host or a user, a parameter is unknown, or is given twice."""
    if url.host or url.username or url.port:
        raise ConfigurationError(
            "RUDDER_DATABASE_URL names a host: a file is sqlite+aiosqlite:///relative or ////absolute"
        )
    for name, value in url.query.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"RUDDER_DATABASE_URL gives {name} twice")
        if name == "timeout":
            raise ConfigurationError("RUDDER_DATABASE_URL: set RUDDER_DATABASE_TIMEOUT_SECONDS in place of timeout")
        if name != "uri" and name not in _OF_A_URI:
            known = ", ".join(("uri", *_OF_A_URI))
            raise ConfigurationError(f"RUDDER_DATABASE_URL: {name} is no parameter for SQLite; known are {known}")
    if url.query and url.query.get("uri") != "true":
        raise ConfigurationError("RUDDER_DATABASE_URL: parameters for SQLite need a file: path and uri=true")


def has_file(url: DatabaseUrl) -> bool:
    """Whether the file is there; that of a URI is not looked for."""
    return url.query.get("uri") == "true" or url.database is None or Path(url.database).exists()


def require_file(url: DatabaseUrl) -> None:
    """For a command that only reads: connecting would make an empty file.

    Raises:
        ConfigurationError: there is no such file.
    """
    if not has_file(url):
        raise ConfigurationError(
            f"SQLite: there is no file {url.database}: run `rudder-worker migrate`, or correct RUDDER_DATABASE_URL"
        )
