"""The migrations as SQL for a DBA to run: the same schema, and nothing needed to write it."""

import sys

import pytest

from tests.conformance.catalog import ROWS, catalog, counts, execute_script, run
from worker.db import migration
from worker.db.revisions import head_revision

URLS = {
    "sqlite": "sqlite+aiosqlite:///none.db",
    "postgresql": "postgresql+asyncpg://nobody:50%25@127.0.0.1/none",
    "mssql": "mssql+aioodbc://nobody:50%25@127.0.0.1/none",
}


def test_script_makes_the_same_schema(database_url: str) -> None:
    """What a DBA runs by hand equals what the worker would have done, and the worker sees it as done."""
    execute_script(database_url, migration.script(database_url))
    by_script = catalog(database_url)
    assert run(database_url, "SELECT version_num FROM rudder_alembic_version") == [(head_revision(),)]
    migration.downgrade(database_url, "base")
    migration.upgrade(database_url)
    assert catalog(database_url) == by_script


def test_downgrade_script_removes_everything(database_url: str) -> None:
    """But for an app_environments on SQLite, whose SQL cannot drop on a condition: the script says so instead."""
    migration.upgrade(database_url)
    script = migration.script(database_url, revision="base")
    execute_script(database_url, script)
    if database_url.startswith("sqlite"):
        assert "-- DROP TABLE app_environments;" in script
        execute_script(database_url, "DROP TABLE app_environments")
    assert catalog(database_url) == set()


@pytest.mark.parametrize("kind", URLS)
def test_script_needs_neither_server_nor_driver(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the URL only the kind of database counts; scripts go both ways and from anywhere."""
    for driver in ("aioodbc", "pyodbc", "asyncpg", "aiosqlite"):
        monkeypatch.setitem(sys.modules, driver, None)
    up, down = migration.script(URLS[kind]), migration.script(URLS[kind], revision="base")
    step = migration.script(URLS[kind], start="0.0.218", revision="0.0.219")
    back = migration.script(URLS[kind], start="0.0.219", revision="0.0.218")
    assert "CREATE TABLE releases" in up
    assert "DROP TABLE releases" in down
    assert "CREATE TRIGGER" in step
    assert "CREATE TABLE release" not in step
    assert "DROP TRIGGER" in back
    assert migration.script(URLS[kind]) == up


def test_rows_survive_the_guards_made_by_script(database_url: str) -> None:
    """Also where the DBA's session has foreign keys on, which on SQLite would delete them with the rebuilt table."""
    migration.upgrade(database_url, "0.0.217")
    run(database_url, *ROWS)
    execute_script(database_url, migration.script(database_url, start="0.0.217"))
    assert counts(database_url) == [1, 1, 1, 1]
    execute_script(database_url, migration.script(database_url, start="0.0.219", revision="0.0.217"))
    assert counts(database_url) == [1, 1, 1, 1]
