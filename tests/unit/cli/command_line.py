"""The command line: in the test's own process, or as a process where it changes its process."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread

import pytest
from typer.testing import CliRunner

from tests.error_lines import error_lines
from tests.testkit.fork_server import start

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 60.0
"""A process that has not ended by then is a failure."""

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def problem(self) -> str:
        """The one error line, without the command's name; fails without one, with several, and with a traceback."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in error_lines(self.err) if line.startswith("rudder-worker: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("rudder-worker: ")


class CommandLine:
    """Runs `rudder-worker` in this process, with the variables given to `environment`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def environment(self, **variables: str) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Ended:
        from worker.cli.app import app

        result = CliRunner().invoke(app, list(arguments), input=stdin, prog_name="rudder-worker")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception  # what a user would see as a traceback
        return Ended(code=result.exit_code, out=_STYLE.sub("", result.stdout), err=_STYLE.sub("", result.stderr))


def rudder_worker(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None, stdin: bytes = b""
) -> Ended:
    """Run the command as a process in a folder, with these variables only, until it ends."""
    return run_module("worker", *arguments, folder=folder, environment=environment, stdin=stdin)


def run_module(
    module: str, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None, stdin: bytes = b""
) -> Ended:
    """Run `python -m MODULE` likewise."""
    with TemporaryFile() as out, TemporaryFile() as err, _piped(stdin) as given:
        process = start(
            [sys.executable, "-m", module, *arguments],
            environment=process_environment(environment or {}),
            folder=folder,
            streams=(given, out.fileno(), err.fileno()),
        )
        try:
            code = process.wait(TIMEOUT_SECONDS)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return Ended(code=code, out=out.read().decode(), err=err.read().decode())


@contextmanager
def _piped(content: bytes) -> Iterator[int]:
    """The descriptor of a pipe's end from which the content can be read."""
    read_end, write_end = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(write_end, "wb") as pipe:  # the reader may have ended
            pipe.write(content)

    writer = Thread(target=write, name="standard input")
    writer.start()
    try:
        yield read_end
    finally:
        os.close(read_end)
        writer.join()


@contextmanager
def running_command(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process with open streams; leaving the context kills it. `before`: a program that starts it."""
    with subprocess.Popen(
        [*before, *command(arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=process_environment(environment),
        preexec_fn=_handle_interrupts,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "worker", *arguments]


def process_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that a program needs to start, and these."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **variables}


def _handle_interrupts() -> None:
    """A test run in the background ignores SIGINT, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
