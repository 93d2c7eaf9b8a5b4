"""The program that stands for the installed command behaves like it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testkit.fork_server import AVAILABLE
from tests.testkit.forked_command import NAME, forked_command

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="there is no fork server on this system")

INSTALLED = Path(sys.executable).parent


@pytest.fixture
def forked() -> Iterator[Path]:
    with forked_command() as folder:
        yield folder


def shell(script: str, folder: Path, command: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": f"{command}{os.pathsep}{os.environ['PATH']}", **variables}
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, input="{}\n", capture_output=True, text=True, timeout=60
    )  # fmt: skip


@pytest.mark.parametrize(
    "script",
    [
        f"{NAME} --version",
        f"{NAME} publish --help | head -2",
        f"{NAME} unknown || echo $?",
        f"{NAME} validate - 2>&1 || echo $?",
        f"{NAME} check-config",
    ],
)
def test_program_is_like_the_installed_one(script: str, forked: Path, tmp_path: Path) -> None:
    found = [shell(script, tmp_path, command, RUDDER_LOG_LEVEL="wrong") for command in (forked, INSTALLED)]
    printed = [(one.returncode, one.stdout, one.stderr) for one in found]
    assert printed[0] == printed[1]
    assert printed[0][1] + printed[0][2]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_are_forwarded(number: signal.Signals, code: int, forked: Path, tmp_path: Path) -> None:
    """`run` waits for a broker until it is stopped."""
    environment = {
        "PATH": os.environ["PATH"],
        "RUDDER_HTTP_PORT": "0",
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    }
    assert shell(f"{NAME} migrate", tmp_path, forked).returncode == 0
    codes = []
    for command in (forked, INSTALLED):
        with subprocess.Popen(
            [command / NAME, "run"], env=environment, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stderr is not None
            assert process.stderr.readline()
            process.send_signal(number)
            process.stderr.read()  # ends when no process of the command has it
            codes.append(process.wait(60))
    assert codes == [code, code]
