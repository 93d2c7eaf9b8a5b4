"""A `rudder-worker` command as a child process, with settings of its own and its output in a file."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import worker
from worker.demo.broker import dying_with_parent

STOP_TIMEOUT_SECONDS: Final = 20.0
LOG_LINES_SHOWN: Final = 15


class WorkerCommand:
    """One running command; leaving its context stops it."""

    def __init__(self, *arguments: str, settings: Mapping[str, str], output_path: Path) -> None:
        """`settings`: all `RUDDER_` variables that it sees; those of the demo's own environment are withheld."""
        self._command = dying_with_parent([sys.executable, "-m", "worker", *arguments])
        self._output_path = output_path
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUDDER_")}
        paths = [str(Path(worker.__file__).parent.parent), *filter(None, [inherited.get("PYTHONPATH")])]
        self._environment = {**inherited, "PYTHONPATH": os.pathsep.join(paths), **settings}
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self._output_path.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                cwd=self._output_path.parent,  # has no .env file of the user's
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the demo, which stops its children in order
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def process(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("not started")
        return self._process

    async def wait(self, *, timeout_seconds: float) -> int:
        """The exit code; raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            return await self.process.wait()

    async def stop(self, signal_number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code (negative: a signal's number); a process that does not stop in time is killed."""
        if self.process.returncode is None:
            self.process.send_signal(signal_number)
            try:
                return await self.wait(timeout_seconds=STOP_TIMEOUT_SECONDS)
            except TimeoutError:
                self.process.kill()
        return await self.process.wait()

    def last_lines(self) -> str:
        """The end of its output."""
        return "\n".join(self._output_path.read_text("utf-8", "replace").splitlines()[-LOG_LINES_SHOWN:])
