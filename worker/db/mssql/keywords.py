"""The keywords of Microsoft's ODBC driver 18, and a check of those in RUDDER_DATABASE_URL.

The driver ignores a keyword that it does not know, and reports a wrong value only where it connects. A misspelt
`TrustServerCertificate` is found here instead. Keywords: Microsoft's "DSN and connection string keywords and
attributes"; a test compares the values with what the driver accepts.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

from worker.rules.errors import ConfigurationError

_YES_NO: Final = ("yes", "no")

VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "ApplicationIntent": ("ReadWrite",),  # the driver also knows ReadOnly, but the worker writes
    "AutoTranslate": _YES_NO,
    "ConnectRetryCount": tuple(map(str, range(256))),
    "ConnectRetryInterval": tuple(map(str, range(1, 61))),
    "Encrypt": ("yes", "no", "mandatory", "optional", "strict"),
    "MARS_Connection": _YES_NO,
    "MultiSubnetFailover": _YES_NO,
    "QuotedId": ("yes",),  # the filtered indexes need it
    "Regional": _YES_NO,
    "Trusted_Connection": _YES_NO,
    "TrustServerCertificate": _YES_NO,
}
"""What the worker takes for these, in any case. The values of other keywords are not checked."""

KEYWORDS: Final = (
    *VALUES,
    *("Addr", "Address", "AnsiNPW", "APP", "AttachDBFileName", "Authentication", "ClientCertificate", "ClientKey"),
    *("ColumnEncryption", "ConcatNullYieldsNull", "ConnectTimeout", "Database", "Description", "Driver", "DSN"),
    *("Failover_Partner", "FailoverPartner", "FailoverPartnerSPN", "FileDSN", "GetDataExtensions"),
    *("HostnameInCertificate", "IpAddressPreference", "KeepAlive", "KeepAliveInterval", "KeystoreAuthentication"),
    *("KeystoreLocation", "KeystorePrincipalId", "KeystoreSecret", "Language", "LongAsMax", "Net", "Network"),
    *("PacketSize", "PWD", "QueryLog_On", "QueryLogFile", "QueryLogTime", "Replication", "RetryExec", "SaveFile"),
    *("Server", "ServerCertificate", "ServerSPN", "StatsLog_On", "StatsLogFile", "TransparentNetworkIPResolution"),
    *("UID", "UseFMTONLY", "VectorTypeSupport", "WSID"),
)

_BY_LOWER: Final = {keyword.lower(): keyword for keyword in KEYWORDS}
_SQLALCHEMY: Final = frozenset({"odbc_autotranslate", "odbc_connect"})
_OF_THE_URL: Final = {
    **dict.fromkeys(("host", "server", "addr", "address"), "host"),
    "port": "port",
    **dict.fromkeys(("user", "username", "uid"), "user"),
    **dict.fromkeys(("password", "pwd"), "password"),
    "database": "database",
}
"""Keywords for what a URL says before its question mark."""

_OF_THE_WORKER: Final = frozenset({"autocommit", "ansi", "unicode_results"})
_MICROSOFT: Final = re.compile(r"(?i)msodbcsql|ODBC Driver \d+ for SQL Server")
_PAIR: Final = re.compile(r"\s*([^=;{}]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)\s*(?:;|$)")


def check_options(options: Mapping[str, str], *, data_source: bool) -> None:
    """The query of a URL, its keywords in lower case. `data_source`: the URL's host is the name of one.

    Raises:
        ConfigurationError: a keyword is unknown, or belongs elsewhere, or has a value that it cannot have.
    """
    for name in options:
        if name in _OF_THE_WORKER:
            raise ConfigurationError(f"RUDDER_DATABASE_URL has {name}, which the worker decides itself; leave it out")
        if name in _OF_THE_URL:
            part = _OF_THE_URL[name]
            raise ConfigurationError(
                f"RUDDER_DATABASE_URL has {name} after the question mark; write the {part} before it"
            )
    if not data_source and _is_microsoft(options.get("driver")):
        _check((name, value) for name, value in options.items() if name not in _SQLALCHEMY)


def check_connection_string(text: str) -> None:
    """The value of `odbc_connect`. Raises ConfigurationError as `check_options`."""
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(text.rstrip()):
        match = _PAIR.match(text, at)
        if match is None:
            raise ConfigurationError("odbc_connect in RUDDER_DATABASE_URL is no list of keyword=value; pairs")
        pairs.append((match[1].lower(), match[2]))
        at = match.end()
    options = dict(pairs)
    if not options.keys() & {"dsn", "filedsn"} and _is_microsoft(options.get("driver")):
        _check(pairs)


def _is_microsoft(driver: str | None) -> bool:
    """None: left out, and then it is."""
    return driver is None or _MICROSOFT.search(driver) is not None


def _check(pairs: Iterable[tuple[str, str]]) -> None:
    for name, value in pairs:
        keyword = _BY_LOWER.get(name)
        if keyword is None:
            close = get_close_matches(name, _BY_LOWER, n=1)
            hint = f"; did you mean {_BY_LOWER[close[0]]}?" if close else ""
            raise ConfigurationError(
                f"RUDDER_DATABASE_URL has {name}, which is no keyword of ODBC Driver 18 for SQL Server{hint}"
            )
        allowed = VALUES.get(keyword)
        if allowed is not None and value.lower() not in map(str.lower, allowed):
            shown = ", ".join(allowed) if len(allowed) < 10 else f"a number from {allowed[0]} to {allowed[-1]}"
            raise ConfigurationError(f"RUDDER_DATABASE_URL has a value for {keyword} that is not {shown}")
