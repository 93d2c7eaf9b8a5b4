"""The exit of the command `verify`. Its findings are tested in tests/end_to_end."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine
from worker.assembly import databases, kafka_clients
from worker.cli import verify
from worker.rules.errors import Unavailable
from worker.settings import Settings
from worker.verify.scratch import scratch


def scratch_files(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("rudder-verify-*")]


def test_sigterm_leaves_no_scratch_file(
    command_line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orchestrators end a job with SIGTERM."""
    seen: list[str] = []

    async def interrupted(_settings: Settings, _findings_max: int, folder: Path | None) -> None:
        with scratch(folder, committed={}, event_bytes_max=1):
            seen.extend(scratch_files(tmp_path))
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()

    monkeypatch.setattr(verify, "_verified", interrupted)
    ended = command_line("verify", "--scratch", str(tmp_path))
    assert (ended.code, len(seen)) == (130, 1)
    assert scratch_files(tmp_path) == []


def test_missing_scratch_folder_is_refused(command_line: CommandLine, tmp_path: Path) -> None:
    ended = command_line("verify", "--scratch", str(tmp_path / "none"))
    assert ended.code == 2
    assert ended.problem == f"--scratch: {tmp_path / 'none'} is not a folder; create it or name another"


@pytest.mark.parametrize("stopping", [None, RuntimeError("the client could not be closed")])
def test_reader_timeout_is_one_line_and_closes_both_readers(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, stopping: Exception | None
) -> None:
    """An error while closing one does not keep the other open."""
    closed: list[str] = []

    class Tables:
        async def check(self) -> None:
            pass

        async def close(self) -> None:
            closed.append("tables")

    class Topics:
        async def start(self) -> None:
            pass

        async def begins(self, _topics: object) -> None:
            raise Unavailable("Kafka does not answer")

        async def stop(self) -> None:
            closed.append("topics")
            if stopping is not None:
                raise stopping

    monkeypatch.setattr(databases, "table_reader", lambda _settings: Tables())
    monkeypatch.setattr(kafka_clients, "topic_reader", lambda _settings: Topics())
    if stopping is None:
        ended = command_line("verify")
        assert (ended.code, ended.problem) == (2, "Kafka does not answer")
    else:
        with pytest.raises(RuntimeError):
            command_line("verify")
    assert closed == ["topics", "tables"]
