"""An empty folder, no settings, and logging left as it was: where every test of a command begins."""

import os
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine
from worker.cli import logs


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """`rudder-worker` in this process. Its logging is not set up: that is of the whole process, and tested elsewhere."""
    for name in [name for name in os.environ if name.upper().startswith("RUDDER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(logs, "configure", lambda **_: None)
    return CommandLine(monkeypatch)
