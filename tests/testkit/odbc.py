"""The ODBC driver manager and Microsoft's driver, which come as wheels but need libraries of the system.

Debian's packages are libodbc2 and libgssapi-krb5-2. A test that needs one of them is skipped without it.
"""

import ctypes
import importlib
from pathlib import Path
from types import ModuleType

from tests.testkit.availability import unavailable
from worker.db.mssql.driver import wheel_library


def require_pyodbc() -> ModuleType:
    """The module pyodbc; it cannot be imported without the driver manager's library."""
    try:
        return importlib.import_module("pyodbc")
    except ImportError as error:
        unavailable("odbc", f"{error} (Debian: libodbc2)")


def require_microsoft_driver() -> Path:
    """The wheel's library, which the driver manager can load on this machine."""
    library = wheel_library()
    if library is None:
        unavailable("odbc", "the wheel mssql-python-odbc has no library for this machine")
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        unavailable("odbc", f"{error} (Debian: libodbc2 libgssapi-krb5-2)")
    return library
