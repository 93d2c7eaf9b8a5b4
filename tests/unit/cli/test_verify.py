"""`verify` as a command: how it ends. What it finds is tested beside a real worker."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine
from worker.cli import verify
from worker.handling.verify.scratch import scratch
from worker.settings import Settings


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def scratch_files(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("rudder-verify-*")]


def test_ended_by_a_signal_it_leaves_no_scratch_file(
    command_line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An orchestrator ends a job by SIGTERM."""
    seen: list[str] = []

    async def interrupted(_settings: Settings, _findings_max: int, folder: Path | None) -> None:
        with scratch(folder, committed={}, event_bytes_max=1):
            seen.extend(scratch_files(tmp_path))
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)

    monkeypatch.setattr(verify, "_verified", interrupted)
    ended = command_line("verify", "--scratch", str(tmp_path))
    assert (ended.code, len(seen)) == (130, 1)
    assert scratch_files(tmp_path) == []


def test_a_scratch_folder_that_is_none_is_refused(command_line: CommandLine, tmp_path: Path) -> None:
    ended = command_line("verify", "--scratch", str(tmp_path / "none"))
    assert ended.code == 2
    assert ended.complaint == f"--scratch: {tmp_path / 'none'} is no folder"
