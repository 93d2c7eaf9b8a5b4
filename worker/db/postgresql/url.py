"""RUDDER_DATABASE_URL for PostgreSQL: libpq's parameters, as arguments of `asyncpg.connect`.

Names and meanings: PostgreSQL documentation, "Parameter Key Words". asyncpg takes some as arguments, and the files of
TLS in a DSN only. SQLAlchemy would pass each on as an argument, and asyncpg would answer with a TypeError.
"""

import codecs
import getpass
import os
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from worker.db.url_parts import DatabaseUrl
from worker.rules.errors import ConfigurationError

_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_PORTS: Final = range(1, 65_536)

_AUTHORITY: Final = re.compile(r"^(postgresql[^:]*://(?:[^/?#]*@)?)([^/?#@]*,[^/?#@]*)([^?]*)(?:\?(.*))?$")
_HOST_AND_PORT: Final = re.compile(r"^(\[[^]]+]|[^:]+|)(?::(\d*))?$")


def with_host_list(url: str) -> str:
    """The URL in a form that SQLAlchemy parses: `a:1,b:2` before the path becomes the parameter `host`, given twice."""
    if not (match := _AUTHORITY.match(url)):
        return url
    before, hosts, path, query = match.groups()
    listed = "&".join(f"host={quote(host, safe=':[]')}" for host in hosts.split(","))
    return f"{before}{path or '/'}?{f'{query}&' if query else ''}{listed}"


def connect_arguments(url: DatabaseUrl) -> dict[str, Any]:
    """Keyword arguments for `asyncpg.connect`, of what the URL gives; nothing is connected to.

    Raises:
        ConfigurationError: a parameter is unknown, has an invalid value, is given twice, or names a file that cannot
            be read. The message quotes no value, because a value may be part of a password.
    """
    query = {name: value for name, value in url.query.items() if name not in {"host", "port"}}
    arguments: dict[str, Any] = _hosts(url)
    parts = {"user": url.username, "password": url.password, "database": url.database}
    arguments |= {name: part for name, part in parts.items() if part is not None}
    tls: dict[str, str] = {}
    settings: dict[str, str] = {}
    for name, value in query.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"RUDDER_DATABASE_URL gives {name} twice")
        if name in _TLS_IN_DSN:
            tls[name] = value
        elif name in _SERVER_SETTINGS:
            settings.setdefault(_SERVER_SETTINGS[name], value)
        elif name in _ARGUMENTS:
            argument, convert = _ARGUMENTS[name]
            if argument in arguments:
                raise ConfigurationError(f"RUDDER_DATABASE_URL gives the {argument} twice")
            if (converted := _converted(name, value, convert)) is not None:
                arguments[argument] = converted
        elif name not in _WITHOUT_EFFECT:
            raise ConfigurationError(_unknown(name))
        elif value not in _WITHOUT_EFFECT[name]:
            raise ConfigurationError(
                f"RUDDER_DATABASE_URL: {name} may only be {' or '.join(_WITHOUT_EFFECT[name])} here"
            )
    if settings:
        arguments["server_settings"] = settings
    if tls:
        arguments["dsn"] = f"postgresql://?{urlencode(_checked_tls(tls))}"
    _require_user(arguments)
    return arguments


def _hosts(url: DatabaseUrl) -> dict[str, Any]:
    given = _listed(url.query.get("host", ()))
    ports = [*map(_port, _listed(url.query.get("port", ())))]
    if url.host is not None:
        if given:
            raise ConfigurationError("RUDDER_DATABASE_URL gives the host twice: before the path, and as a parameter")
        given = url.host.split(",")
    if url.port is not None:
        if ports:
            raise ConfigurationError("RUDDER_DATABASE_URL gives the port twice: before the path, and as a parameter")
        ports = [url.port]
    hosts, own_ports = [], []
    for text in given:
        host, port = (text, None) if text.startswith("/") or url.host is not None else _split(text)
        hosts.append(_encodable(host))
        own_ports.append(port)
    if any(own_ports):
        if ports:
            raise ConfigurationError("RUDDER_DATABASE_URL gives the port twice: with the host, and as a parameter")
        ports = [port or 5432 for port in own_ports]
    if len(ports) not in {0, 1, len(hosts)}:
        raise ConfigurationError(f"RUDDER_DATABASE_URL gives {len(ports)} ports for {len(hosts)} hosts")
    found: dict[str, Any] = {"host": hosts} if hosts else {}
    return found | ({"port": ports if len(ports) > 1 else ports[0]} if ports else {})


def _listed(value: str | Sequence[str]) -> list[str]:
    return [part for text in ([value] if isinstance(value, str) else value) for part in text.split(",")]


