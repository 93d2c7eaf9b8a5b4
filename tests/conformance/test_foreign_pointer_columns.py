"""An app_environments of another system that has pointer columns already: what is missing is added, theirs stay."""

import pytest
from sqlalchemy import make_url

from tests.conformance.catalog import catalog, run
from worker.db import migration

POINTERS = ("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name")


@pytest.mark.parametrize("there", [POINTERS, POINTERS[:1], POINTERS[1:]], ids=["all", "first", "others"])
def test_existing_pointer_columns_are_used_and_kept(database_url: str, there: tuple[str, ...]) -> None:
    columns = "".join(f", {name} VARCHAR(50) NULL" for name in there)
    run(database_url, f"CREATE TABLE app_environments (code INT NOT NULL PRIMARY KEY{columns})")
    run(database_url, f"INSERT INTO app_environments (code, {there[0]}) VALUES (1, 'theirs')")
    before = catalog(database_url)
    migration.upgrade(database_url)
    select = f"SELECT {', '.join(POINTERS)} FROM app_environments"
    expected = [tuple("theirs" if name == there[0] else None for name in POINTERS)]
    assert run(database_url, select) == expected
    migration.downgrade(database_url, "base")
    assert catalog(database_url) == before
    migration.upgrade(database_url)
    assert run(database_url, select) == expected


@pytest.mark.parametrize(
    "in_the_way",
    [
        "CREATE TABLE releases (theirs INT)",
        "CREATE TABLE release_event_rejections (theirs INT)",
        "CREATE VIEW release_deployments AS SELECT 1 AS one",
        "CREATE VIEW app_environments AS SELECT 1 AS one",
    ],
)
def test_conflicting_object_is_one_line_and_changes_nothing(database_url: str, in_the_way: str) -> None:
    run(database_url, in_the_way)
    before = catalog(database_url)
    with pytest.raises(migration.MigrationFailed) as failed:
        migration.upgrade(database_url)
    assert "changed nothing" in str(failed.value)
    assert "Background on this error" not in str(failed.value)
    assert catalog(database_url) == before


def test_missing_privileges_are_one_line(postgres_url: str) -> None:
    """Neither may it create tables, nor change another's."""
    run(postgres_url, "CREATE ROLE powerless LOGIN")
    url = make_url(postgres_url).set(username="powerless").render_as_string(hide_password=False)
    try:
        with pytest.raises(migration.MigrationFailed, match="permission denied for schema public"):
            migration.upgrade(url)
        migration.upgrade(postgres_url, "0.0.213")
        run(postgres_url, "GRANT ALL ON SCHEMA public TO powerless")
        run(postgres_url, "GRANT ALL ON ALL TABLES IN SCHEMA public TO powerless")
        with pytest.raises(migration.MigrationFailed, match="must be owner of table app_environments"):
            migration.upgrade(url)
    finally:
        run(postgres_url, "DROP OWNED BY powerless", "DROP ROLE powerless")
