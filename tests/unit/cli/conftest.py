"""An empty folder, no settings, and logging left as it was: where every test of a command begins."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.unit.cli.command_line import CommandLine
from worker.service import log_setup


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """`rudder-worker` in this process. Logging is not set up: it is of the whole process."""
    for name in [name for name in os.environ if name.upper().startswith("RUDDER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(log_setup, "configure", lambda **_: None)
    with capture_logs():
        yield CommandLine(monkeypatch)
