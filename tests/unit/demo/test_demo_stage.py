"""The demo's stage is fresh every time, and touches nothing else."""

import sqlite3
from contextlib import closing
from pathlib import Path

from worker.demo.company import app_environments
from worker.demo.demo_stage import fresh_stage, seed_app_environments


def test_files_of_an_earlier_demo_are_removed_and_no_others(tmp_path: Path) -> None:
    """Only the demo's own files, by name: the directory may be anybody's."""
    for name in ("rudder.sqlite3", "rudder.sqlite3-wal", "worker.log", "notes.txt"):
        (tmp_path / name).write_text("old")
    stage = fresh_stage(tmp_path, bootstrap_servers="127.0.0.1:1")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert stage.settings["RUDDER_DATABASE_URL"] == f"sqlite+aiosqlite:///{tmp_path}/rudder.sqlite3"
    assert not stage.is_ready()


def test_platform_rows_have_the_sqlite_format(tmp_path: Path) -> None:
    """Dashed lower-case ids and UTC text, as the worker's own rows have them."""
    path = tmp_path / "rudder.sqlite3"
    rows = app_environments(seed=1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE app_environments"
            " (id, environment_id, component_id, deployment_track_id, created_at, updated_at)"
        )
        seed_app_environments(path, rows)
        found = connection.execute("SELECT component_id, created_at FROM app_environments").fetchall()
    assert len(found) == len(rows) > 20
    assert found[0] == (str(rows[0].component_id), "2026-03-17 00:00:00.000000")
