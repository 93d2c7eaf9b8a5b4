"""The audit of operators' commands: each one that changes something is recorded before it begins and when it ends."""

import asyncio
import getpass
import os
import platform
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID, uuid4

from schemas.detail import printable
from worker.rules.errors import Unavailable

_NAME_CHARS_MAX = 255
DETAIL_CHARS_MAX = 1_000


class Result(StrEnum):
    """How a command ended. A command that was killed has none."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    """It stopped itself before the end: `detail` has the reason."""
    INTERRUPTED = "interrupted"
    """A signal stopped it."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who runs a command, and where."""

    name: str
    host: str

    @classmethod
    def current(cls, name: str | None = None) -> "Operator":
        """`name`: of RUDDER_OPERATOR. Default: the login name, of the user who called sudo where there is one."""
        login = name or os.environ.get("SUDO_USER") or _login()
        return cls(name=printable(login)[:_NAME_CHARS_MAX], host=printable(platform.node())[:_NAME_CHARS_MAX])


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A row of `operator_actions` when its command begins. `arguments`: as JSON values. `plan_sha256`: hexadecimal."""

    id: UUID
    started_at: datetime
    operator: Operator
    command: str
    arguments: Mapping[str, object]
    plan_sha256: str | None = None


@dataclass(slots=True)
class Progress:
    """What a running command reports for its row: changed by the command, written at its end."""

    action: Action
    result: Result = Result.COMPLETED
    counts: dict[str, int] = field(default_factory=dict)
    detail: str | None = None


class ActionLog(Protocol):
    """`operator_actions`. Both methods raise Unavailable if the database does not answer, and ConfigurationError if it
    refuses the login a privilege.
    """

    async def begin(self, action: Action) -> None: ...

    async def finish(self, progress: Progress, *, finished_at: datetime) -> None: ...


@asynccontextmanager
async def recorded(
    log: ActionLog,
    *,
    operator: Operator,
    command: str,
    arguments: Mapping[str, object],
    plan_sha256: str | None = None,
) -> AsyncIterator[Progress]:
    """Record the command around the block. An error of the block is recorded as the result, and raised.

    Raises:
        Unavailable, ConfigurationError: as `ActionLog`.
    """
    action = Action(
        id=uuid4(),
        started_at=datetime.now(UTC),
        operator=operator,
        command=command,
        arguments=arguments,
        plan_sha256=plan_sha256,
    )
    progress = Progress(action)
    await log.begin(action)
    try:
        yield progress
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
        progress.result = Result.INTERRUPTED if stopped else Result.FAILED
        progress.detail = printable(str(error))[:DETAIL_CHARS_MAX] or type(error).__name__
        with suppress(Unavailable):  # the error itself is reported; the row stays without a result
            await log.finish(progress, finished_at=datetime.now(UTC))
        raise
    await log.finish(progress, finished_at=datetime.now(UTC))


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password file
        return f"uid {os.getuid()}"
