"""The command as a whole: its help, its version, and how it refuses what it does not know."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.command_line import (
    TIMEOUT_SECONDS,
    CommandLine,
    command,
    process_environment,
    rudder_worker,
    running_command,
)
from worker.cli.app import COMMANDS
from worker.version import __version__


def test_help_names_every_command_on_stdout(command_line: CommandLine) -> None:
    ended = command_line("--help")
    assert (ended.code, ended.err) == (0, "")
    for name in COMMANDS:
        assert name in ended.out
    assert "--log-format" in ended.out
    assert "--version" in ended.out


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help_even_with_wrong_settings(command_line: CommandLine, name: str, option: str) -> None:
    """Also where the settings are wrong: that is when help is needed."""
    command_line.environment(RUDDER_HTTP_PORT="nonsense")
    ended = command_line(name, option)
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: rudder-worker {name}" in ended.out


def test_version_is_one_line(command_line: CommandLine) -> None:
    ended = command_line("--version")
    assert (ended.code, ended.out, ended.err) == (0, f"rudder-worker {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nope"], "nope"),
        (["--nope"], "--nope"),
        (["--log-format", "xml", "validate"], "--log-format"),
        (["validate", "--nope"], "--nope"),
        (["publish", "--mode", "batch"], "--mode"),
        (["publish", "--data"], "--data"),
        (["check-config", "extra"], "extra"),
        (["demo", "--seed", "seven"], "--seed"),
        (["migrate", "head", "extra"], "extra"),
        (["run", "extra"], "extra"),
    ],
)
def test_wrong_usage_is_refused_by_name_on_stderr(command_line: CommandLine, arguments: list[str], named: str) -> None:
    ended = command_line(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err
    assert "Traceback" not in ended.err


def test_missing_command_shows_help_and_fails(command_line: CommandLine) -> None:
    ended = command_line()
    assert ended.code == 2
    assert "check-config" in ended.out + ended.err


def test_module_runs_as_the_command(tmp_path: Path) -> None:
    """`python -m worker`, as a process of its own."""
    ended = rudder_worker("--version", folder=tmp_path)
    assert (ended.code, ended.out, ended.err) == (0, f"rudder-worker {__version__}\n", "")


def test_interrupted_command_exits_with_130(tmp_path: Path) -> None:
    """`validate` has said what is wrong with the first line, and waits for the second, when Ctrl-C comes."""
    with running_command(["validate"], folder=tmp_path, environment={}) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"{}\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"-:1: not_a_cloudevent: ")
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_SECONDS) == 130
        assert b"Traceback" not in process.stderr.read()


def test_closed_pipe_causes_no_traceback(tmp_path: Path) -> None:
    """`rudder-worker validate … | head -1`: the pipe is closed before the command has said all."""
    (tmp_path / "many.jsonl").write_text("{}\n" * 20)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command(["validate", "many.jsonl"]),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=process_environment({}),
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    finally:
        os.close(writing)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--log-format", "json", "check-config"],
        ["check-config", "--log-format", "json"],
        ["run", "--log-format=json"],
        ["run"],
        ["--log-format", "json", "run", "--nope"],
        ["run", "--nope", "--log-format", "json"],
    ],
    ids=" ".join,
)
def test_fatal_error_is_a_json_line(tmp_path: Path, arguments: list[str]) -> None:
    """In either position of the option, and for `run` where standard error is no terminal."""
    ended = rudder_worker(*arguments, folder=tmp_path, environment={"RUDDER_HTTP_PORT": "nonsense"})
    assert (ended.code, ended.out) == (2, "")
    [line] = [json.loads(line) for line in ended.err.splitlines()]
    assert (line["event"], line["level"]) == ("command.failed", "critical")
    assert "RUDDER_HTTP_PORT" in line["problem"] or "--nope" in line["problem"]


def test_fatal_error_follows_the_console_format(tmp_path: Path) -> None:
    settings = {"RUDDER_HTTP_PORT": "nonsense"}
    ended = rudder_worker("run", "--log-format", "console", folder=tmp_path, environment=settings)
    assert ended.err.startswith("rudder-worker: RUDDER_HTTP_PORT: ")


def test_demo_without_its_folder_or_extra_is_one_line(
    command_line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    ended = command_line("demo", "--output", "file/below")
    assert (ended.code, ended.problem) == (2, "--output: file/below cannot be created: Not a directory")
    monkeypatch.setitem(sys.modules, "noida_db", None)  # as if it were not installed
    ended = command_line("demo")
    assert ended.code == 2
    assert "pip install 'rudder-worker[demo]'" in ended.problem


@pytest.mark.parametrize("arguments", [("dead-letters", "list"), ("status",), ("breaker", "status")], ids=" ".join)
def test_reading_command_loads_no_kafka_client(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """An operator waits for the imports of each command."""
    environment = process_environment({"RUDDER_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/rudder.sqlite3"})
    assert rudder_worker("migrate", folder=tmp_path, environment=environment).code == 0
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "worker", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    loaded = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if line.startswith("import time:")}
    assert "sqlalchemy" in loaded
    assert loaded.isdisjoint({"aiokafka", "alembic", "uvicorn", "starlette"})
