"""The migrations, up and down, on each database."""

import asyncio
import subprocess
import sys
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, insert, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.conformance.catalog import ID, MOMENT, ROWS, catalog, counts, is_babelfish, run
from worker.db import migration
from worker.db.inspection import current_revision
from worker.db.models import AppEnvironment, Base, Release
from worker.db.models import ReleaseDeployment as Deployment
from worker.db.revisions import VERSION_TABLE, head_revision, known_revisions

ROOT = Path(__file__).parents[2]


def test_upgrade_downgrade_and_upgrade_leave_no_trace(database_url: str) -> None:
    """`downgrade base` takes back all that `upgrade head` made, and the way up is open again."""
    migration.upgrade(database_url)
    made = catalog(database_url)
    migration.downgrade(database_url, "base")
    assert catalog(database_url) == set()
    migration.upgrade(database_url)
    assert catalog(database_url) == made
    assert len(made) > 20


def test_every_revision_can_be_reverted_alone(database_url: str) -> None:
    """One step down restores what one step up had found."""
    found = [catalog(database_url)]
    for revision in known_revisions():
        migration.upgrade(database_url, revision)
        found.append(catalog(database_url))
    assert len(found) > 10
    while len(found) > 1:
        assert catalog(database_url) == found.pop()
        migration.downgrade(database_url, "-1")
    assert catalog(database_url) == set()


def test_models_and_migrated_tables_agree(database_url: str) -> None:
    """Autogenerate, with types and server defaults, finds nothing to do."""

    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": True, "version_table": VERSION_TABLE}
        )
        return list(compare_metadata(context, Base.metadata))

    if is_babelfish(database_url):
        pytest.skip("Babelfish cannot be asked for foreign keys and the names of defaults; test_seed_ddl compares them")

    async def compare() -> list[Any]:
        engine = create_async_engine(database_url, poolclass=NullPool)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(differences)
        finally:
            await engine.dispose()

    migration.upgrade(database_url)
    assert asyncio.run(compare()) == []


def test_rows_and_foreign_keys_survive_the_guards(database_url: str) -> None:
    """Adding constraints, which rebuilds tables on SQLite, loses no row, and deletes still cascade from a release."""
    migration.upgrade(database_url, "0.0.217")
    run(database_url, *ROWS)
    migration.upgrade(database_url)
    assert counts(database_url) == [1, 1, 1, 1]
    migration.downgrade(database_url, "0.0.217")
    assert counts(database_url) == [1, 1, 1, 1]
    migration.upgrade(database_url)
    run(database_url, "DELETE FROM releases", foreign_keys=True)
    assert counts(database_url) == [0, 0, 0, 0]


def test_failed_revision_leaves_no_trace(database_url: str) -> None:
    """Each revision is one transaction: what it had made before it failed is gone, what came before it stays."""
    migration.upgrade(database_url, "0.0.212")
    run(database_url, "CREATE TABLE release_activity_logs (in_the_way INT)")
    before = catalog(database_url)
    with pytest.raises(migration.MigrationFailed, match="release_activity_logs"):
        migration.upgrade(database_url)
    assert catalog(database_url) == before
    run(database_url, "DROP TABLE release_activity_logs")
    migration.upgrade(database_url)


def test_values_are_read_as_written(database_url: str) -> None:
    """UUIDs, aware UTC times to the microsecond, text beyond ASCII, and the defaults of the table."""
    migration.upgrade(database_url)
    run(database_url, *ROWS)
    release = select(Release.id, Release.created_at, Release.organization_id, Release.status)
    assert run(database_url, release) == [(ID, MOMENT, "Größe ✓", "DRAFT")]
    deployment = select(Deployment.attempt, Deployment.config_revision, Deployment.status)
    assert run(database_url, deployment) == [(1, 1, "PENDING")]
    [(defaulted,)] = run(database_url, select(Release.updated_at))
    assert defaulted.tzinfo is UTC


