"""Importing does nothing: who imports a module has not asked for anything yet."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.command_line import TIMEOUT_SECONDS, process_environment

IMPORT_EVERYTHING = """
import os, sys, threading, logging, signal
folder = os.getcwd()
deeds = []

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        inside = isinstance(path, str) and os.path.abspath(path).startswith(folder + os.sep)
        if (writes and path != os.devnull) or inside:
            deeds.append((event, path))
    elif event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.fork", "os.mkdir",
                   "os.remove", "os.putenv", "signal.pthread_kill", "sqlite3.connect"):
        deeds.append((event, arguments))

handlers, signals = list(logging.getLogger().handlers), [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
environment = dict(os.environ)
sys.addaudithook(watch)
import importlib, pkgutil
import worker, schemas
for package in (worker, schemas):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
assert not deeds, deeds
assert logging.getLogger().handlers == handlers
assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == signals
assert dict(os.environ) == environment
assert threading.active_count() == 1, threading.enumerate()
import structlog
assert not structlog.is_configured()
"""

START = """
import sys
from worker.__main__ import _import_structlog_without_rich
_import_structlog_without_rich()
import worker.cli.run, worker.assembly.run_services
assert "rich" not in sys.modules
import rich
"""

START_ON_POSTGRESQL = """
import sys
import worker.cli.run
from worker.assembly.run_services import services
from worker.settings import load
services(load(database_url="postgresql+asyncpg://rudder@db.example/rudder"))
print(*sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[1:])))
"""
UNUSED_ON_POSTGRESQL = (
    "sqlalchemy",
    "alembic",
    "aiosqlite",
    "sqlite3",
    "pyodbc",
    "aioodbc",
    "opentelemetry",
)


def test_worker_process_does_not_load_rich(tmp_path: Path) -> None:
    """It takes 5 MB; the commands that print with it can import it."""
    environment = process_environment({})
    subprocess.run([sys.executable, "-c", START], check=True, cwd=tmp_path, env=environment, timeout=TIMEOUT_SECONDS)


def test_worker_process_on_postgresql_loads_no_other_database(tmp_path: Path) -> None:
    """SQLAlchemy takes more than 20 MB, and a message on PostgreSQL does not need it."""
    started = subprocess.run(
        [sys.executable, "-c", START_ON_POSTGRESQL, *UNUSED_ON_POSTGRESQL],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=process_environment({}),
        timeout=TIMEOUT_SECONDS,
    )
    assert started.stdout.split() == []


@pytest.mark.parametrize("variables", [{}, {"RUDDER_HTTP_PORT": "nonsense", "RUDDER_DATABASE_URL_FILE": "missing"}])
def test_import_of_any_module_has_no_side_effects(tmp_path: Path, variables: dict[str, str]) -> None:
    """No file, no connection, no thread, no logging, no word, whatever the environment holds."""
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=process_environment({"PYTHONDONTWRITEBYTECODE": "1", **variables}),
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
