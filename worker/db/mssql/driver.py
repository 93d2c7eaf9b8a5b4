"""Which ODBC driver a SQL Server URL means, and with which options it connects.

A URL may leave out what everybody would write: the driver, that the connection is encrypted, who is calling. What it
says stands: options that are not known here (Entra ID's `Authentication`, `Trusted_Connection` for Kerberos,
`MultiSubnetFailover`) pass through to the driver. Keywords: Microsoft's "DSN and connection string keywords and
attributes" for its ODBC driver 18.
"""

import ctypes
import importlib.util
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from worker.db.mssql.url import names_a_driver, names_a_dsn, options_of
from worker.db.url_parts import DatabaseUrl
from worker.rules.errors import ConfigurationError

REGISTERED_NAME: Final = "ODBC Driver 18 for SQL Server"
"""As Microsoft's packages register it with the ODBC driver manager."""

_WHEEL: Final = "mssql_python_odbc"
_APPLICATION: Final = "rudder-worker"
_DISTRIBUTIONS: Final = {
    "alpine": "alpine",
    "debian": "debian_ubuntu",
    "ubuntu": "debian_ubuntu",
    "rhel": "rhel",
    "fedora": "rhel",
    "centos": "rhel",
    "amzn": "rhel",
    "suse": "suse",
    "opensuse": "suse",
    "sles": "suse",
}
"""The wheel's folders by the ID and ID_LIKE of os-release(5)."""

_PROCESSORS: Final = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def registered_drivers() -> Sequence[str]:
    """What the driver manager knows. Raises ImportError where pyodbc or the driver manager itself is missing."""
    import pyodbc

    known: Sequence[str] = pyodbc.drivers()
    return known


def wheel_library() -> Path | None:
    """Microsoft's driver in the wheel `mssql-python-odbc`, for this machine; None where there is none."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        return None
    return _library(Path(found.origin).parent / "libs", platform.system(), platform.machine(), _distribution())


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """Where drivers come from."""

    registered: Callable[[], Sequence[str]] = field(default=registered_drivers)
    wheel: Callable[[], Path | None] = field(default=wheel_library)
    load: Callable[[str], object] = field(default=ctypes.CDLL)


def completed(url: DatabaseUrl, drivers: Drivers | None = None) -> DatabaseUrl:
    """The URL with all that it left out: the driver, `Encrypt=yes`, the application's name. No server is contacted.

    Raises:
        ConfigurationError: it names no driver and none can be had, or it says something twice.
        ImportError: pyodbc, or the driver manager that it is linked to, is not installed.
    """
    drivers = drivers or Drivers()
    options = options_of(url)
    if "odbc_connect" in options:  # all is said there, in the driver's own words
        if not names_a_driver(options["odbc_connect"]):
            options["odbc_connect"] = f"Driver={{{_driver(drivers)}}};{options['odbc_connect']}"
        return replace(url, query=options)
    if "driver" not in options and not names_a_dsn(url, options):
        options["driver"] = _driver(drivers)
    # The driver's own default is the same, but not that of its predecessors.
    options.setdefault("encrypt", "yes")
    options.setdefault("app", _APPLICATION)
    # The worker knows what to do about a lost connection; the driver would mend it unseen, or call it something else.
    options.setdefault("connectretrycount", "0")
    return replace(url, query=options)


def _driver(drivers: Drivers) -> str:
    if REGISTERED_NAME in drivers.registered():
        return REGISTERED_NAME
    library = drivers.wheel()
    if library is None:
        raise ConfigurationError(
            f"there is no {REGISTERED_NAME}: install Microsoft's package msodbcsql18, or `pip install "
            "'rudder-worker[mssql]'`, which brings it for Linux, macOS and Windows on x86-64 and ARM64"
        )
    try:
        # The driver manager would say that it cannot open the library, and not what the library lacks.
        drivers.load(str(library))
    except OSError as error:
        raise ConfigurationError(
            f"Microsoft's ODBC driver from the wheel mssql-python-odbc cannot be loaded: {error}; on Debian, "
            "`apt-get install libodbc2 libgssapi-krb5-2` brings what it is linked to"
        ) from error
    return str(library)


def _library(libraries: Path, system: str, machine: str, distribution: str) -> Path | None:
    processor = _PROCESSORS.get(machine.lower(), machine)
    match system:
        case "Linux":
            patterns = [f"linux/{distribution}/{processor}/lib/libmsodbcsql-18*.so*"]
        case "Darwin":
            patterns = [f"macos/{processor}/lib/libmsodbcsql.18*.dylib"]
        case _:
            folders = {"x86_64": "x64"}
            patterns = [f"windows/{folders.get(processor, processor)}/msodbcsql18.dll"]
    found = sorted(path for pattern in patterns for path in libraries.glob(pattern))
    return found[-1] if found else None


def _distribution() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    for name in (release.get("ID", ""), *release.get("ID_LIKE", "").split()):
        if known := _DISTRIBUTIONS.get(name.split("-")[0]):
            return known
    return "debian_ubuntu"  # the oldest C library of the three similar ones
