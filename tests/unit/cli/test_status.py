"""The command `status` on an empty SQLite file. What it shows is tested in tests/conformance and tests/end_to_end."""

import json
import os
import pty
import select
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.cli.command_line import TIMEOUT_SECONDS, CommandLine, command, process_environment, rudder_worker
from worker.cli.redrawing import drawn

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.fixture
def migrated(command_line: CommandLine) -> CommandLine:
    assert command_line("migrate").code == 0
    return command_line


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--watch",), "--watch needs a terminal"),
        (("--watch", "--json"), "--watch and --json cannot be used together"),
        (("--environment", "production", "releases"), "put options behind `status releases`, not before it"),
        (("releases", "--status", "BROKEN"), "--status: BROKEN is no status; statuses are DRAFT, "),
        (("releases", "--since", "yesterday"), "--since: yesterday is no time"),
        (("releases", "--after", "page-2"), "--after: page-2 is no cursor"),
        (("release", "nothing"), "nothing is neither the id of a release nor a name"),
        (("release", "20260301-1"), "there is no release 20260301-1"),
        (("delivery", "--by", "team"), "--by: team is none of component, environment"),
        (("delivery", "--from", "1h", "--to", "2h"), "--to is not after --from"),
    ],
)
def test_wrong_usage_is_one_line(migrated: CommandLine, arguments: tuple[str, ...], problem: str) -> None:
    ended = migrated("status", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.problem.startswith(problem)


@pytest.mark.parametrize(
    "command",
    ["status", "dead-letters list", "dead-letters redrive --all", "breaker status", "verify", "replay --all"],
)
def test_missing_database_is_one_line_and_not_made(command_line: CommandLine, tmp_path: Path, command: str) -> None:
    """A command that only reads makes no empty file, which a migration would then take for the database."""
    ended = command_line(*command.split())
    assert ended.code == 2
    assert ended.problem.startswith("SQLite: there is no file rudder.sqlite3: run `rudder-worker migrate`")
    assert list(tmp_path.iterdir()) == []


def test_database_without_tables_is_one_line(command_line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "rudder.sqlite3").touch()
    ended = command_line("status")
    assert ended.code == 2
    assert "run `rudder-worker migrate`" in ended.problem


def test_empty_database_has_no_data(migrated: CommandLine) -> None:
    """And no zeros that look like measurements."""
    ended = migrated("status")
    assert (ended.code, ended.out, ended.problem) == (0, "", "no deployment matches")
    assert json.loads(migrated("status", "--json").out) == {"environments": [], "more": False}
    page = json.loads(migrated("status", "releases", "--json").out)
    assert page == {"count": 0, "count_capped": False, "releases": [], "next": None}
    total = json.loads(migrated("status", "delivery", "--json").out)["total"]
    assert total["deployment_frequency"]["per_day"] is None
    assert total["change_fail_rate"]["rate"] is None
    assert total["failed_deployment_recovery_time"]["seconds"] == {"n": 0, "p50": None, "p90": None}
    assert total["change_lead_time"]["measurable"] is False
    shown = migrated("status", "delivery")
    assert shown.code == 0
    assert "no data" in shown.out
    assert "Change lead time: not measurable" in shown.out


def test_screen_has_the_size_of_the_terminal() -> None:
    screen = drawn([f"line {number}" for number in range(50)], now=NOW, size=(20, 6))
    lines = screen.removeprefix("\x1b[H\x1b[2J").splitlines()
    assert lines == ["2026-03-01 09:30:00…", "line 0", "line 1", "line 2", "… and 47 more lines"]
    assert len(drawn(["one"], now=NOW, size=(80, 24)).splitlines()) == 2


def test_watch_redraws_on_a_terminal_until_a_signal(tmp_path: Path) -> None:
    """Twice, then SIGINT ends it as it ends every command."""
    assert rudder_worker("migrate", folder=tmp_path).code == 0
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        command(("status", "--watch")),
        stdin=inside,
        stdout=inside,
        stderr=inside,
        cwd=tmp_path,
        env=process_environment({}),
    ) as process:
        os.close(inside)
        try:
            output = b""
            while output.count(b"Ctrl-C ends it") < 2:
                ready, _, _ = select.select([terminal], [], [], TIMEOUT_SECONDS)
                assert ready, output
                output += os.read(terminal, 4096)
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_SECONDS) == 130
        finally:
            process.kill()
            os.close(terminal)
    assert output.count(b"\x1b[H\x1b[2J") >= 2
    assert b"no deployment matches" in output
