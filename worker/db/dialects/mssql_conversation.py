"""A message in three round trips on SQL Server: a batch that asks, a batch that writes, the commit.

The first statement writes the release's row without changing it: whoever else works on that release waits, and what is
read after it stays true until the commit. No lock hints, no MERGE.

A text of more than 2,000 characters takes a fourth: the driver sends it after the rest.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import PoolProxiedConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.db.asking import DEPLOYMENT, ENTRIES, REJECTION, Words, asking
from worker.db.conversation import Basis
from worker.db.placeholders import Statement, positional
from worker.db.pointers import Pointers
from worker.db.question import OWN_COUNTING_MAX, Parts, Question
from worker.db.reading import FACTS, Reader, Row
from worker.db.writing import HOLD_RELEASE, Write, is_rejection
from worker.domain.errors import Outrun

_PARAMETERS_MAX = 2_000
"""Of one batch; the server takes 2,100."""

_VERSION_COLUMN = 3

_CURSOR = "rudder cursor"
"""Where a pooled connection keeps its cursor."""


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC)


def _same(value: Any) -> Any:
    return value


_READ = Reader(uuid=_uuid, time=_aware, date=_same)

_WORDS = Words(
    top="TOP (1) ",
    limit="",
    # No aggregate may stand in the recursive part; a row number may.
    environments="""WITH environments (environment_id) AS (
    SELECT MIN(environment_id) FROM release_deployments WHERE release_mgt_id = :release
    UNION ALL
    SELECT following.environment_id FROM (
        SELECT d.environment_id, ROW_NUMBER() OVER (ORDER BY d.environment_id) AS place
        FROM release_deployments d JOIN environments e ON d.environment_id > e.environment_id
        WHERE d.release_mgt_id = :release
    ) following WHERE following.place = 1
)
""",
    counting=f"""SELECT {DEPLOYMENT} FROM environments e CROSS APPLY (
    SELECT TOP ({OWN_COUNTING_MAX}) * FROM release_deployments c
    WHERE c.release_mgt_id = :release AND c.environment_id = e.environment_id AND c.status <> N'CANCELLED'
    ORDER BY c.updated_at DESC, c.config_revision DESC, c.attempt DESC
) d""",  # noqa: S608 - names of ours
    version="@held",
    environment="LEFT JOIN app_environments a ON MEANT",
    uuid_of_text="TRY_CONVERT(uniqueidentifier, TEXT)",
    text_of_uuid="LOWER(CONVERT(nvarchar(36), UUID))",
    placed=positional,
)
_HOLD = f"SET NOCOUNT ON;\n{HOLD_RELEASE.replace('?', ':release')};\nDECLARE @held int = @@ROWCOUNT;\n"
_LOGGED = "SELECT 1 FROM release_activity_logs WHERE id = ?"
_PRESENT = "SELECT 1 FROM releases WHERE id = ?"
_REJECTION = positional(REJECTION).sql


@cache
def _asking(parts: Parts, *, component_is_uuid: bool) -> Statement:
    asked = asking(parts, _WORDS, component_is_uuid=component_is_uuid)
    if not parts.release:
        return asked
    # More environments than the 100 levels that a recursion has by default.
    limit = " OPTION (MAXRECURSION 0)" if parts.counting else ""
    return Statement(f"{positional(_HOLD).sql}{asked.sql}{limit}", ("release", *asked.names))


class MssqlConversation:
    """`worker.db.conversation.Conversation` in one transaction on a connection of aioodbc's."""

    read = _READ

    def __init__(self, connection: Any, cursor: Any) -> None:
        self._connection = connection
        self._cursor = cursor
        self._committed = False

    async def ask(self, question: Question, pointers: Pointers | None) -> Sequence[Row]:
        asked = _asking(question.parts, component_is_uuid=pointers is None or pointers.component_is_uuid)
        rows = await self._rows(asked.sql, asked.parameters(question.values))
        if question.parts.release and rows[0][FACTS] is not None and not rows[0][_VERSION_COLUMN]:
            raise Outrun("the release came into being while it was looked for")
        return rows

    async def entries(self, ids: Sequence[UUID]) -> Sequence[Row]:
        return await self._rows(f"{ENTRIES} IN ({', '.join('?' * len(ids))})", ids)

    async def rejection(self, rejection_id: UUID) -> Row | None:
        rows = await self._rows(_REJECTION, (rejection_id,))
        return rows[0] if rows else None

    async def ping(self) -> None:
        await self._rows("SELECT 1", ())

    async def write(self, writes: Sequence[Write], basis: Basis) -> None:
        # What was held is true until the commit. What was not there could not be held.
        absent = () if basis.found else tuple(_still_absent(writes, basis))
        for batch in _batches((*absent, *writes)):
            sql = _batch(tuple((_without_nulls(write), write.guarded) for write in batch))
            await self._execute(sql, [value for write in batch for value in write.parameters if value is not None])
            # An error behind a result, of another system's trigger perhaps, shows only when that is passed.
            while await self._cursor.nextset():
                pass
        await self._connection.commit()
        self._committed = True

    async def end(self) -> None:
        """Give the release back where nothing was to be written."""
        if not self._committed:
            await self._connection.rollback()

    async def _rows(self, sql: str, parameters: Sequence[object]) -> Sequence[Row]:
        nulls = _with_nulls(sql, tuple(value is None for value in parameters))
        await self._execute(nulls, [value for value in parameters if value is not None])
        rows: Sequence[Row] = await self._cursor.fetchall()
        return rows

    async def _execute(self, sql: str, parameters: Sequence[object]) -> None:
        await self._cursor.execute(sql, [_naive(value) for value in parameters])


