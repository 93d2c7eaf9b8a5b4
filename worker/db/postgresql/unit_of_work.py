"""A message in two round trips on PostgreSQL: one SELECT without a transaction, one statement that writes it all.

Nothing is held between the two, so a worker that stalls or dies stands in nobody's way. What was decided is written
only if the release's row still has the version that was read, and the event has not been decided otherwise; if not,
the statement fails as a whole.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from typing import Any
from uuid import UUID

import asyncpg

from worker.db.asking import COUNTING, ENTRIES, RECURSIVE_ENVIRONMENTS, REJECTION, Words, asking
from worker.db.placeholders import numbered
from worker.db.pointers import EXACTLY, Pointers
from worker.db.postgresql.errors import GRANTS_ADVICE
from worker.db.postgresql.privileges import missing_rights
from worker.db.question import OWN_COUNTING_MAX, TRACKS_MAX, Question
from worker.db.row_decoder import Reader, Row
from worker.db.unit_of_work import Basis
from worker.db.writing import HOLD_RELEASE, MOVE_RELEASE, Claim, Write, presence
from worker.rules.errors import ConfigurationError, Unavailable

# ruff: noqa: S608 - what is put together here are constants of this program, never anybody's values

_AT_VERSION = " AND xmin = ?::xid"
_CLAIMS = {
    Claim.REJECT: "rudder_claim_rejection(?, ?)",
    Claim.APPLY: "rudder_claim_application(?, FALSE)",
    Claim.APPLY_REDRIVEN: "rudder_claim_application(?, TRUE)",
}
"""Functions of the migrations: they lock the event, and then look with a snapshot of their own. The statement's
snapshot is older than the lock and does not show what was committed while the lock was waited for.
"""


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC)


def _naive(value: object) -> object:
    return value.replace(tzinfo=None) if type(value) is datetime else value


def _same(value: Any) -> Any:
    return value


_READ = Reader(uuid=_same, time=_aware, date=_same)

_WORDS = Words(
    top="",
    limit=" LIMIT {rows}",
    environments=RECURSIVE_ENVIRONMENTS,
    counting=f"""SELECT {COUNTING} FROM environments e LEFT JOIN LATERAL (
    SELECT * FROM release_deployments c
    WHERE c.release_mgt_id = :release AND c.environment_id = e.environment_id AND c.status <> 'CANCELLED'
    ORDER BY c.updated_at DESC, c.config_revision DESC, c.attempt DESC
    LIMIT CASE WHEN e.environment_id = :environment THEN {OWN_COUNTING_MAX} ELSE 1 END
) d ON TRUE WHERE e.environment_id IS NOT NULL""",
    tracks=f"""LEFT JOIN LATERAL (
    SELECT n.deployment_track_id FROM releases n WHERE r.id IS NULL AND MEANT LIMIT {TRACKS_MAX}
) n ON TRUE""",
    exactly=EXACTLY,
    version="r.xmin",
    # Not to be read by environment alone, however few rows it had when the plan was made.
    environment="LEFT JOIN LATERAL (SELECT * FROM app_environments a WHERE MEANT OFFSET 0) a ON TRUE",
    uuid_of_text="CASE WHEN TEXT ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN TEXT::uuid END",
    text_of_uuid="(UUID)::text",
    placed=numbered,
)
_ENTRIES = f"{ENTRIES} = ANY($1)"
_REJECTION = numbered(REJECTION).sql
_PING, _PING_WITH_POINTERS = (
    f"SELECT current_setting('transaction_read_only'), {missing_rights(pointers=pointers)} "
    f"WHERE NOT EXISTS ({presence(environments=pointers)})"
    for pointers in (False, True)
)


class PostgresqlConversation:
    """`worker.db.unit_of_work.Conversation` on one connection, in autocommit."""

    read = _READ

    def __init__(self, connection: "asyncpg.Connection") -> None:
        self._connection = connection

    async def ask(self, question: Question, pointers: Pointers | None) -> Sequence[Row]:
        asked = asking(question.parts, _WORDS, component_is_uuid=pointers is None or pointers.component_is_uuid)
        rows: Sequence[Row] = await self._connection.fetch(asked.sql, *asked.parameters(question.values))
        return rows

    async def activities(self, ids: Sequence[UUID]) -> Sequence[Row]:
        rows: Sequence[Row] = await self._connection.fetch(_ENTRIES, ids)
        return rows

    async def rejection(self, rejection_id: UUID) -> Row | None:
        row: Row | None = await self._connection.fetchrow(_REJECTION, rejection_id)
        return row

    async def ping(self, pointers: Pointers | None) -> None:
        """Finds what a server that answers may lack: a table, a right, or the state in which it takes writes."""
        [row] = await self._connection.fetch(_PING if pointers is None else _PING_WITH_POINTERS)
        read_only, missing = row
        if read_only == "on":
            raise Unavailable("PostgreSQL is read-only, as a replica is")
        if missing:
            raise ConfigurationError(f"PostgreSQL: this role lacks {missing}: {GRANTS_ADVICE}")

    async def write(self, writes: Sequence[Write], basis: Basis) -> None:
        guarded = _guarded(writes, basis)
        claims, claimed = _claims(basis)
        sql = _folded(tuple((write.sql, write.guarded) for write in guarded), claims)
        parameters = [_naive(value) for write in guarded for value in write.parameters]
        await self._connection.fetch(sql, *parameters, *claimed)


def _claims(basis: Basis) -> tuple[str, tuple[object, ...]]:
    """What locks the event and the number of a new release, and its parameters. A rejection names the release that it
    found absent.
    """
    sql, parameters = _CLAIMS[basis.claim], (basis.event_id,)
    if basis.claim is Claim.REJECT:
        return sql, (*parameters, None if basis.found else basis.release_id)
    if (number := basis.number) is None:
        return sql, parameters
    claimed = (number.release_date, number.release_number, number.component_id)
    return f"{sql}, rudder_claim_number(?, ?, ?, {number.releases:d})", (*parameters, *claimed)


def _guarded(writes: Sequence[Write], basis: Basis) -> list[Write]:
    """The writes with the release's version among them, where there is a release."""
    if basis.release_id is None or not basis.found:
        return list(writes)  # what creates a release meets its primary key; a rejection's claim looks for the release
    move = next((write for write in writes if write.sql is MOVE_RELEASE), None)
    held = move or Write(HOLD_RELEASE, (basis.release_id,))
    at_version = Write(held.sql + _AT_VERSION, (*held.parameters, basis.version), "release")
    return [at_version, *(write for write in writes if write is not move)]


@lru_cache(maxsize=512)
def _folded(parts: tuple[tuple[str, str | None], ...], claims: str) -> str:
    """One statement of many: each part a CTE, and a look at what they found. It commits by itself, or fails whole.

    The claims stand first, and so are evaluated before any CTE: whoever waits for an event holds none of its rows. It
    would be as safe elsewhere, but two workers could then meet in a deadlock.
    """
    numbers = count(1)

    def numbered(sql: str) -> str:
        first, *rest = sql.split("?")
        return first + "".join(f"${next(numbers)}{text}" for text in rest)

    parts_sql = [f"w{at} AS ({numbered(sql)} RETURNING 1)" for at, (sql, _) in enumerate(parts)]
    checks = [f"rudder_guard(EXISTS (SELECT 1 FROM w{at}), '{what}')" for at, (_, what) in enumerate(parts) if what]
    return f"WITH {', '.join(parts_sql)}\nSELECT {', '.join([numbered(claims), *checks])}"