@pytest.mark.parametrize("rows", [[], [(1, "theirs")]], ids=["empty", "in use"])
def test_foreign_app_environments_survives_up_and_down(database_url: str, rows: list[tuple[int, str]]) -> None:
    """Another system's table keeps its columns and rows; for the while it has three more."""
    run(database_url, "CREATE TABLE app_environments (code INT NOT NULL PRIMARY KEY, title VARCHAR(20) NOT NULL)")
    before = catalog(database_url)
    for code, title in rows:
        run(database_url, f"INSERT INTO app_environments (code, title) VALUES ({code}, '{title}')")
    migration.upgrade(database_url)
    found = run(database_url, "SELECT code, title, release_mgt_release_id FROM app_environments")
    assert found == [(*row, None) for row in rows]
    migration.downgrade(database_url, "base")
    assert run(database_url, "SELECT * FROM app_environments") == rows
    assert catalog(database_url) == before


def test_app_environments_with_rows_is_kept(database_url: str) -> None:
    """The worker never inserts there, so the rows are another system's even in a table that the worker created."""
    migration.upgrade(database_url)
    row = {"id": ID, "environment_id": "prod", "component_id": ID, "deployment_track_id": "main"}
    run(database_url, insert(AppEnvironment).values(**row))
    migration.downgrade(database_url, "base")
    migration.upgrade(database_url)
    assert run(database_url, select(AppEnvironment.id)) == [(ID,)]


async def test_database_has_a_revision_after_its_migration(database_url: str) -> None:
    """None before the first migration."""
    engine = create_async_engine(database_url, poolclass=NullPool)
    async with engine.connect() as connection:
        assert await current_revision(connection) is None
    await asyncio.to_thread(migration.upgrade, database_url, "0.0.215")
    async with engine.connect() as connection:
        assert await current_revision(connection) == "0.0.215"
    await engine.dispose()


def test_worker_knows_the_revisions_of_alembic() -> None:
    """The worker derives revisions from file names; a wrong name would let it start on the wrong tables."""
    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert known_revisions() == tuple(step.revision for step in scripts.walk_revisions())[::-1]
    assert head_revision() == scripts.get_current_head()


def test_replicas_may_migrate_at_the_same_time(database_url: str) -> None:
    """One goes first, the others wait and find nothing left to do."""
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite is embedded in one worker and has no lock that outlives a transaction")
    # Processes, as replicas are; Alembic keeps its context in a module, so threads could not do this.
    program = "import sys; from worker.db.migration import upgrade; upgrade(sys.argv[1])"
    replicas = [subprocess.Popen([sys.executable, "-c", program, database_url], cwd=ROOT) for _ in range(3)]
    assert [replica.wait() for replica in replicas] == [0, 0, 0]
    assert run(database_url, "SELECT version_num FROM rudder_alembic_version") == [(head_revision(),)]


@pytest.mark.parametrize("by_file", [False, True], ids=["RUDDER_DATABASE_URL", "RUDDER_DATABASE_URL_FILE"])
def test_alembic_runs_from_a_checkout(by_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`alembic upgrade head` takes the database from the environment, and writes nothing to standard output."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'rudder.db'}"
    monkeypatch.delenv("RUDDER_DATABASE_URL", raising=False)
    monkeypatch.delenv("RUDDER_DATABASE_URL_FILE", raising=False)
    config = Config(ROOT / "alembic.ini")
    with pytest.raises(CommandError, match="RUDDER_DATABASE_URL"):
        command.upgrade(config, "head")
    (tmp_path / "url").write_text(url + "\n", encoding="utf-8")
    monkeypatch.setenv(
        *(("RUDDER_DATABASE_URL_FILE", str(tmp_path / "url")) if by_file else ("RUDDER_DATABASE_URL", url))
    )
    command.upgrade(config, "head")
    assert "releases" in " ".join(catalog(url))
