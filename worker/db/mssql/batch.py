"""All that a message writes as one T-SQL batch: one round trip, one transaction.

Under XACT_ABORT an error ends the batch and rolls the transaction back.
"""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Final

from worker.db.mssql.parameters import with_nulls
from worker.db.statement import Condition, WriteStatement, positional
from worker.db.writes import RELEASE, WriteSet, identity_checks

_PARAMETERS_MAX: Final = 2_000
"""Of one batch; the server takes 2,100."""

_BEGIN: Final = "SET NOCOUNT ON;\nSET XACT_ABORT ON;\nBEGIN TRANSACTION;"
_COMMIT: Final = "COMMIT;"

# It waits as long as the session waits for any lock. It reports a failure by its result alone.
_LOCK_EVENT: Final = """\
DECLARE @granted int, @wait int = @@LOCK_TIMEOUT;
EXEC @granted = sp_getapplock @Resource = :event, @LockMode = N'Exclusive', @LockOwner = N'Transaction',
    @LockTimeout = @wait;
IF @granted = -1 BEGIN; THROW 51005, N'another transaction keeps the lock of this event', 1; END;
IF @granted IN (-2, -3) BEGIN; THROW 51006, N'deadlock on the lock of this event', 1; END;
IF @granted < 0 BEGIN; THROW 51007, N'sp_getapplock does not lock this event', 1; END;"""

Step = tuple[str, Sequence[object]]
"""A statement with a `?` for each of its values."""


def written(write_set: WriteSet) -> Sequence[Step]:
    """The batches to send; one, unless there are more parameters than the server takes."""
    batches: list[list[Step]] = [[]]
    size = 0
    for sql, values in _steps(write_set):
        if size + len(values) > _PARAMETERS_MAX:
            batches.append([])
            size = 0
        batches[-1].append((with_nulls(sql, tuple(value is None for value in values)), values))
        size += len(values)
    return [
        (
            _text(tuple(sql for sql, _ in steps)),
            [value for _, values in steps for value in values if value is not None],
        )
        for steps in batches
    ]


def _steps(write_set: WriteSet) -> Iterator[Step]:
    """The event's lock first, then what must still be true under it, then the writes."""
    yield _placed(_LOCK_EVENT), (f"rudder event {write_set.event_id}",)
    for check in (*identity_checks(write_set), *write_set.checks):
        yield _checked(check.condition), check.values
    for write in write_set.writes:
        yield _guarded(write.statement), write.values


@lru_cache(maxsize=512)
def _text(statements: Sequence[str]) -> str:
    return "\n".join([_BEGIN, *statements, _COMMIT])


@cache
def _placed(sql: str) -> str:
    return positional(sql).sql


@cache
def _checked(condition: Condition) -> str:
    return f"IF {_placed(condition.fails)} {_throw(condition.row)}"


@cache
def _guarded(statement: WriteStatement) -> str:
    sql = f"{_placed(statement.sql)};"
    return sql if statement.finds is None else f"{sql}\nIF @@ROWCOUNT = 0 {_throw(statement.finds)}"


def _throw(row: str) -> str:
    number = 51003 if row == RELEASE else 51004
    return f"BEGIN; THROW {number}, N'the {row} is no longer as it was read', 1; END;"
