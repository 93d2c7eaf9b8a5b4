"""A forked module is a process like one of `python -m`."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.testkit.fork_server import AVAILABLE, ForkedProcess, start

ROOT = Path(__file__).parents[2]
MODULE = "tests.testkit.described_process"

needs_fork_server = pytest.mark.skipif(not AVAILABLE, reason="there is no fork server on this system")


def started(
    folder: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> "ForkedProcess | subprocess.Popen[bytes]":
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(variables or {})}
    (folder / "in").write_text("given", "utf-8")
    with (
        (folder / "in").open("rb") as given,
        (folder / "out").open("wb") as out,
        (folder / "err").open("wb") as err,
    ):
        return start(
            [sys.executable, "-m", MODULE, *arguments],
            environment=environment,
            folder=folder,
            streams=(given.fileno(), out.fileno(), err.fileno()),
        )


def described(folder: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> tuple[int, str]:
    code = started(folder, *arguments, variables=variables).wait(60)
    return code, (folder / "out").read_text("utf-8")


@pytest.mark.parametrize("variables", [{"RUDDER_X": "ü"}, {"PYTHONUNBUFFERED": "1"}, {"TZ": "Asia/Tokyo"}])
def test_forked_module_is_like_a_started_one(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forked = described(tmp_path, "describe", "a b", variables=variables)
    monkeypatch.setattr("tests.testkit.fork_server.AVAILABLE", False)
    assert forked == described(tmp_path, "describe", "a b", variables=variables)
    assert "given" in forked[1]


@pytest.mark.parametrize("arguments", [["outlive"], ["outlive", "--fail"]])
def test_forked_module_ends_like_a_started_one(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forked = described(tmp_path, *arguments)
    monkeypatch.setattr("tests.testkit.fork_server.AVAILABLE", False)
    assert forked == described(tmp_path, *arguments) == (len(arguments) - 1, "thread\nlast\n")


@needs_fork_server
@pytest.mark.parametrize(("action", "code"), [("exit 7", 7), ("raise", 1), ("return", 0), ("interrupt", -2)])
def test_exit_codes(action: str, code: int, tmp_path: Path) -> None:
    assert described(tmp_path, *action.split())[0] == code
    assert ("Traceback" in (tmp_path / "err").read_text("utf-8")) == (action in {"raise", "interrupt"})


@needs_fork_server
def test_signal_ends_it_and_is_its_exit_code(tmp_path: Path) -> None:
    process = started(tmp_path, "wait")
    assert isinstance(process, ForkedProcess)
    assert process.poll() is None
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == process.poll() == -signal.SIGTERM
    process.kill()  # without effect


@needs_fork_server
def test_other_commands_are_started(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        process = start(["true"], environment={}, folder=tmp_path, streams=(out.fileno(),) * 3)
    assert isinstance(process, subprocess.Popen)
    assert process.wait(60) == 0


@needs_fork_server
def test_forked_processes_have_only_their_own_descriptors(tmp_path: Path) -> None:
    process = started(tmp_path, "wait")
    code, printed = described(tmp_path, "descriptors")
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert (code, printed) == (0, "[0, 1, 2]\n")
