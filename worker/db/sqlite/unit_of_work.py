"""A message on SQLite: BEGIN IMMEDIATE, so that nobody else writes until it is done; UUIDs and times are text."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.db.asking import COUNTING, ENTRIES, RECURSIVE_ENVIRONMENTS, REJECTION, Words, asking
from worker.db.placeholders import positional
from worker.db.pointers import EXACTLY, Pointers
from worker.db.question import OWN_COUNTING_MAX, Question
from worker.db.row_decoder import Reader, Row
from worker.db.unit_of_work import Basis
from worker.db.writing import Write, presence
from worker.rules.errors import Conflict, Unavailable

_TIME = "%Y-%m-%d %H:%M:%S.%f"
"""As SQLAlchemy stores a timestamp there: six digits, so that the text sorts by time."""


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


_READ = Reader(uuid=UUID, time=_time, date=date.fromisoformat)

_WORDS = Words(
    top="",
    limit=" LIMIT {rows}",
    environments=RECURSIVE_ENVIRONMENTS,
    counting=f"""SELECT {COUNTING} FROM environments e LEFT JOIN release_deployments d ON d.id IN (
    SELECT c.id FROM release_deployments c
    WHERE c.release_mgt_id = :release AND c.environment_id = e.environment_id AND c.status <> 'CANCELLED'
    ORDER BY c.updated_at DESC, c.config_revision DESC, c.attempt DESC LIMIT {OWN_COUNTING_MAX}
) WHERE e.environment_id IS NOT NULL""",  # noqa: S608 - names of ours
    tracks="LEFT JOIN releases n ON r.id IS NULL AND MEANT",
    exactly=EXACTLY,
    version="NULL",
    environment="LEFT JOIN app_environments a ON MEANT",
    uuid_of_text="lower(TEXT)",
    text_of_uuid="UUID",
    placed=positional,
)
_REJECTION = positional(REJECTION).sql


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


class SqliteConversation:
    """`worker.db.unit_of_work.Conversation` in one transaction."""

    read = _READ

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def ask(self, question: Question, pointers: Pointers | None) -> Sequence[Row]:
        asked = asking(question.parts, _WORDS, component_is_uuid=pointers is None or pointers.component_is_uuid)
        return await self._rows(asked.sql, asked.parameters(question.values))

    async def activities(self, ids: Sequence[UUID]) -> Sequence[Row]:
        return await self._rows(f"{ENTRIES} IN ({', '.join('?' * len(ids))})", ids)

    async def rejection(self, rejection_id: UUID) -> Row | None:
        rows = await self._rows(_REJECTION, (rejection_id,))
        return rows[0] if rows else None

    async def ping(self, pointers: Pointers | None) -> None:
        """Reads all tables and writes a page, so that a full disk, a dropped table and a read-only file are found."""
        await self._rows(presence(environments=pointers is not None), ())
        [[version]] = await self._rows("PRAGMA user_version", ())
        await self._connection.exec_driver_sql(f"PRAGMA user_version = {int(version)}")
        await self._commit()

    async def write(self, writes: Sequence[Write], basis: Basis) -> None:
        del basis  # true for as long as this transaction has the file for itself
        for write in writes:
            result = await self._connection.exec_driver_sql(write.sql, tuple(map(_stored, write.parameters)))
            if write.guarded and not result.rowcount:
                raise Conflict(f"the {write.guarded} is no longer as it was read")
        await self._commit()

    async def _commit(self) -> None:
        try:
            await self._connection.commit()
        except DBAPIError:
            # Refused for a reader's lock, the transaction is still open, and SQLAlchemy takes it for ended: the next
            # message would find it, and all that while nobody else could write.
            await self._connection.invalidate()
            raise

    async def _rows(self, sql: str, parameters: Sequence[Any]) -> Sequence[Row]:
        return (await self._connection.exec_driver_sql(sql, tuple(map(_stored, parameters)))).all()


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


class SqliteConversations:
    """`worker.db.unit_of_work.Conversations`: turns on the engine's one connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqliteConversation]:
        async with self._engine.connect() as connection:
            await _require_file(connection)
            yield SqliteConversation(connection)

    async def close(self) -> None:
        """The engine is closed by whoever opened it."""
