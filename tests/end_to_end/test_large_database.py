"""The database that the benchmark of growth runs on: copies of a history, with all that the migrations made."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.databases import EMPTY, Postgres
from benchmarks.large_database import fill_large
from benchmarks.servers import BenchmarkPostgres

RELEASE = "1b6c1651-eca6-4ac1-9c8e-eff12d2ef476"
DEPLOYMENT = "ee5c7d4b-3f6e-510b-b610-a3df7ffe78fe"
HISTORY = f"""
INSERT INTO releases (id, created_at, updated_at, release_date, release_number, project_id, status, organization_id,
    created_by, component_id, deployment_track_id)
VALUES ('{RELEASE}', '2026-03-02', '2026-03-02', '2026-03-02', 1, '{RELEASE}', 'DEPLOYED', 'acme', 'bot', '{RELEASE}',
    'main');
INSERT INTO release_versions VALUES ('{RELEASE}', 1);
INSERT INTO release_deployments (id, created_at, updated_at, release_mgt_id, environment_id, attempt, config_revision,
    status, config_mapping_revision, schema_based_config_revision)
VALUES ('{DEPLOYMENT}', '2026-03-02', '2026-03-02', '{RELEASE}', 'staging', 1, 1, 'SUCCESS', 0, 0);
INSERT INTO release_activity_logs (id, created_at, updated_at, release_deployment_id, release_mgt_id, environment_id,
    activity_type, activity_data, status)
SELECT id::uuid, '2026-03-02', '2026-03-02', '{DEPLOYMENT}', '{RELEASE}', 'staging', 'DEPLOYMENT_STATUS_CHANGED',
    '{{}}', 'SUCCESS' FROM (VALUES ('{RELEASE}'), ('{DEPLOYMENT}')) AS entries (id)
"""
INDEXES = "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'public'"
CONSTRAINTS = "SELECT string_agg(conname || pg_get_constraintdef(oid), ' ' ORDER BY conname) FROM pg_constraint"
FUNCTIONS = "SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
TABLES = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BenchmarkPostgres]:
    database = Postgres()
    try:
        database.prepare(tmp_path)
        database.server.execute(HISTORY, database=EMPTY)
        yield database.server
    finally:
        database.close()


def test_large_database_has_copies_of_the_history(server: BenchmarkPostgres) -> None:
    """Each with its own keys, on an earlier day; indexes, constraints and triggers are those of the migrations."""
    assert fill_large(server, "large", history=EMPTY, log_entries=20) == 20
    copies = "SELECT count(*), count(DISTINCT r.id), count(DISTINCT r.release_date), min(r.release_date)"
    joined = "FROM releases r JOIN release_versions ON release_mgt_id = r.id"
    assert server.execute(f"{copies} {joined}", database="large") == "10|10|10|2026-02-21"
    linked = "SELECT count(*) FROM release_activity_logs l JOIN release_deployments d ON d.id = l.release_deployment_id"
    assert server.execute(f"{linked} AND d.release_mgt_id = l.release_mgt_id", database="large") == "20"
    versions = "SELECT DISTINCT substr(id::text, 15, 1) FROM release_activity_logs WHERE created_at < '2026-03-02'"
    assert server.execute(versions, database="large") == "5"
    for catalogue in (INDEXES, CONSTRAINTS, FUNCTIONS, TABLES):
        assert server.execute(catalogue, database="large") == server.execute(catalogue, database=EMPTY)
