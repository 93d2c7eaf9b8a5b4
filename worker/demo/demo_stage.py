"""Where the demo plays: a fresh directory, a database file, settings, and the rows the company's platform has.

Everything is made anew, so that a demo never meets what an earlier one left.
"""

import http.client
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.demo.broker import free_port
from worker.demo.company import AppEnvironment
from worker.demo.recount_rows import stamp

GROUP_ID: Final = "rudder-worker"
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStage:
    """The demo's paths, addresses, and the settings its worker gets."""

    output_path: Path
    bootstrap_servers: str
    http_port: int

    @property
    def database_path(self) -> Path:
        return self.output_path / "rudder.sqlite3"

    @property
    def log_path(self) -> Path:
        return self.output_path / "worker.log"

    @property
    def settings(self) -> dict[str, str]:
        return {
            "RUDDER_DATABASE_URL": f"sqlite+aiosqlite:///{self.database_path}",
            "RUDDER_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "RUDDER_GROUP_ID": GROUP_ID,
            "RUDDER_HTTP_HOST": LOOPBACK,
            "RUDDER_HTTP_PORT": str(self.http_port),
        }

    def url(self, path: str) -> str:
        return f"http://{LOOPBACK}:{self.http_port}{path}"

    def is_ready(self) -> bool:
        """Ask `/readyz`; a worker that does not listen yet is not ready."""
        connection = http.client.HTTPConnection(LOOPBACK, self.http_port, timeout=2)
        with closing(connection):
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == http.client.OK
            except (OSError, http.client.HTTPException):
                return False


def fresh_stage(output_path: Path, *, bootstrap_servers: str) -> DemoStage:
    """Return a stage with a free port, what an earlier demo wrote there removed."""
    output_path = output_path.absolute()
    output_path.mkdir(parents=True, exist_ok=True)
    stage = DemoStage(output_path=output_path, bootstrap_servers=bootstrap_servers, http_port=free_port())
    database = stage.database_path
    for path in (database, *(database.with_name(database.name + end) for end in ("-wal", "-shm")), stage.log_path):
        path.unlink(missing_ok=True)
    return stage


def seed_app_environments(database_path: Path, rows: Iterable[AppEnvironment]) -> None:
    """Insert the platform's rows, which the worker points at releases but never makes."""
    with closing(sqlite3.connect(database_path)) as connection, connection:
        connection.executemany(
            "INSERT INTO app_environments"
            " (id, environment_id, component_id, deployment_track_id, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    str(row.id),
                    row.environment_id,
                    str(row.component_id),
                    row.deployment_track_id,
                    stamp(row.created_at),
                    stamp(row.created_at),
                )
                for row in rows
            ],
        )
