"""Messages on SQLite: SELECTs, then BEGIN IMMEDIATE for what each of them writes. UUIDs and times are text."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, cast
from uuid import UUID

from aiosqlite import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.db.pointers import Pointers
from worker.db.row_decoder import Reader, Row
from worker.db.statement import Check, Condition, Statement, WriteStatement, positional
from worker.db.writes import RELEASE, WriteSet, changed, identity_checks, presence
from worker.rules.errors import Conflict, Unavailable, Unprocessable

_TIME = "%Y-%m-%d %H:%M:%S.%f"
"""As SQLAlchemy stores a timestamp there: six digits, so that the text sorts by time."""

# The constraint compares tracks exactly, the decision as SQL Server does: with all tracks that were loaded.
_SAME_NUMBER: Final = Condition(
    "SELECT 1 WHERE (SELECT count(*) FROM releases WHERE release_date = :release_date "
    "AND release_number = :release_number AND component_id = :component_id) = :compared",
    RELEASE,
    exists=True,
)


BEGIN: Final = "BEGIN IMMEDIATE"

_T = TypeVar("_T")


def _stored(value: object) -> object:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.strftime(_TIME).rjust(len("0000-00-00 00:00:00.000000"), "0")  # strftime pads no year
        case date():
            return value.isoformat()
        case _:
            return value


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class SqliteSession:
    """`worker.db.session.Session` on the driver's connection, in autocommit. Each call is one turn in its thread."""

    reader = Reader(uuid=UUID, time=_time, date=date.fromisoformat)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch(self, statement: Statement, values: Sequence[object]) -> Sequence[Row]:
        [rows] = await self.fetch_each([(statement, values)])
        return rows

    async def fetch_each(self, statements: Sequence[tuple[Statement, Sequence[object]]]) -> Sequence[Sequence[Row]]:
        return await self._turn(lambda raw: _read(raw, statements))

    async def execute(self, statement: Statement, values: Sequence[object]) -> None:
        await self._turn(lambda raw: _rows(raw, statement.sql, values))

    async def write(self, write_sets: Sequence[WriteSet], *, patient: bool) -> Sequence[Exception | None]:
        del patient  # the file has one lock, and each transaction waits for it as long as the driver does

        def write(raw: sqlite3.Connection) -> Sequence[Exception | None]:
            return _written(raw, write_sets)

        return await self._turn(write)

    async def ping(self, pointers: Pointers | None) -> None:
        """Reads all tables and writes a page, so that a full disk, a dropped table and a read-only file are found."""

        def look(raw: sqlite3.Connection) -> None:
            _rows(raw, presence(pointers=pointers is not None))
            [[version]] = _rows(raw, "PRAGMA user_version")
            _rows(raw, f"PRAGMA user_version = {int(version)}")

        await self._turn(look)

    async def _turn(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        # Private: aiosqlite has no public way to do several things in one turn of its thread.
        connection: Any = self._connection
        return cast("_T", await connection._execute(work, connection._conn))  # noqa: SLF001


def _rows(raw: sqlite3.Connection, sql: str, values: Sequence[object] = ()) -> Sequence[Row]:
    try:
        return raw.execute(sql, [_stored(value) for value in values]).fetchall()
    except (OverflowError, UnicodeEncodeError) as error:  # what SQLite cannot hold
        raise Unprocessable(str(error)) from error


def _read(raw: sqlite3.Connection, statements: Sequence[tuple[Statement, Sequence[object]]]) -> Sequence[Sequence[Row]]:
    """The rows of all statements, as of one moment."""
    raw.execute("BEGIN")
    try:
        return [_rows(raw, statement.sql, values) for statement, values in statements]
    finally:
        raw.rollback()


def _written(raw: sqlite3.Connection, write_sets: Sequence[WriteSet]) -> Sequence[Exception | None]:
    """Write each set in a transaction of its own. What fails every transaction, such as a lock or a full disk, is the
    error of all that follow.
    """
    errors: list[Exception | None] = []
    written: set[UUID] = set()
    for write_set in write_sets:
        try:
            if write_set.predecessor_id is not None and write_set.predecessor_id not in written:
                raise changed(RELEASE)
            _write(raw, write_set)
        except (Conflict, Unprocessable, sqlite3.IntegrityError, sqlite3.DataError) as error:
            errors.append(error)
        except sqlite3.Error as error:
            errors += [error] * (len(write_sets) - len(errors))
        else:
            errors.append(None)
            written.add(write_set.event_id)
        finally:
            if raw.in_transaction:
                raw.rollback()
        if len(errors) == len(write_sets):
            break
    return errors


def _write(raw: sqlite3.Connection, write_set: WriteSet) -> None:
    _rows(raw, BEGIN)
    checks = checks_of(write_set)
    if checks:
        values = [value for check in checks for value in check.values]
        [held] = _rows(raw, checking(tuple([check.condition for check in checks])), values)
        for check, holds in zip(checks, held, strict=True):
            if not holds:
                raise changed(check.condition.row)
    for write in write_set.writes:
        found = _rows(raw, writing(write.statement), write.values)
        if write.statement.finds is not None and not found:
            raise changed(write.statement.finds)
    raw.commit()


def checks_of(write_set: WriteSet) -> Sequence[Check]:
    checks = [*identity_checks(write_set)]
    if write_set.version_check is not None:
        checks.append(write_set.version_check)
    if (number := write_set.number) is not None:
        values = (number.release_date, number.release_number, number.component_id, number.compared)
        checks.append(Check(_SAME_NUMBER, values))
    return checks


@cache
def checking(conditions: Sequence[Condition]) -> str:
    """One row, with a column for each condition."""
    return positional(f"SELECT {', '.join(condition.holds for condition in conditions)}").sql


@cache
def writing(statement: WriteStatement) -> str:
    sql = positional(statement.sql).sql
    return sql if statement.finds is None else f"{sql} RETURNING 1"


OPENED_FILE = "rudder_opened_file"
"""Where a connection's information has the `File` that it was opened with."""


class File(NamedTuple):
    """A file by its path, and what the file system knows it by."""

    path: str
    device: int
    inode: int


def file_of(path: str) -> File | None:
    """None where there is no such file now."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return None
    return File(path, found.st_dev, found.st_ino)


async def _require_file(connection: AsyncConnection) -> None:
    """A file that was deleted can still be written to, and is gone with the process.

    Raises:
        Unavailable: it was deleted, or another one stands in its place, which the next connection opens.
    """
    opened = (await connection.get_raw_connection()).info[OPENED_FILE]
    found = file_of(opened.path)
    if found == opened:
        return
    if found is not None:
        await connection.invalidate()
    raise Unavailable(
        f"SQLite: {opened.path} was {'deleted' if found is None else 'replaced'} while the worker had it open; "
        "put the file back, or run `rudder-worker migrate` for a new one and restart the worker"
    )


class SqliteConnections:
    """`worker.db.session.Connections`: turns on the engine's one connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqliteSession]:
        async with self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            await _require_file(connection)
            driver = raw.driver_connection
            yield SqliteSession(cast("Connection", driver))

    async def close(self) -> None:
        """The caller that opened the engine closes it."""
