"""A `rudder-worker` command as a real child process, its output in a file.

The demo proves what a company would run, so nothing of the worker runs inside the demo's own process.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import worker

STOP_TIMEOUT_SECONDS: Final = 20.0
LOG_LINES_SHOWN: Final = 15


class Child:
    """One running command; leaving its context ends it, kindly first."""

    def __init__(self, *arguments: str, settings: Mapping[str, str], log_path: Path) -> None:
        """`settings` are all the `RUDDER_` variables it sees; those of the demo's own environment are withheld."""
        self._arguments = arguments
        self._log_path = log_path
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUDDER_")}
        packages_path = str(Path(worker.__file__).parent.parent)
        paths = [packages_path, *filter(None, [inherited.get("PYTHONPATH")])]
        self._environment = {**inherited, "PYTHONPATH": os.pathsep.join(paths), **settings}
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        log = self._log_path.open("ab")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "worker",
                *self._arguments,
                env=self._environment,
                cwd=self._log_path.parent,  # where no .env file of the user's is found
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops its children in order
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode if self._process else None

    async def wait(self, *, timeout_seconds: float) -> int:
        """Return the exit code; raises TimeoutError."""
        if self._process is None:
            raise RuntimeError("not started")
        async with asyncio.timeout(timeout_seconds):
            return await self._process.wait()

    async def stop(self) -> int | None:
        """Ask it to end, make it end where it does not, and return its exit code (negative: the signal's number)."""
        if self._process is None:
            return None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                return await self.wait(timeout_seconds=STOP_TIMEOUT_SECONDS)
            except TimeoutError:
                self._process.kill()
        return await self._process.wait()

    def last_words(self) -> str:
        """Return the end of its log."""
        text = self._log_path.read_text("utf-8", "replace") if self._log_path.exists() else ""
        return "\n".join(text.splitlines()[-LOG_LINES_SHOWN:])
