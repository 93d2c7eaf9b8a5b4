"""A message in three round trips on SQL Server: a batch that asks, a batch that writes, the commit.

The first statement writes the release's row without changing it: whoever else works on that release waits, and what is
read after it stays true until the commit. The writing batch first locks the event itself, so that two workers cannot
reject and apply it. No lock hints, no MERGE.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Protocol, assert_never
from uuid import UUID

from worker.db.asking import COUNTING, ENTRIES, REJECTION, Words, asking
from worker.db.mssql.parameters import with_nulls
from worker.db.placeholders import Statement, positional
from worker.db.pointers import Pointers
from worker.db.question import OWN_COUNTING_MAX, TRACKS_MAX, Parts, Question
from worker.db.row_decoder import FACTS, Reader, Row
from worker.db.unit_of_work import Basis
from worker.db.writing import HOLD_RELEASE, Claim, Write, presence
from worker.rules.errors import StaleRead, Unavailable

_UPDATEABILITY = "SELECT CAST(DATABASEPROPERTYEX(DB_NAME(), N'Updateability') AS nvarchar(20))"

_PARAMETERS_MAX = 2_000
"""Of one batch; the server takes 2,100."""

_VERSION_COLUMN = 3


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC)


def _same(value: Any) -> Any:
    return value


_READ = Reader(uuid=_uuid, time=_aware, date=_same)

EXACTLY = "COLUMN = VALUE COLLATE DATABASE_DEFAULT AND (COLUMN + N'.') COLLATE Latin1_General_100_BIN2 = VALUE + N'.'"
"""The first for the index; the second because default collations ignore case, and every one trailing blanks, unless a
full stop follows them. The database's own collation is named for an app_environments that has another."""

UUID_OF_TEXT = "CASE WHEN LEN(TEXT + N'.') = 37 THEN TRY_CONVERT(uniqueidentifier, TEXT) END"

_WORDS = Words(
    top="TOP ({rows}) ",
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
    counting=f"""SELECT {COUNTING} FROM environments e OUTER APPLY (
    SELECT TOP ({OWN_COUNTING_MAX}) * FROM release_deployments c
    WHERE c.release_mgt_id = :release AND c.environment_id = e.environment_id AND c.status <> N'CANCELLED'
    ORDER BY c.updated_at DESC, c.config_revision DESC, c.attempt DESC
) d WHERE e.environment_id IS NOT NULL""",  # noqa: S608 - names of ours
    tracks=f"""OUTER APPLY (
    SELECT TOP ({TRACKS_MAX}) n.deployment_track_id FROM releases n WHERE r.id IS NULL AND MEANT
) n""",  # noqa: S608 - likewise
    exactly=EXACTLY,
    version="@held",
    environment="LEFT JOIN app_environments a ON MEANT",
    uuid_of_text=UUID_OF_TEXT,
    text_of_uuid="LOWER(CONVERT(varchar(36), UUID))",  # varchar: no column has to be converted for it
    placed=positional,
)
_HOLD = f"SET NOCOUNT ON;\n{HOLD_RELEASE.replace('?', ':release')};\nDECLARE @held int = @@ROWCOUNT;\n"
_LOGGED = "SELECT 1 FROM release_activity_logs WHERE id = ?"
_REJECTED = "SELECT 1 FROM release_event_rejections WHERE id = ?"
_LOCK_EVENT = """DECLARE @claimed int, @wait int = @@LOCK_TIMEOUT;
EXEC @claimed = sp_getapplock @Resource = ?, @LockMode = N'Exclusive', @LockOwner = N'Transaction',
    @LockTimeout = @wait;
IF @claimed = -1 BEGIN; THROW 51005, N'another transaction keeps the lock of this event', 1; END;
IF @claimed IN (-2, -3) BEGIN; THROW 51006, N'deadlock on the lock of this event', 1; END;
IF @claimed < 0 BEGIN; THROW 51007, N'sp_getapplock does not lock this event', 1; END"""
"""It waits as long as the session waits for any lock. It reports a failure by its result alone."""

_PRESENT = "SELECT 1 FROM releases WHERE id = ?"
_REJECTION = positional(REJECTION).sql


