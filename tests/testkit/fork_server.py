"""Starts Python modules as processes by forking one that has imported the worker: the import costs as much CPU time
as most of the commands that the tests start.

A started process is like one of `python -m MODULE`: its own session, environment, folder, streams and exit code. Only
what it imports is there already, and importing the worker does nothing (tests/unit/test_importing.py). On systems
other than Linux there is no fork server; callers start the module themselves.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

from worker.demo.broker import dying_with_parent

AVAILABLE: Final = sys.platform == "linux" and hasattr(os, "pidfd_open")

_ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1
_MESSAGE_BYTES_MAX = 256 * 1024
_STARTED, _ENDED = "started", "ended"
"""Answers to a request: with the process's id once it leads its session, then with its exit code."""
_READ_AT_START: Final = ("PYTHON", "LANG", "LC_", "TZ", "MALLOC_", "LD_", "SSL_")
"""Beginnings of the names of variables that take effect when Python starts. There is a fork server for each set."""

_COMMANDS: Final = "worker.cli"
_IMPORTED: Final = (
    *("worker.assembly.run_services", "worker.assembly.operator_commands", "worker.assembly.doctor_checks"),
    *("worker.db.migration", "sqlalchemy.dialects.postgresql.asyncpg", "sqlalchemy.dialects.sqlite.aiosqlite"),
    *("encodings.idna", "uvloop"),
)
"""What the commands import, beside what their own modules do."""


class ForkServerFailed(Exception):
    """The fork server ended, or did not start a process."""


class ForkedProcess:
    """A started process, with the methods of `subprocess.Popen` that the tests use."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid = pid
        self._status = status
        self._exit_code: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs; negative: the signal that ended it."""
        self._receive(timeout_seconds=0)
        return self._exit_code

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. TimeoutError after `timeout` seconds."""
        self._receive(timeout_seconds=timeout)
        assert self._exit_code is not None
        return self._exit_code

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _receive(self, *, timeout_seconds: float | None) -> None:
        if self._exit_code is not None:
            return
        self._status.settimeout(timeout_seconds)
        with suppress(BlockingIOError):
            what, _, code = self._status.recv(_MESSAGE_BYTES_MAX).decode().partition(" ")
            self._status.close()
            if what != _ENDED:
                raise ForkServerFailed(f"it ended before process {self.pid}")
            self._exit_code = int(code)


def start(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, streams: tuple[int, int, int]
) -> "ForkedProcess | subprocess.Popen[bytes]":
    """The command as a process, which leads a session of its own and is killed when the tests die. `streams`: the
    descriptors of its standard input, output and error.
    """
    match command:
        case (sys.executable, "-m", module, *arguments) if AVAILABLE and _imports_this_repository(environment):
            return _forked(module, arguments, environment, folder, streams)
        case _:
            standard_input, output, error = streams
            return subprocess.Popen(
                dying_with_parent(list(command)),
                env=environment,
                cwd=folder,
                stdin=standard_input,
                stdout=output,
                stderr=error,
                start_new_session=True,
            )


def _imports_this_repository(environment: Mapping[str, str]) -> bool:
    return environment.get("PYTHONPATH") == str(_ROOT)


def fork(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, descriptors: Sequence[int]
) -> None:
    """Have the module started. `descriptors`: its standard streams, and a socket that gets the answers of the fork
    server: `started PID`, and at the end `ended CODE`, where a negative code is the signal that ended it.
    """
    read_at_start = {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}
    request = _Request(module, list(arguments), dict(environment), str(folder))
    server = _fork_server(tuple(sorted(read_at_start.items())))
    socket.send_fds(server, [json.dumps(asdict(request)).encode()], list(descriptors))


def _forked(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, streams: Sequence[int]
) -> ForkedProcess:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        fork(module, arguments, environment, folder, [*streams, theirs.fileno()])
    what, _, number = ours.recv(_MESSAGE_BYTES_MAX).decode().partition(" ")
    if what != _STARTED:
        ours.close()
        raise ForkServerFailed(f"{module} was not started")
    return ForkedProcess(int(number), ours)


@cache
def _fork_server(environment: tuple[tuple[str, str], ...]) -> socket.socket:
    """The connection to a fork server with these variables, which ends when the connection is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.testkit.fork_server", str(theirs.fileno())],
            env={**dict(environment), "PATH": os.environ.get("PATH", os.defpath)},
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait()

    return ours


@dataclass(frozen=True, slots=True)
class _Request:
    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str


def _serve(connection: socket.socket) -> _Request | None:
    """Fork for each request until the connection is closed. Returns None then, and in each fork its request."""
    running: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not connection:
                    assert isinstance(key.fileobj, int)
                    selector.unregister(key.fileobj)
                    _report(key.fileobj, *running.pop(key.fileobj))
                    continue
                content, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES_MAX, 4)
                if not content:
                    return None
                *streams, status_descriptor = descriptors
                status = socket.socket(fileno=status_descriptor)
                pid = os.fork()
                if pid == 0:
                    for pidfd, (_, other) in running.items():
                        os.close(pidfd)
                        other.close()
                    connection.close()
                    request = _Request(**json.loads(content))
                    _become(request, streams)
                    with status:
                        status.send(f"{_STARTED} {os.getpid()}".encode())
                    return request
                for descriptor in streams:
                    os.close(descriptor)
                pidfd = os.pidfd_open(pid)
                running[pidfd] = (pid, status)
                selector.register(pidfd, selectors.EVENT_READ)


def _report(pidfd: int, pid: int, status: socket.socket) -> None:
    _, ended = os.waitpid(pid, 0)
    os.close(pidfd)
    with status, suppress(BrokenPipeError):  # the test did not wait for it
        status.send(f"{_ENDED} {os.waitstatus_to_exitcode(ended)}".encode())


def _become(request: _Request, streams: Sequence[int]) -> None:
    """What starting a process would have done."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target)
        os.close(descriptor)
    sys.path[0] = request.folder
    sys.argv[1:] = request.arguments
    sys.orig_argv[1:] = ["-m", request.module, *request.arguments]


def _run(request: _Request) -> None:
    """Python ends by deallocating all modules, and so copies all memory that was shared with the server: more work than
    most commands are. A program that calls `sys.exit` ends without that.
    """
    try:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        threading._shutdown()  # type: ignore[attr-defined]  # waits for the other threads, as Python does
        atexit._run_exitfuncs()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            raise end from None  # Python reports what cannot be written, by an exit code of its own
        os._exit((end.code or 0) & 0xFF)


def _import_all() -> None:
    commands = importlib.import_module(_COMMANDS)
    for module in (*(f"{_COMMANDS}.{found.name}" for found in pkgutil.iter_modules(commands.__path__)), *_IMPORTED):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _import_all()
    if (given := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        _run(given)