def _split(text: str) -> tuple[str, int | None]:
    match = _HOST_AND_PORT.match(text)
    if match is None or not match[1]:
        raise ConfigurationError(
            "RUDDER_DATABASE_URL: a host is `name`, `name:port`, `[address]:port` or a socket's folder"
        )
    return match[1].strip("[]"), _port(match[2]) if match[2] else None


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) not in _PORTS:
        raise ConfigurationError("RUDDER_DATABASE_URL: a port is a number from 1 to 65535")
    return int(text)


def _encodable(host: str) -> str:
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise ConfigurationError("RUDDER_DATABASE_URL: the host is no name that DNS could have") from error
    return host


def _converted(name: str, value: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(value)
    except ValueError as error:
        raise ConfigurationError(f"RUDDER_DATABASE_URL: {name} {error}") from error


def _one_of(*allowed: str) -> Callable[[str], str]:
    def convert(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"is one of {', '.join(allowed)}")
        return value

    return convert


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e6:
        raise ValueError("is a number of seconds above 0")
    return seconds


def _connect_timeout(value: str) -> float | None:
    """libpq waits without a bound where it is 0; the worker then has its own bound."""
    return None if value == "0" else _seconds(value)


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise ValueError("is a whole number, 0 or more")
    return int(value)


def _text(value: str) -> str:
    if not value:
        raise ValueError("is empty")
    return value


def _readable(value: str) -> str:
    try:
        with Path(value).open("rb") as file:
            start = file.read(len(codecs.BOM_UTF8))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if start.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("names a file that begins with a byte order mark; save it without")
    return value


def _checked_tls(tls: Mapping[str, str]) -> Mapping[str, str]:
    """The TLS parameters, whose files hold what they should: asyncpg would report it as a failed connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, value in tls.items():
        _converted(name, value, _TLS_IN_DSN[name])
    try:
        for name in ("sslrootcert", "sslcrl"):
            if name in tls:
                context.load_verify_locations(cafile=tls[name])
        name = "sslcert"
        if name in tls:
            context.load_cert_chain(tls[name], tls.get("sslkey"), password=tls.get("sslpassword", ""))
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"RUDDER_DATABASE_URL: {name} cannot be used: {error}") from error
    return tls


def _require_user(arguments: Mapping[str, Any]) -> None:
    """asyncpg asks the system for the user's name, which a container's user id may not have."""
    if "user" in arguments or os.environ.get("PGUSER"):
        return
    try:
        getpass.getuser()
    except (KeyError, OSError) as error:
        raise ConfigurationError("RUDDER_DATABASE_URL names no user, and this process's user has no name") from error


def _unknown(name: str) -> str:
    known = sorted({"host", "port", *_ARGUMENTS, *_TLS_IN_DSN, *_SERVER_SETTINGS, *_WITHOUT_EFFECT})
    return (
        f"RUDDER_DATABASE_URL: {name} is no parameter that asyncpg has; known are {', '.join(known)}; "
        "a setting of the server is given as options=-c%20name=value"
    )


_ARGUMENTS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "user": ("user", _text),
    "password": ("password", str),
    "dbname": ("database", _text),
    "database": ("database", _text),
    "passfile": ("passfile", _readable),
    "sslmode": ("ssl", _one_of(*_SSL_MODES)),
    "ssl": ("ssl", _one_of(*_SSL_MODES)),
    "target_session_attrs": (
        "target_session_attrs",
        _one_of("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    ),
    "krbsrvname": ("krbsrvname", _text),
    "gsslib": ("gsslib", _one_of("gssapi", "sspi")),
    "connect_timeout": ("timeout", _connect_timeout),
    "timeout": ("timeout", _seconds),
    "command_timeout": ("command_timeout", _seconds),
    "statement_cache_size": ("statement_cache_size", _count),
    "prepared_statement_cache_size": ("statement_cache_size", _count),
    "max_cached_statement_lifetime": ("max_cached_statement_lifetime", _count),
    "max_cacheable_statement_size": ("max_cacheable_statement_size", _count),
}
"""By the names that libpq, asyncpg or SQLAlchemy have: asyncpg's argument, and what makes it of a text."""

_TLS_IN_DSN: Final[Mapping[str, Callable[[str], str]]] = {
    "sslcert": _readable,
    "sslkey": _readable,
    "sslrootcert": _readable,
    "sslcrl": _readable,
    "sslpassword": _text,
    "sslnegotiation": _one_of("postgres", "direct"),
    "ssl_min_protocol_version": _one_of("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": _one_of("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
}

_SERVER_SETTINGS: Final[Mapping[str, str]] = {
    "application_name": "application_name",
    "fallback_application_name": "application_name",
    "options": "options",
}

_WITHOUT_EFFECT: Final[Mapping[str, Sequence[str]]] = {
    "client_encoding": ("utf8", "UTF8", "utf-8", "UTF-8", "auto"),
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "load_balance_hosts": ("disable",),
}
"""What asyncpg cannot do, with the values that ask for nothing."""