@cache
def _asking(parts: Parts, *, component_is_uuid: bool, component_case_matters: bool) -> Statement:
    asked = asking(parts, _WORDS, component_is_uuid=component_is_uuid, component_case_matters=component_case_matters)
    if not parts.release:
        return asked
    # More environments than the 100 levels that a recursion has by default.
    limit = " OPTION (MAXRECURSION 0)" if parts.counting else ""
    return Statement(f"{positional(_HOLD).sql}{asked.sql}{limit}", ("release", *asked.names))


class Session(Protocol):
    """A connection: each method is one turn in a thread, and as many round trips as it says."""

    async def rows(self, sql: str, parameters: Sequence[object]) -> Sequence[Row]:
        """One."""
        ...

    async def commit_all(self, batches: Sequence[tuple[str, Sequence[object]]]) -> None:
        """One for each batch, and one for the commit."""
        ...

    async def rollback(self) -> None:
        """One."""
        ...


class MssqlConversation:
    """`worker.db.unit_of_work.Conversation` in one transaction."""

    read = _READ

    def __init__(self, session: Session) -> None:
        self._session = session
        self._begun = False

    async def ask(self, question: Question, pointers: Pointers | None) -> Sequence[Row]:
        self._begun = True
        asked = _asking(
            question.parts,
            component_is_uuid=pointers is None or pointers.component_is_uuid,
            component_case_matters=pointers is not None and pointers.component_case_matters,
        )
        rows = await self._rows(asked.sql, asked.parameters(question.values))
        if question.parts.release and rows[0][FACTS] is not None and not rows[0][_VERSION_COLUMN]:
            raise StaleRead("the release came into being while it was looked for")
        return rows

    async def activities(self, ids: Sequence[UUID]) -> Sequence[Row]:
        return await self._rows(f"{ENTRIES} IN ({', '.join('?' * len(ids))})", ids)

    async def rejection(self, rejection_id: UUID) -> Row | None:
        rows = await self._rows(_REJECTION, (rejection_id,))
        return rows[0] if rows else None

    async def ping(self, pointers: Pointers | None) -> None:
        tables = presence(environments=pointers is not None)
        rows = await self._rows(f"{_UPDATEABILITY} WHERE NOT EXISTS ({tables})", ())
        if rows[0][0] == "READ_ONLY":
            raise Unavailable("SQL Server: the database is read-only, as a secondary is after a failover")

    async def write(self, writes: Sequence[Write], basis: Basis) -> None:
        await self._session.commit_all([_batch_of(some) for some in _batches((*_claimed(basis), *writes))])
        self._begun = False

    async def end(self) -> None:
        """Give the release back where nothing was to be written."""
        if self._begun:
            await self._session.rollback()

    async def _rows(self, sql: str, parameters: Sequence[object]) -> Sequence[Row]:
        nulls = with_nulls(sql, tuple(value is None for value in parameters))
        return await self._session.rows(nulls, [value for value in parameters if value is not None])


def _claimed(basis: Basis) -> Iterable[Write]:
    """The event's lock, held until the commit, and what is looked at again under it; see `Claim`. The release was held
    by the question's first statement; what was not there could not be held.
    """
    yield Write(_LOCK_EVENT, (f"rudder event {basis.event_id}",))
    match basis.claim:
        case Claim.REJECT:
            yield Write(_throw_if(_LOGGED, 51003, "the release is no longer as it was read"), (basis.event_id,))
            if basis.release_id is not None and not basis.found:
                yield Write(_throw_if(_PRESENT, 51003, "the release is no longer as it was read"), (basis.release_id,))
        case Claim.APPLY:
            yield Write(_throw_if(_REJECTED, 51004, "the event was rejected meanwhile"), (basis.event_id,))
        case Claim.APPLY_REDRIVEN:
            pass
        case _:
            assert_never(basis.claim)


def _throw_if(found: str, number: int, message: str) -> str:
    return f"IF EXISTS ({found}) BEGIN; THROW {number}, N'{message}', 1; END"


def _batch_of(writes: Sequence[Write]) -> tuple[str, Sequence[object]]:
    sql = _batch(tuple((_without_nulls(write), write.guarded) for write in writes))
    return sql, [value for write in writes for value in write.parameters if value is not None]


def _without_nulls(write: Write) -> str:
    return with_nulls(write.sql, tuple(value is None for value in write.parameters))


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
