"""A command without its standard streams, or with one that cannot be written, works or says why in one line."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.unit.cli.command_line import TIMEOUT_SECONDS, command, process_environment, rudder_worker, running_command

CLOSED = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")


def without(redirections: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    """Runs the command through a shell that closes these of its streams."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *command(arguments)],
        capture_output=True,
        cwd=folder,
        env=process_environment({}),
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("closed", CLOSED)
def test_commands_work_without_standard_streams(tmp_path: Path, closed: str) -> None:
    """`migrate` opens a file and reads none: a descriptor that is taken for the database's would damage it."""
    done = without(closed, "migrate", folder=tmp_path)
    assert done.returncode == 0, done
    assert done.stderr == b""
    assert (b"the database is at revision" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))
    assert rudder_worker("migrate", folder=tmp_path).code == 0


def test_closed_stdin_is_empty_input(tmp_path: Path) -> None:
    done = without("<&-", "validate", folder=tmp_path)
    assert b"Traceback" not in done.stderr
    assert b"0 events" in done.stdout


def test_worker_without_stdin_stops_in_order(tmp_path: Path) -> None:
    """Its event loop would else take the descriptor, and abort the process when it closes."""
    settings = {"RUDDER_HTTP_PORT": "0", "RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    assert rudder_worker("migrate", folder=tmp_path).code == 0
    without_stdin = ("sh", "-c", 'exec "$@" <&-', "sh")
    with running_command(["run"], folder=tmp_path, environment=settings, before=without_stdin) as process:
        assert process.stderr is not None
        while b"dependency.unavailable" not in (line := process.stderr.readline()):
            assert line, "it ended before it waited"
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 0, rest
        assert b"Traceback" not in rest


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")  # noqa: PTH110
def test_full_stdout_is_one_line(tmp_path: Path) -> None:
    done = without(">/dev/full", "check-config", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == b"rudder-worker: standard output cannot be written: No space left on device\n"
