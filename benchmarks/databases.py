"""The database server of the benchmarks: PostgreSQL, started for them, or a running server that speaks TDS."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy.exc import DBAPIError

from benchmarks.contenders.contender import ROOT
from benchmarks.running import ContenderFailed
from benchmarks.servers import BenchmarkPostgres, postgres_description
from tests.testkit.mssql import MssqlServer

EMPTY: Final = "empty"
"""The name of the database with the tables and nothing in them."""

_MIGRATE_TIMEOUT_SECONDS: Final = 300.0


class BenchmarkDatabase(Protocol):
    """`marks`: an argument of each of the server's command lines that no other process has; none where it is not ours
    to measure. `keeps_history`: whether a database can be copied, so that runs begin on one with a history.
    """

    marks: tuple[str, ...]
    keeps_history: bool

    @property
    def description(self) -> str:
        """What it is, and how it is set."""
        ...

    def prepare(self, folder: Path) -> None:
        """Make EMPTY. `folder` is anybody's to run in."""
        ...

    def copy(self, name: str, *, of: str) -> str:
        """A database of this name, as the other is; its URL, complete. The disks are at rest."""
        ...

    def jdbc_url(self, name: str) -> str:
        """Where Java finds it; empty where no Java contender runs."""
        ...

    def keep(self, name: str) -> None:
        """Prepare a run's database to be copied."""
        ...

    def drop(self, name: str) -> None: ...

    def close(self) -> None: ...


class Postgres:
    """`BenchmarkDatabase`, of a server that is started for it and ended with it."""

    keeps_history = True

    def __init__(self) -> None:
        self.server = BenchmarkPostgres()
        self.marks: tuple[str, ...] = (self.server.mark,)
        self.server.start()

    @property
    def description(self) -> str:
        return postgres_description(self.server)

    def prepare(self, folder: Path) -> None:
        self.create(EMPTY, folder, checkout=ROOT)

    def create(self, name: str, folder: Path, *, checkout: Path) -> None:
        """An empty database with the tables of this checkout's migrations."""
        _migrate(self.server.create_database(name), folder, checkout)

    def copy(self, name: str, *, of: str) -> str:
        url = self.server.create_database(name, template=of)
        self.server.execute("checkpoint")
        return url

    def jdbc_url(self, name: str) -> str:
        return f"jdbc:postgresql://127.0.0.1:{self.server.port}/{name}?user=postgres"

    def keep(self, name: str) -> None:
        self.server.connections_gone(name)
        self.server.execute("vacuum (analyze)", database=name)

    def drop(self, name: str) -> None:
        self.server.drop_database(name)

    def close(self) -> None:
        self.server.close()


class Tds:
    """`BenchmarkDatabase`, of the server that RUDDER_TEST_MSSQL_URL names. Each run migrates a database."""

    marks: tuple[str, ...] = ()
    keeps_history = False

    def __init__(self) -> None:
        self._server = MssqlServer()
        self._folder = Path()
        self._made: dict[str, str] = {}

    @property
    def description(self) -> str:
        return f"{self._server.version()}, as it is; each run on empty tables"

    def prepare(self, folder: Path) -> None:
        self._folder = folder

    def copy(self, name: str, *, of: str) -> str:
        if of != EMPTY:
            raise ValueError(f"{of} cannot be copied")
        made = self._made[name] = self._server.create()
        url = self._server.url(made)
        _migrate(url, self._folder, ROOT)
        return url

    def jdbc_url(self, name: str) -> str:
        del name
        return ""

    def keep(self, name: str) -> None:
        del name

    def drop(self, name: str) -> None:
        self._server.drop(self._made.pop(name))

    def close(self) -> None:
        for name in list(self._made):
            with suppress(DBAPIError):  # it is left to whoever runs the server, who sees its name
                self.drop(name)


def _migrate(database_url: str, folder: Path, checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "migrate"],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(checkout), "RUDDER_DATABASE_URL": database_url},
        timeout=_MIGRATE_TIMEOUT_SECONDS,
    )
    if done.returncode != 0:
        raise ContenderFailed(f"rudder-worker migrate ended with {done.returncode}: {done.stderr}")
