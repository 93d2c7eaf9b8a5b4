"""Signals during the whole life of the process, also as PID 1, for which the kernel drops unhandled signals."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.command_line import TIMEOUT_SECONDS, process_environment, running_command

CODES = {signal.SIGTERM: 0, signal.SIGINT: 130}
"""The exit code of `run`; every other command exits with 130."""

BLOCKED_IMPORT = """
import importlib, os, sys
os.write(1, b'importing\\n')
os.read(0, 1)
sys.path.remove(os.path.dirname(__file__))
del sys.modules[__name__]
importlib.import_module(__name__)
"""
"""For a module that the command imports: reports it, waits for a byte on standard input, and imports the real one."""


def blocking_module(folder: Path, name: str) -> dict[str, str]:
    """Variables with which a module of that name is the blocking one."""
    (folder / "first").mkdir()
    (folder / "first" / f"{name}.py").write_text(BLOCKED_IMPORT)
    return {"PYTHONPATH": os.pathsep.join((str(folder / "first"), process_environment({})["PYTHONPATH"]))}


def output(process: subprocess.Popen[bytes], given: bytes = b"") -> bytes:
    """Both output streams of the process until its end."""
    return b"".join(process.communicate(given, timeout=TIMEOUT_SECONDS))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_during_imports_ends_run_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """`worker.assembly.run_services` is imported when the loop runs; this is the module that it imports first."""
    database = {"RUDDER_HTTP_PORT": "0", "RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    with running_command(
        ["run"], folder=tmp_path, environment=blocking_module(tmp_path, "aiokafka") | database
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(number)
        text = output(process, b"x")
        assert b"Traceback" not in text
        assert process.returncode == CODES[number], text


@pytest.mark.parametrize("name", ["run", "check-config", "validate"])
def test_second_signal_during_imports_ends_at_once(tmp_path: Path, name: str) -> None:
    """An import that hangs, on a file system that is gone for instance, is not waited for."""
    with running_command([name], folder=tmp_path, environment=blocking_module(tmp_path, "typer")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        for number in (signal.SIGTERM, signal.SIGINT):  # two of one number may arrive as one
            process.send_signal(number)
        process.wait(TIMEOUT_SECONDS)
        assert process.returncode == 130
        assert b"Traceback" not in output(process)


@pytest.fixture(scope="module")
def as_pid_1() -> tuple[str, ...]:
    """The command line that starts a command as PID 1 of its own namespace."""
    before = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*before, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("this system lets nobody make a PID namespace")
    return before


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@pytest.mark.parametrize("name", ["run", "migrate"])
def test_pid_1_blocked_by_a_server_ends_on_sigterm(tmp_path: Path, as_pid_1: tuple[str, ...], name: str) -> None:
    """A server that accepts the connection and never responds, as while another session holds a lock."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+asyncpg://u:p@127.0.0.1:{silent.getsockname()[1]}/d"
        settings = {"RUDDER_DATABASE_URL": url, "RUDDER_HTTP_PORT": "0"}
        with running_command([name], folder=tmp_path, environment=settings, before=as_pid_1) as process:
            connection, _ = silent.accept()
            with connection:
                os.kill(child_of(process.pid), signal.SIGTERM)
                text = output(process)
        assert b"Traceback" not in text
        assert process.returncode == {"run": 0, "migrate": 130}[name], text


def test_pid_1_during_imports_ends_at_the_second_signal(tmp_path: Path, as_pid_1: tuple[str, ...]) -> None:
    with running_command(
        ["migrate"], folder=tmp_path, environment=blocking_module(tmp_path, "typer"), before=as_pid_1
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        pid = child_of(process.pid)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        process.wait(TIMEOUT_SECONDS)
        assert process.returncode == 130


def test_ignored_hangup_stays_ignored(tmp_path: Path) -> None:
    """`nohup` starts a command with SIGHUP ignored."""
    program = (
        "import signal, os, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    before = (sys.executable, "-c", program)
    with running_command(["validate"], folder=tmp_path, environment={}, before=before) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"{}\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"-:1: ")
        process.send_signal(signal.SIGHUP)
        assert b"events, " in output(process)
        assert process.returncode == 1
