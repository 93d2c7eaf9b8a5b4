"""What messages write, as calls of the procedure `rudder_write_v1`: each call is one transaction.

Many calls are one batch, in one round trip. Its text depends on the number of calls alone, so that the server uses its
plan again. A call that fails returns its error as a row, and the next one follows. The procedure is in
`migrations/versions/v0_0_233_write_procedure.py`: it writes what was decided.
"""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from worker.db.mssql.fragments import EXACT_COMPONENT
from worker.db.mssql.json_text import json_text
from worker.db.statement import Write, names_of
from worker.db.writes import SAME_VERSION, Claim, WriteSet
from worker.rules.errors import Unprocessable

PROCEDURE: Final = "rudder_write_v1"
TABLES: Final = frozenset(
    {
        "releases",
        "release_versions",
        "release_apim_base_revisions",
        "release_deployments",
        "release_activity_logs",
        "release_event_rejections",
    }
)
"""What it writes by its own statements. It updates `app_environments` with the privileges of the login."""

_COUNTS: Final = (1, 4, 16, 64)
"""How many calls a batch has. A call beyond the last message has an empty one, and does nothing."""

_CLAIMS: Final = {Claim.REJECT: "reject", Claim.APPLY: "apply", Claim.APPLY_REDRIVEN: "redriven"}
_COMPLETED: Final = -1
"""The position in the row that follows the last call."""


class Batch(NamedTuple):
    """T-SQL and its parameters, all of type `nvarchar(max)`. `messages`: how many it writes."""

    sql: str
    parameters: Sequence[str]
    messages: int


class Failure(NamedTuple):
    """The number and the message of the error of one call."""

    number: int
    message: str


def batches(messages: Sequence[str], *, patient: bool = True) -> Iterator[Batch]:
    """What to send for these messages, in order."""
    most = _COUNTS[-1]
    for first in range(0, len(messages), most):
        some = messages[first : first + most]
        count = next(count for count in _COUNTS if len(some) <= count)
        yield Batch(text(count, patient=patient), [*some, *[""] * (count - len(some))], len(some))


def message_text(write_set: WriteSet) -> str:
    """What one call is given.

    Raises:
        Unprocessable: a text that is written has a NUL, or half of a surrogate pair.
    """
    for write in write_set.writes:
        if any(isinstance(value, str) and "\0" in value for value in write.values):
            raise Unprocessable("SQL Server: a text with the character NUL")
    message = json_text(message_of(write_set))
    try:
        message.encode()
    except UnicodeEncodeError as error:
        raise Unprocessable(f"SQL Server: {error}") from error
    return message


@cache
def text(count: int, *, patient: bool) -> str:
    """The batch of `count` calls. A call that is not `patient` waits for a lock for a short time only. `@written`: the
    event of the last call that has succeeded, for the next event of its chain.
    """
    alone = int(patient)
    calls = [
        f"EXEC {PROCEDURE} @message = ?, @position = {position}, @alone = {alone}, @written = @written OUTPUT;"
        for position in range(count)
    ]
    last = f"SELECT {_COMPLETED} AS position, 0 AS number, N'' AS message;"
    return "\n".join(["SET NOCOUNT ON;", "DECLARE @written uniqueidentifier;", *calls, last])


def failures(rows: Sequence[Sequence[Any]], *, messages: int) -> list[Failure | None] | None:
    """For each message the error of its call, from the rows of a batch. None: not all of the batch was executed."""
    if not rows or rows[-1][0] != _COMPLETED:
        return None
    found: list[Failure | None] = [None] * messages
    for position, number, message in rows[:-1]:
        found[position] = Failure(number, message)
    return found


def message_of(write_set: WriteSet) -> dict[str, Any]:
    """What the procedure reads."""
    message: dict[str, Any] = {"event_id": write_set.event_id, "claim": _CLAIMS[write_set.claim]}
    if write_set.absent_release_id is not None:
        message["absent_release_id"] = write_set.absent_release_id
    if write_set.predecessor_id is not None:
        message["predecessor_id"] = write_set.predecessor_id
    if write_set.version_check is not None:
        message["same_version"] = 1
        message["release_id"] = write_set.version_check.values[0]
        if write_set.version_check.condition is SAME_VERSION:
            message["version"] = write_set.version_check.values[1]
    for write in write_set.writes:
        _add(message, write)
    return message


def _add(message: dict[str, Any], write: Write) -> None:
    name = write.statement.name
    match name:
        case "release_version":
            message["release_id"], version = write.values
            message["new_version" if write.statement.finds is None else "version"] = version
        case "base_revisions" | "activities" | "moved_deployment" | "resolved_rejection":
            message.setdefault(name, []).extend(_rows(write))
        case "pointer":
            [row] = _rows(write)
            message[name] = {**row, "component": _component(write, row["component_id"])}
        case _:
            [message[name]] = _rows(write)


def _rows(write: Write) -> list[dict[str, Any]]:
    """The values by the names of their parameters; an INSERT may have several rows."""
    names, values = _names(write.statement.sql), write.values
    if write.statement.finds is not None:
        return [dict(zip(names, values, strict=True))]
    columns = tuple(dict.fromkeys(names))
    size = len(columns)
    return [dict(zip(columns, values[first : first + size], strict=True)) for first in range(0, len(values), size)]


@lru_cache(maxsize=512)
def _names(sql: str) -> Sequence[str]:
    return names_of(sql)


def _component(write: Write, value: object) -> str:
    """How the procedure compares app_environments.component_id."""
    if isinstance(value, str):
        return "text"
    return "exact text" if EXACT_COMPONENT in write.statement.sql else "uuid"
