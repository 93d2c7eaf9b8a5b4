"""SQLite: the embedded database. One writer at a time, so one connection."""

import re
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from worker.db.engine_errors import pool_reaction
from worker.db.inspection import examination
from worker.db.loads import BatchedLoad
from worker.db.pointers import ComponentKey
from worker.db.privileges import Role
from worker.db.session import Connections, Examination
from worker.db.sqlite.fragments import FRAGMENTS, POINTERS
from worker.db.sqlite.session import OPENED_FILE, SqliteConnections, file_of
from worker.db.statement import positional
from worker.db.url_parts import DatabaseUrl
from worker.rules.errors import ConfigurationError, Conflict, StaleRead, Unavailable, Unprocessable

_MISSING: Final = re.compile("no such (?:table|column)")
_VERSION_TAKEN: Final = "release_versions."
_FOR_AN_OPERATOR: Final = ("SQLITE_READONLY", "SQLITE_NOTADB", "SQLITE_PERM", "SQLITE_AUTH")


class SqliteDialect:
    """Foreign keys on; WAL, so that people may read while the worker writes; a commit survives a power cut."""

    advises = False
    fragments = FRAGMENTS
    pointers = POINTERS
    utc_now: str | None = None
    to_statement = staticmethod(positional)

    def __init__(self, url: DatabaseUrl, *, timeout_seconds: float) -> None:
        self._file = url.database
        self._timeout_seconds = timeout_seconds

    def batched_load(self, component: ComponentKey | None) -> BatchedLoad | None:
        del component
        return None

    def completed(self, url: DatabaseUrl) -> DatabaseUrl:
        return url

    def engine_arguments(self) -> dict[str, Any]:
        return {
            "pool_size": 1,  # a second connection could only wait for the first
            "max_overflow": 0,
            "pool_timeout": self._timeout_seconds,
            "connect_args": {"timeout": self._timeout_seconds},
        }

    def prepare(self, engine: AsyncEngine) -> None:
        event.listen(engine.sync_engine, "connect", _on_connect)
        event.listen(engine.sync_engine, "begin", _on_begin)

    def connections(self, engine: Callable[[], AsyncEngine], *, connections_max: int) -> SqliteConnections:
        del connections_max  # the engine's
        return SqliteConnections(engine())

    async def examine(self, connections: Connections, engine: Callable[[], AsyncEngine]) -> Examination:
        del connections
        return await examination(engine(), self)

    def statement_bound(self, timeout_seconds: float) -> str | None:
        del timeout_seconds
        return None

    async def advice(self, connection: AsyncConnection) -> Sequence[str]:
        del connection
        return ()

    def grants(self, login: str, *, role: Role, revision: str) -> str:
        del login, role, revision
        raise ConfigurationError("SQLite knows no logins: who may write the file may do everything")

    def reaction(self, error: BaseException) -> Exception | None:
        cause = error.orig if isinstance(error, DBAPIError) else error
        match cause:
            case sqlite3.IntegrityError():
                return (StaleRead if _VERSION_TAKEN in str(cause) else Conflict)(str(cause))
            case sqlite3.DataError() | OverflowError() if cause is not error or isinstance(cause, sqlite3.Error):
                return Unprocessable(str(cause))
            case sqlite3.Error():
                return _of_the_file(cause, self._file)
            case PoolTimeoutError() | OSError():
                return Unavailable(f"SQLite: {cause}")
        return _of_the_file(cause, self._file) if isinstance(error, DBAPIError) else pool_reaction(error)


def _of_the_file(error: BaseException | None, file: str | None) -> Exception:
    if _MISSING.match(str(error)):
        return ConfigurationError(f"SQLite: {error}: run `rudder-worker migrate`, or put the right file in place")
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(_FOR_AN_OPERATOR):
        return ConfigurationError(f"SQLite: {error} ({file}, see RUDDER_DATABASE_URL)")
    if name.startswith("SQLITE_CANTOPEN"):
        return Unavailable(
            f"SQLite: {error} {file}: its folder must exist and be writable for this user (RUDDER_DATABASE_URL)"
        )
    # Which operation failed says more than the text: SHMSIZE, for one, is a disk that is full.
    return Unavailable(f"SQLite: {error}{f' ({name}): is the disk full?' if name.startswith('SQLITE_IOERR') else ''}")


def _on_connect(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    cursor = connection.cursor()
    for pragma in ("foreign_keys = ON", "journal_mode = WAL", "synchronous = FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.execute("PRAGMA database_list")
    [path] = [path for _number, name, path in cursor.fetchall() if name == "main"]
    record.info[OPENED_FILE] = file_of(path)
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads first and writes later could otherwise fail in between, for ever. One that
    # only reads must not keep the worker from writing meanwhile.
    only_reads = connection.get_execution_options().get("rudder_read_only", False)
    connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")
