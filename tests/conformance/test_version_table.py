"""The worker has its own version table: it ignores another application's and continues an earlier version's."""

import asyncio
import threading

import asyncpg
import pytest
import structlog
from sqlalchemy import make_url

from tests.conformance.catalog import catalog, execute_script, run
from tests.conformance.stores import opened
from worker.db import migration
from worker.db.revisions import head_revision
from worker.rules.errors import ConfigurationError
from worker.telemetry import LogEvent

FORMER = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
THEIRS = ("INSERT INTO alembic_version (version_num) VALUES ('5f3a0c1d2e4b')",)
VERSION = "SELECT version_num FROM rudder_alembic_version"


def start(url: str) -> None:
    """The first step of `run`."""

    async def check() -> None:
        async with opened(url):
            pass

    asyncio.run(check())


def by_an_earlier_version(url: str, revision: str) -> None:
    """Makes the database of an earlier worker, which used Alembic's default version table."""
    migration.upgrade(url, revision)
    run(url, FORMER, f"INSERT INTO alembic_version (version_num) VALUES ('{revision}')")
    run(url, "DROP TABLE rudder_alembic_version")


def test_version_table_of_another_application_is_kept(database_url: str) -> None:
    run(database_url, FORMER, *THEIRS)
    with pytest.raises(ConfigurationError, match="run `rudder-worker migrate` first"):
        start(database_url)
    migration.upgrade(database_url)
    start(database_url)
    migration.downgrade(database_url, "base")
    assert run(database_url, "SELECT version_num FROM alembic_version") == [("5f3a0c1d2e4b",)]


@pytest.mark.parametrize("revision", ["0.0.213", "0.0.217", "0.0.221"])
def test_database_of_an_earlier_version_is_taken_over(database_url: str, revision: str) -> None:
    """A worker of that version still finds its own version table."""
    by_an_earlier_version(database_url, revision)
    with pytest.raises(ConfigurationError, match="run `rudder-worker migrate` first"):
        start(database_url)
    migration.upgrade(database_url)
    assert run(database_url, VERSION) == [(head_revision(),)]
    assert run(database_url, "SELECT version_num FROM alembic_version") == [(revision,)]
    start(database_url)


def test_script_takes_over_a_database_of_an_earlier_version(database_url: str) -> None:
    by_an_earlier_version(database_url, "0.0.217")
    execute_script(database_url, migration.script(database_url, start="0.0.217"))
    assert run(database_url, VERSION) == [(head_revision(),)]
    by_script = catalog(database_url)
    migration.downgrade(database_url, "0.0.217")
    migration.upgrade(database_url)
    assert catalog(database_url) == by_script


def test_version_row_without_the_tables_is_not_taken_over(database_url: str) -> None:
    """A row alone is no proof: the tables are what the worker needs."""
    run(database_url, FORMER, f"INSERT INTO alembic_version (version_num) VALUES ('{head_revision()}')")
    migration.upgrade(database_url)
    start(database_url)


@pytest.mark.parametrize("table", ["releases", "release_activity_logs", "release_event_rejections"])
def test_missing_table_ends_the_start(database_url: str, table: str) -> None:
    """The start does not wait for missing tables: only `migrate` creates them."""
    if database_url.startswith("mssql"):
        pytest.skip("the probe of SQL Server does not look at the tables yet")
    migration.upgrade(database_url)
    run(database_url, f"DROP TABLE {table}{' CASCADE' * database_url.startswith('postgresql')}")
    with pytest.raises(ConfigurationError, match="rudder-worker migrate"):
        start(database_url)


def test_wait_for_another_migration_is_logged_and_bounded(postgres_url: str) -> None:
    """The lock is a transaction's, and one of the same name as earlier versions take for a session."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        async def holding() -> None:
            url = make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
            connection = await asyncpg.connect(url)
            await connection.execute("SELECT pg_advisory_lock(hashtext('rudder migrations'))")
            held.set()
            await asyncio.to_thread(done.wait)
            await connection.close()

        asyncio.run(holding())

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(30)
        refused = pytest.raises(migration.MigrationFailed, match="changed nothing")
        with structlog.testing.capture_logs() as logs, refused:
            migration.upgrade(postgres_url, lock_timeout_seconds=1)
        assert [line["event"] for line in logs] == [LogEvent.MIGRATION_WAITING]
    finally:
        done.set()
        holder.join()
    assert catalog(postgres_url) == set()
    migration.upgrade(postgres_url)
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    assert run(postgres_url, locks) == [(0,)]
