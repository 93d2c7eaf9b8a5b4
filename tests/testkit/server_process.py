"""A server as a child process: start it, wait until it answers, end it; errors include its output.

Everything here blocks. Servers live as long as the test session, so they cannot depend on a test's event loop.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from worker.demo.broker import dying_with_parent

_PAUSE_SECONDS = 0.02
_OUTPUT_TAIL_CHARACTERS = 4_000


class ServerFailed(Exception):
    """A server ended or did not get ready; the message ends with its last output."""


class ServerProcess:
    """One child process at a time, writing to one log file; `start` may be called again after it ended."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        group: int | None = None,
    ) -> None:
        self._command = dying_with_parent(list(command))
        self._log = log
        self._environment = environment
        self._user = user
        self._group = group
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Return once `ready()` is true. Otherwise end the process and raise ServerFailed."""
        assert not self.running, "the server is already running"
        self._process = _spawner().submit(self._spawn).result()
        try:
            self._wait_until(ready, timeout_seconds=timeout_seconds)
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def end(self, how: signal.Signals, *, grace_seconds: float = 20.0) -> None:
        """Send the signal and wait; after the grace period, SIGKILL. Without effect when nothing runs."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                user=self._user,
                group=self._group,
                extra_groups=None if self._group is None else [],
                start_new_session=True,  # the tests handle Ctrl-C and end their servers
            )

    def _wait_until(self, ready: Callable[[], bool], *, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if not self.running:
                raise ServerFailed(f"the server ended before it was ready: {self.output()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"the server was not ready within {timeout_seconds} s: {self.output()}")
            time.sleep(_PAUSE_SECONDS)

    def output(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return text[-_OUTPUT_TAIL_CHARACTERS:] or "it printed nothing"


@cache
def _spawner() -> ThreadPoolExecutor:
    """The one thread that starts servers. To the kernel, a process's parent is the thread that started it: a server
    that a test's own thread started would end with the threads of that test's event loop.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="server-spawner")
