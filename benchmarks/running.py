"""A contender while it runs: a child process, perhaps with processes of its own; its output and its end."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from benchmarks.contenders.contender import Contender
from benchmarks.usage import Usage, usage_of
from worker.demo.broker import dying_with_parent

_STOP_TIMEOUT_SECONDS: Final = 60.0
_OUTPUT_TAIL_CHARACTERS: Final = 3_000
_ENDED: Final = (0, 128 + signal.SIGTERM)
"""A JVM that was asked to end, and did so in order, says so."""
# Variables that would change a contender's settings or output.
_WITHHELD: Final = ("RUDDER_", "BENCH_", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "PYTHON")


class ContenderFailed(Exception):
    """A contender ended by itself, made no progress, or ignored SIGTERM. The message ends with its last output."""


class Running:
    """Started at once; leaving the context kills it."""

    def __init__(self, contender: Contender, *, variables: Mapping[str, str], folder: Path) -> None:
        self._name = contender.name
        self._log = folder / "contender.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_WITHHELD)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a command of the line-up
                dying_with_parent(list(contender.command)),
                env={**inherited, **_python(contender, folder), **contender.variables(), **variables},
                cwd=folder,  # where no .env file is found
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def usage(self) -> Usage:
        """Of the process and its children."""
        return usage_of(self._process.pid)

    def require_running(self) -> None:
        """ContenderFailed if it has ended."""
        if self._process.poll() is not None:
            raise self.failed(f"ended by itself with {self._process.returncode}")

    def stop(self) -> None:
        """SIGTERM, and wait; ContenderFailed for an exit code that is not that of an orderly end."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise self.failed(f"did not end within {_STOP_TIMEOUT_SECONDS:.0f} s of SIGTERM") from error
        if code not in _ENDED:
            raise self.failed(f"answered SIGTERM with {code}")

    def failed(self, what: str) -> ContenderFailed:
        text = self._log.read_text("utf-8", "replace")[-_OUTPUT_TAIL_CHARACTERS:]
        return ContenderFailed(f"{self._name}: {what}\n{text}")


def _python(contender: Contender, folder: Path) -> dict[str, str]:
    """Bytecode is compiled once, as where a program is installed: compiling takes memory and time at each start."""
    return {"PYTHONPATH": str(contender.checkout), "PYTHONPYCACHEPREFIX": str(folder.parent / "bytecode")}
