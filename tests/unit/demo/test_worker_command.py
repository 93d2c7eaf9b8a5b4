"""A command sees the demo's settings only, writes to its file, and ends when it is stopped."""

import signal
import sys
from pathlib import Path

import pytest

from worker.demo.worker_command import WorkerCommand


@pytest.fixture
def output_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """With a script in the interpreter's place."""
    script = tmp_path / "interpreter"
    script.write_text(
        '#!/bin/sh\necho "$3 a=$RUDDER_A b=$RUDDER_B"\n[ "$3" = fail ] && exit 4\n'
        '[ "$3" = stubborn ] && trap "" TERM\necho running\nwhile :; do read -r x < /dev/zero; done\n'
    )
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setenv("RUDDER_B", "from outside")
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "worker.log"


async def test_failed_command_leaves_exit_code_and_output(output_path: Path) -> None:
    """Settings of the user's own environment are withheld."""
    async with WorkerCommand("fail", settings={"RUDDER_A": "1"}, output_path=output_path) as command:
        assert await command.wait(timeout_seconds=10) == 4
        assert command.process.returncode == 4
    assert command.last_lines() == "fail a=1 b="


async def test_leaving_the_context_stops_the_command(output_path: Path) -> None:
    async with WorkerCommand("run", settings={}, output_path=output_path) as command:
        assert command.process.returncode is None
    assert command.process.returncode == -signal.SIGTERM


async def test_command_can_be_killed(output_path: Path) -> None:
    async with WorkerCommand("run", settings={}, output_path=output_path) as command:
        assert await command.stop(signal.SIGKILL) == -signal.SIGKILL
