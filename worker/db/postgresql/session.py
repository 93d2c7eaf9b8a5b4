"""A message in two round trips on PostgreSQL: one SELECT without a transaction, one statement that writes all.

Nothing is held between the two, so a worker that stalls or ends blocks no other.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import asyncpg

from worker.db.pointers import Pointers
from worker.db.postgresql.errors import GRANTS_ADVICE
from worker.db.postgresql.privileges import missing_privileges
from worker.db.row_decoder import Reader, Row
from worker.db.statement import Condition, Statement, WriteStatement, numbered_each
from worker.db.writes import Batch, Claim, presence
from worker.rules.errors import ConfigurationError, Unavailable

# Functions of the migrations: they lock the event, and then look with a snapshot of their own. The statement's snapshot
# is older than the lock and does not show what was committed while the lock was waited for.
_CLAIMS: Final = {
    Claim.REJECT: "rudder_claim_rejection(:event_id, :absent_release_id)",
    Claim.APPLY: "rudder_claim_application(:event_id, FALSE)",
    Claim.APPLY_REDRIVEN: "rudder_claim_application(:event_id, TRUE)",
}
_CLAIM_NUMBER: Final = "rudder_claim_number(:release_date, :release_number, :component_id, :compared)"

_PING, _PING_WITH_POINTERS = (
    f"SELECT current_setting('transaction_read_only'), {missing_privileges(pointers=pointers)} "
    f"WHERE NOT EXISTS ({presence(pointers=pointers)})"
    for pointers in (False, True)
)


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC)


def _naive(value: object) -> object:
    return value.replace(tzinfo=None) if type(value) is datetime else value


def _same(value: Any) -> Any:
    return value


class PostgresqlSession:
    """`worker.db.unit_of_work.Session` on one connection, in autocommit."""

    reader = Reader(uuid=_same, time=_aware, date=_same)

    def __init__(self, connection: "asyncpg.Connection") -> None:
        self._connection = connection

    async def fetch(self, statement: Statement, values: Sequence[object]) -> Sequence[Row]:
        rows: Sequence[Row] = await self._connection.fetch(statement.sql, *values)
        return rows

    async def execute(self, statement: Statement, values: Sequence[object]) -> None:
        await self._connection.execute(statement.sql, *map(_naive, values))

    async def write(self, batch: Batch) -> None:
        statement, values = written(batch)
        await self._connection.fetch(statement.sql, *values)

    async def ping(self, pointers: Pointers | None) -> None:
        [row] = await self._connection.fetch(_PING if pointers is None else _PING_WITH_POINTERS)
        read_only, missing = row
        if read_only == "on":
            raise Unavailable("PostgreSQL is read-only, as a replica is")
        if missing:
            raise ConfigurationError(f"PostgreSQL: this role lacks {missing}: {GRANTS_ADVICE}")


def written(batch: Batch) -> tuple[Statement, Sequence[object]]:
    """The one statement of a batch, and its values. It commits by itself, or fails as a whole."""
    claims = [_CLAIMS[batch.claim]]
    values = [_naive(value) for write in batch.writes for value in write.values]
    values.append(batch.event_id)
    if batch.claim is Claim.REJECT:
        values.append(batch.absent_release_id)
    if batch.number is not None:
        claims.append(_CLAIM_NUMBER)
        values += (batch.number.release_date, batch.number.release_number, batch.number.component_id)
        values.append(batch.number.compared)
    check = batch.version_check
    if check is not None:
        values += check.values
    statements = tuple([write.statement for write in batch.writes])
    return _statement(statements, tuple(claims), None if check is None else check.condition), values


@lru_cache(maxsize=512)
def _statement(statements: Sequence[WriteStatement], claims: Sequence[str], condition: Condition | None) -> Statement:
    """Each write is a CTE. The SELECT locks the event, checks what was read, and looks at what the writes found.

    The claims stand first, and so are evaluated before any CTE: a transaction that waits for an event holds no row. It
    would be as safe elsewhere, but two workers could then meet in a deadlock.
    """
    parts, looks, used = [], list(claims), Counter[str]()
    if condition is not None:
        looks.append(f"rudder_guard({condition.holds}, '{condition.row}')")
    for statement in statements:
        used[statement.name] += 1
        name = statement.name if used[statement.name] == 1 else f"{statement.name}_{used[statement.name]}"
        if statement.finds is None:
            parts.append(f"{name} AS (\n    {statement.sql}\n)")
        else:
            parts.append(f"{name} AS (\n    {statement.sql} RETURNING 1\n)")
            looks.append(f"rudder_guard(EXISTS (SELECT 1 FROM {name}), '{statement.finds}')")  # noqa: S608 - names of parts
    with_parts = ", ".join(parts)
    selected = ",\n    ".join(looks)
    return numbered_each(f"WITH {with_parts}\nSELECT {selected}")
