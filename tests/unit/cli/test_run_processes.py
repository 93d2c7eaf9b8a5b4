"""`run --processes` refuses invalid settings, runs a single worker itself, and supervises several processes."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.unit.cli.command_line import CommandLine, rudder_worker
from worker.assembly import run_services
from worker.cli import run
from worker.rules.errors import ConfigurationError
from worker.service import parent_death
from worker.service.supervisor import Service
from worker.settings import Settings

POSTGRES = "postgresql+asyncpg://somebody:s3cret@127.0.0.1:1/rudder"
SEVERAL = {
    "RUDDER_DATABASE_URL": POSTGRES,
    "RUDDER_PROCESSES": "3",
    "RUDDER_HTTP_PORT": "0",
    "RUDDER_STARTUP_TIMEOUT_SECONDS": "0",
}


class Here(ConfigurationError):
    """The command runs the worker in this process."""


class Elsewhere(ConfigurationError):
    """The command starts further processes."""


@pytest.fixture
def settings_used(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Nothing is started; the replaced functions raise Here or Elsewhere and record their settings."""
    used: list[Settings] = []

    def services(settings: Settings) -> Mapping[str, Service]:
        used.append(settings)
        raise Here("here")

    def process_supervisors(settings: Settings, **_: Any) -> Mapping[str, Service]:
        used.append(settings)
        raise Elsewhere("elsewhere")

    monkeypatch.setattr(run_services, "services", services)
    monkeypatch.setattr(run, "process_supervisors", process_supervisors)
    return used


@pytest.mark.parametrize(
    ("arguments", "environment", "where", "processes"),
    [
        ([], {}, "here", 1),
        (["--processes", "1"], {}, "here", 1),
        (["--processes", "1"], {"RUDDER_PROCESSES": "2"}, "here", 1),
        (["--processes", "3"], {}, "elsewhere", 3),
        (["--processes", "3"], {"RUDDER_PROCESSES": "1"}, "elsewhere", 3),
        ([], {"RUDDER_PROCESSES": "2"}, "elsewhere", 2),
    ],
)
def test_one_process_runs_here_and_several_in_their_own(
    command_line: CommandLine,
    settings_used: list[Settings],
    arguments: list[str],
    environment: dict[str, str],
    where: str,
    processes: int,
) -> None:
    command_line.environment(RUDDER_DATABASE_URL=POSTGRES, **environment)
    ended = command_line("run", *arguments)
    assert (ended.code, ended.out, ended.problem) == (2, "", where)
    assert [settings.processes for settings in settings_used] == [processes]


@pytest.mark.parametrize(
    ("arguments", "environment", "word"),
    [
        (["--processes", "2"], {}, "SQLite"),
        (["--processes", "2"], {"RUDDER_DATABASE_URL": POSTGRES, "RUDDER_HTTP_PORT": "65535"}, "RUDDER_HTTP_PORT"),
        (["--processes", "0"], {"RUDDER_DATABASE_URL": POSTGRES}, "RUDDER_PROCESSES"),
        (["--processes", "2"], {"RUDDER_DATABASE_URL": "oracle://somebody:s3cret@h/d"}, "RUDDER_DATABASE_URL"),
        (["--processes", "2"], {"RUDDER_DATABASE_URL": POSTGRES, "RUDDER_CONCURRENCY": "x"}, "RUDDER_CONCURRENCY"),
    ],
)
def test_impossible_processes_are_one_line_before_the_start(
    command_line: CommandLine,
    settings_used: list[Settings],
    arguments: list[str],
    environment: dict[str, str],
    word: str,
) -> None:
    command_line.environment(**environment)
    ended = command_line("run", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert word in ended.problem
    assert "s3cret" not in ended.err
    assert settings_used == []


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The refusals that one of several processes reports to its parent."""
    output: list[str] = []
    monkeypatch.setattr(parent_death, "refuse", output.append)
    monkeypatch.setattr(parent_death, "on_parent_death", lambda _react: None)
    return output


def test_child_reports_its_refusal_to_the_parent_only(
    command_line: CommandLine, settings_used: list[Settings], refusals: list[str]
) -> None:
    """The child prints nothing; the parent prints one line for all of its processes."""
    command_line.environment(RUDDER_DATABASE_URL=POSTGRES, RUDDER_HTTP_PORT="9000")
    ended = command_line("run", "--processes", "3", "--process-number", "2")
    assert (ended.code, ended.out, ended.err) == (2, "", "")
    assert refusals == ["here"]
    assert [settings.http_port for settings in settings_used] == [9002]


def test_orphaned_child_stops_within_a_bound(
    command_line: CommandLine, refusals: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent would kill a hanging child; without a parent, a timer of the operating system ends it."""
    alarms: list[int] = []
    seen: list[Any] = []

    class Orderly:
        async def run(self, stop: asyncio.Event) -> None:
            seen.append(structlog.contextvars.get_contextvars())
            await stop.wait()

    def services(_settings: Settings) -> Mapping[str, Service]:
        return {"worker": Orderly()}

    def on_parent_death(react: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(react)

    monkeypatch.setattr(run_services, "services", services)
    monkeypatch.setattr(parent_death, "on_parent_death", on_parent_death)
    monkeypatch.setattr(signal, "alarm", alarms.append)
    command_line.environment(RUDDER_DATABASE_URL=POSTGRES, RUDDER_DRAIN_TIMEOUT_SECONDS="100")
    ended = command_line("run", "--processes", "2", "--process-number", "1")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert [seconds > 100 + run.GRACE_SECONDS for seconds in alarms] == [True]
    assert seen == [{"process": 1}]
    assert structlog.contextvars.get_contextvars() == {}


def test_child_refusal_is_one_line(tmp_path: Path) -> None:
    """Children start with their parent's options; only the parent prints the refusal, and all children end."""
    ended = rudder_worker("--log-format", "json", "run", folder=tmp_path, environment=SEVERAL)
    assert (ended.code, ended.out) == (2, "")
    assert ended.problem.startswith("database: not available after 0 s: ")
    logged = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    started = [line for line in logged if line["event"] == "process.started"]
    assert sorted(line["process"] for line in started) == [0, 1, 2]
    assert len(logged) == len(ended.err.splitlines())
    for line in started:
        with pytest.raises(ProcessLookupError):
            os.kill(line["pid"], 0)


def test_unknown_setting_is_logged_by_the_parent_only(tmp_path: Path) -> None:
    ended = rudder_worker("run", folder=tmp_path, environment={**SEVERAL, "RUDDER_GROUP": "x"})
    assert ended.err.count("RUDDER_GROUP is not a setting") == 1


def test_process_number_option_is_hidden(command_line: CommandLine) -> None:
    """Only the parent uses the option, to start its processes."""
    assert "--processes" in command_line("run", "--help").out
    assert "--process-number" not in command_line("run", "--help").out


def test_child_that_fails_at_the_stop_fails_its_parent(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop was requested, but the failed child may not have committed all of its work."""

    class Failed:
        failed = True

        async def run(self, stop: asyncio.Event) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()

    def process_supervisors(_settings: Settings, **_: Any) -> Mapping[str, Service]:
        return {"process 0": Failed()}

    monkeypatch.setattr(run, "process_supervisors", process_supervisors)
    command_line.environment(RUDDER_DATABASE_URL=POSTGRES)
    ended = command_line("run", "--processes", "2")
    assert (ended.code, ended.out) == (1, "")
