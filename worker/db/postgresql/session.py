"""Messages in two round trips on PostgreSQL: one SELECT without a transaction, then one statement for each message.

Nothing is held between the two, so a worker that stalls or ends blocks no other. The statements of several messages are
sent together. Each commits by itself, and only the last one waits for the write-ahead log to be flushed, which flushes
the commits before it too. Until then no result is handed out, and nothing is published for a commit that a crash of the
server could take back (PostgreSQL documentation, "Asynchronous Commit").
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import asyncpg

from worker.db.pointers import Pointers
from worker.db.postgresql.errors import GRANTS_ADVICE, is_of_the_statement
from worker.db.postgresql.pipelining import Pipeline
from worker.db.postgresql.privileges import missing_privileges
from worker.db.row_decoder import Reader, Row
from worker.db.session import LOCK_WAIT_MS
from worker.db.statement import Statement, WriteStatement, numbered_each
from worker.db.writes import RELEASE, Claim, WriteSet, presence
from worker.rules.errors import ConfigurationError, Unavailable

# Functions of the migrations: they lock the event, and then look with a snapshot of their own. The statement's snapshot
# is older than the lock and does not show what was committed while the lock was waited for.
_CLAIMS: Final = {
    Claim.REJECT: "rudder_claim_rejection(:event_id, :absent_release_id)",
    Claim.APPLY: "rudder_claim_application(:event_id, FALSE)",
    Claim.APPLY_REDRIVEN: "rudder_claim_application(:event_id, TRUE)",
}
_CLAIM_NUMBER: Final = "rudder_claim_number(:release_date, :release_number, :component_id, :compared)"

_SETTINGS: Final = (
    "set_config('synchronous_commit', COALESCE(:synchronous_commit, current_setting('synchronous_commit')), TRUE)",
    "set_config('lock_timeout', COALESCE(:lock_timeout, current_setting('lock_timeout')), TRUE)",
)
"""Of the statement's own transaction. None: as the server, the role or the database has it."""

# That its predecessor's row is stored would prove too little: another worker may have changed the release, and then
# have stored that event as stale or rejected. This is undone with a transaction that fails.
_WRITTEN: Final = "set_config('rudder.written', :event_id, FALSE)"
_PREDECESSOR_WRITTEN: Final = (
    f"rudder_guard(COALESCE(current_setting('rudder.written', TRUE), '') = :predecessor_id, '{RELEASE}')"
)
"""Of the session: the event of its last transaction."""

# A commit without a change of data waits for nothing, so this writes something to the log.
_FLUSH: Final = "SELECT pg_logical_emit_message(TRUE, 'rudder-worker', '')"

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
    """`worker.db.session.Session` on one connection, in autocommit."""

    reader = Reader(uuid=_same, time=_aware, date=_same)

    def __init__(self, connection: "asyncpg.Connection", pipeline: Pipeline) -> None:
        self._connection = connection
        self._pipeline = pipeline

    async def fetch(self, statement: Statement, values: Sequence[object]) -> Sequence[Row]:
        rows: Sequence[Row] = await self._connection.fetch(statement.sql, *values)
        return rows

    async def fetch_each(self, statements: Sequence[tuple[Statement, Sequence[object]]]) -> Sequence[Sequence[Row]]:
        return [await self.fetch(statement, values) for statement, values in statements]

    async def execute(self, statement: Statement, values: Sequence[object]) -> None:
        await self._connection.execute(statement.sql, *map(_naive, values))

    async def write(self, write_sets: Sequence[WriteSet], *, patient: bool) -> Sequence[Exception | None]:
        last = len(write_sets) - 1
        lock_timeout = None if patient else f"{LOCK_WAIT_MS}ms"
        errors = await self._pipeline.run(
            written(
                write_set,
                synchronous_commit=None if position == last else "off",
                lock_timeout=lock_timeout,
            )
            for position, write_set in enumerate(write_sets)
        )
        if errors[last] is not None and None in errors:
            await self._connection.fetch(_FLUSH)
        # Any error but the statement's may be the connection's own, of a server that became a replica for one.
        if any(isinstance(error, asyncpg.PostgresError) and not is_of_the_statement(error) for error in errors):
            self._connection.terminate()
        return errors

    async def ping(self, pointers: Pointers | None) -> None:
        [row] = await self._connection.fetch(_PING if pointers is None else _PING_WITH_POINTERS)
        read_only, missing = row
        if read_only == "on":
            raise Unavailable("PostgreSQL is read-only, as a replica is")
        if missing:
            raise ConfigurationError(f"PostgreSQL: this role lacks {missing}: {GRANTS_ADVICE}")


def written(
    write_set: WriteSet, *, synchronous_commit: str | None = None, lock_timeout: str | None = None
) -> tuple[Statement, Sequence[object]]:
    """The one statement of a message, and its values. It commits by itself, or fails as a whole."""
    looks = [*_SETTINGS, _CLAIMS[write_set.claim]]
    values: list[object] = [value for write in write_set.writes for value in write.values]
    values += (synchronous_commit, lock_timeout, write_set.event_id)
    if write_set.claim is Claim.REJECT:
        values.append(write_set.absent_release_id)
    if (number := write_set.number) is not None:
        looks.append(_CLAIM_NUMBER)
        values += (number.release_date, number.release_number, number.component_id, number.compared)
    if write_set.predecessor_id is not None:
        looks.append(_PREDECESSOR_WRITTEN)
        values.append(str(write_set.predecessor_id))
    if (check := write_set.version_check) is not None:
        looks.append(f"rudder_guard({check.condition.holds}, '{check.condition.row}')")
        values += check.values
    values.append(str(write_set.event_id))
    statements = tuple([write.statement for write in write_set.writes])
    return _statement(statements, tuple(looks)), values


@lru_cache(maxsize=512)
def _statement(statements: Sequence[WriteStatement], before: Sequence[str]) -> Statement:
    """Each write is a CTE. The SELECT locks the event, checks what was read, and looks at what the writes found.

    The settings and claims stand first, and so are evaluated before any CTE: a transaction that waits for an event
    holds no row. It would be as safe elsewhere, but two workers could then meet in a deadlock.
    """
    parts, looks, used = [], list(before), Counter[str]()
    for statement in statements:
        used[statement.name] += 1
        name = statement.name if used[statement.name] == 1 else f"{statement.name}_{used[statement.name]}"
        if statement.finds is None:
            parts.append(f"{name} AS (\n    {statement.sql}\n)")
        else:
            parts.append(f"{name} AS (\n    {statement.sql} RETURNING 1\n)")
            looks.append(f"rudder_guard(EXISTS (SELECT 1 FROM {name}), '{statement.finds}')")  # noqa: S608 - names of parts
    looks.append(_WRITTEN)
    with_parts = ", ".join(parts)
    selected = ",\n    ".join(looks)
    return numbered_each(f"WITH {with_parts}\nSELECT {selected}")