def _still_absent(writes: Sequence[Write], basis: Basis) -> Iterable[Write]:
    if any(map(is_rejection, writes)):
        yield Write(_outrun_if(_LOGGED), (basis.event_id,))
        if basis.release_id is not None:
            yield Write(_outrun_if(_PRESENT), (basis.release_id,))


def _outrun_if(found: str) -> str:
    return f"IF EXISTS ({found}) BEGIN; THROW 51003, N'the release is no longer as it was read', 1; END"


def _naive(value: object) -> object:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


@lru_cache(maxsize=512)
def _with_nulls(sql: str, nulls: tuple[bool, ...]) -> str:
    """The driver asks the server for the type of a parameter that is None: one more round trip. NULL has no type."""
    first, *rest = sql.split("?")
    return first + "".join(("NULL" if null else "?") + text for null, text in zip(nulls, rest, strict=True))


def _without_nulls(write: Write) -> str:
    return _with_nulls(write.sql, tuple(value is None for value in write.parameters))


@lru_cache(maxsize=512)
def _batch(parts: tuple[tuple[str, str | None], ...]) -> str:
    """Statements one after the other; the first that finds nothing ends the batch and the transaction."""
    lines = ["SET NOCOUNT ON;", "SET XACT_ABORT ON;"]
    for sql, guarded in parts:
        lines.append(f"{sql};")
        if guarded:
            number = 51003 if guarded == "release" else 51004
            message = f"the {guarded} is no longer as it was read"
            lines.append(f"IF @@ROWCOUNT = 0 BEGIN; THROW {number}, N'{message}', 1; END;")
    return "\n".join(lines)


def _batches(writes: Iterable[Write]) -> Iterable[list[Write]]:
    batch: list[Write] = []
    size = 0
    for write in writes:
        if batch and size + len(write.parameters) > _PARAMETERS_MAX:
            yield batch
            batch, size = [], 0
        batch.append(write)
        size += len(write.parameters)
    yield batch


class MssqlConversations:
    """`worker.db.conversation.Conversations`: turns on the engine's connections."""

    of_the_engine = True

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[MssqlConversation]:
        async with self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            try:
                conversation = MssqlConversation(raw.driver_connection, await _cursor(raw))
                yield conversation
                await conversation.end()
            except BaseException:
                # What a failed batch or an unanswered commit left behind is not to be trusted with a roll back.
                await connection.invalidate()
                raise

    async def close(self) -> None:
        """The engine is closed by whoever opened it."""


async def _cursor(connection: PoolProxiedConnection) -> Any:
    """The connection's one cursor. Closing one costs a round trip, in which the server forgets its statement; the next
    statement on the same cursor does that by the way.
    """
    if _CURSOR not in connection.info:
        connection.info[_CURSOR] = await connection.driver_connection.cursor()  # type: ignore[union-attr] # aioodbc's
    return connection.info[_CURSOR]
