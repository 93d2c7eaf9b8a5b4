"""Operators' commands are recorded before they begin and when they end, however they end."""

import asyncio
from datetime import UTC, datetime

import pytest

from worker.operator_actions import Action, Operator, Progress, Result, recorded
from worker.rules.errors import Unavailable

MARIA = Operator(name="maria", host="bastion")


class Log:
    """Rows in memory. `down`: whether the database does not answer at the end."""

    def __init__(self, *, down: bool = False) -> None:
        self.begun: list[Action] = []
        self.finished: list[tuple[Progress, datetime]] = []
        self._down = down

    async def begin(self, action: Action) -> None:
        self.begun.append(action)

    async def finish(self, progress: Progress, *, finished_at: datetime) -> None:
        if self._down:
            raise Unavailable("the database does not answer")
        self.finished.append((progress, finished_at))


async def run(log: Log, error: BaseException | None = None) -> None:
    async with recorded(
        log, operator=MARIA, command="dead-letters dismiss", arguments={"note": "x"}, plan_sha256="ab"
    ) as progress:
        [action] = log.begun
        assert (action, log.finished) == (progress.action, [])
        progress.counts["dismissed"] = 3
        if error is not None:
            raise error


def test_action_is_recorded_before_it_begins_and_when_it_ends() -> None:
    log = Log()
    asyncio.run(run(log))
    [(progress, finished_at)] = log.finished
    action = progress.action
    assert (action.operator, action.command, action.arguments) == (MARIA, "dead-letters dismiss", {"note": "x"})
    assert (progress.result, progress.counts, progress.detail) == (Result.COMPLETED, {"dismissed": 3}, None)
    assert action.started_at <= finished_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("error", "result", "detail"),
    [
        (RuntimeError("no space\nleft"), Result.FAILED, "no space"),
        (asyncio.CancelledError(), Result.INTERRUPTED, "CancelledError"),
        (KeyboardInterrupt(), Result.INTERRUPTED, "KeyboardInterrupt"),
        (RuntimeError("x" * 5000), Result.FAILED, "x" * 1000),
    ],
)
async def test_error_is_the_result_and_is_raised(error: BaseException, result: Result, detail: str) -> None:
    log = Log()
    with pytest.raises(type(error)):
        await run(log, error)
    [(progress, _)] = log.finished
    assert progress.result is result
    assert progress.detail is not None
    assert progress.detail.startswith(detail)
    assert len(progress.detail) <= 1000
    assert "\n" not in progress.detail


async def test_lost_database_does_not_hide_the_error() -> None:
    """The row stays without a result; the command's own error is reported."""
    with pytest.raises(RuntimeError, match="first"):
        await run(Log(down=True), RuntimeError("first"))


async def test_action_without_its_end_is_an_error() -> None:
    with pytest.raises(Unavailable):
        await run(Log(down=True))


def test_operator_is_the_setting_or_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "jo\x1b[31m")
    assert Operator.current("maria").name == "maria"
    assert "\x1b" not in Operator.current().name
    assert Operator.current().name.startswith("jo")
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setenv("LOGNAME", "ada" * 200)
    assert Operator.current().name == ("ada" * 200)[:255]
