"""A message on SQLite: a SELECT, then BEGIN IMMEDIATE for what is written. UUIDs and times are text."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, cast
from uuid import UUID

from aiosqlite import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.db.pointers import Pointers
from worker.db.row_decoder import Reader, Row
from worker.db.statement import Check, Condition, Statement, WriteStatement, positional
from worker.db.writes import RELEASE, Batch, changed, identity_checks, presence
from worker.rules.errors import Unavailable, Unprocessable

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
    """`worker.db.unit_of_work.Session` on the driver's connection, in autocommit."""

    reader = Reader(uuid=UUID, time=_time, date=date.fromisoformat)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch(self, statement: Statement, values: Sequence[object]) -> Sequence[Row]:
        return await self._rows(statement.sql, values)

    async def execute(self, statement: Statement, values: Sequence[object]) -> None:
        await self._rows(statement.sql, values)

    async def write(self, batch: Batch) -> None:
        """The pool rolls back what an error leaves open."""
        await self._rows(BEGIN)
        checks = checks_of(batch)
        if checks:
            values = [value for check in checks for value in check.values]
            [held] = await self._rows(checking(tuple([check.condition for check in checks])), values)
            for check, holds in zip(checks, held, strict=True):
                if not holds:
                    raise changed(check.condition.row)
        for write in batch.writes:
            found = await self._rows(writing(write.statement), write.values)
            if write.statement.finds is not None and not found:
                raise changed(write.statement.finds)
        await self._connection.commit()

    async def ping(self, pointers: Pointers | None) -> None:
        """Reads all tables and writes a page, so that a full disk, a dropped table and a read-only file are found."""
        await self._rows(presence(pointers=pointers is not None))
        [[version]] = await self._rows("PRAGMA user_version")
        await self._rows(f"PRAGMA user_version = {int(version)}")

    async def _rows(self, sql: str, values: Sequence[object] = ()) -> Sequence[Row]:
        try:
            return list(await self._connection.execute_fetchall(sql, [_stored(value) for value in values]))
        except OverflowError as error:  # an integer that SQLite cannot hold
            raise Unprocessable(str(error)) from error


def checks_of(batch: Batch) -> Sequence[Check]:
    checks = list(identity_checks(batch))
    if batch.version_check is not None:
        checks.append(batch.version_check)
    if (number := batch.number) is not None:
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
    """`worker.db.unit_of_work.Connections`: turns on the engine's one connection."""

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
