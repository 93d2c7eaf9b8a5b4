"""A `rudder-worker` command as a process of its own, as in production."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.conformance.deadlines import WAIT_SECONDS, until
from tests.testkit.fork_server import start

ROOT = Path(__file__).parents[2]
MODULE = (sys.executable, "-m", "worker")


class WorkerProcess:
    """Started at once; leaving its context kills it if it still runs. Its streams go to files in `folder`."""

    def __init__(
        self,
        *arguments: str,
        settings: Mapping[str, str],
        folder: Path,
        name: str = "worker",
        command: Sequence[str] = MODULE,
        python_path: Path | None = ROOT,
    ) -> None:
        """`settings` are all the `RUDDER_` variables it sees."""
        self._stdout, self._stderr = folder / f"{name}.out", folder / f"{name}.err"
        self.http_port = settings.get("RUDDER_HTTP_PORT")
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("RUDDER_") and key != "PYTHONPATH"
        }
        if python_path is not None:
            environment["PYTHONPATH"] = str(python_path)
        with self._stdout.open("ab") as out, self._stderr.open("ab") as err, Path(os.devnull).open("rb") as nothing:
            self._process = start(
                [*command, *arguments],
                environment={**environment, **settings},
                folder=folder,  # where no .env file is found
                streams=(nothing.fileno(), out.fileno(), err.fileno()),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    @property
    def pid(self) -> int:
        """Of the process, and of the process group and session that it leads."""
        return self._process.pid

    @property
    def stderr(self) -> str:
        return self._stderr.read_text("utf-8", "replace")

    @property
    def stdout(self) -> str:
        return self._stdout.read_text("utf-8", "replace")

    def kill(self) -> None:
        """SIGKILL, and wait."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self, *, timeout_seconds: float = WAIT_SECONDS) -> int:
        """Wait for the end; the exit code."""
        await until(
            lambda: self.exit_code is not None,
            what=lambda: f"it ends: {self.output()}",
            timeout_seconds=timeout_seconds,
        )
        assert self.exit_code is not None
        return self.exit_code

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ready(self) -> None:
        """Wait until /readyz answers 200."""

        async def is_ready() -> bool:
            assert self.exit_code is None, self.output()
            return await self.status("/readyz") == httpx.codes.OK

        await until(is_ready, what=lambda: f"it is ready: {self.output()}")

    async def status(self, path: str) -> int:
        """The endpoint's status; 0 while there is no answer."""
        try:
            return (await self.get(path)).status_code
        except httpx.HTTPError:
            return 0

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=10) as client:
            return await client.get(f"http://127.0.0.1:{self.http_port}{path}")

    async def until(self, condition: Callable[[], bool], *, what: str) -> None:
        """Wait for the condition; fail if the process ends."""

        def outcome() -> bool:
            return condition() or self.exit_code is not None

        await until(outcome, what=lambda: f"{what}: {self.output()}")
        assert self.exit_code is None, self.output()

    def output(self) -> str:
        """The exit code and the last output."""
        return f"exit code {self.exit_code}\n{self.stdout[-1500:]}\n{self.stderr[-4000:]}"
