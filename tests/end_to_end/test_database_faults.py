"""Databases that are not as the worker needs them: poolers, tables that are missing, and what /readyz says of it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.conformance.deadlines import until
from tests.conformance.stores import migrate
from tests.conformance.table_contents import rows
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System
from tests.testkit.pgbouncer import pgbouncer
from tests.unit.cli.command_line import rudder_worker

pytestmark = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)


async def test_worker_runs_through_a_session_pool(system: System, postgres_url: str) -> None:
    await migrate(postgres_url)
    with pgbouncer(postgres_url, pool_mode="session") as url, system.with_database(url).worker() as worker:
        await worker.ready()
        await system.send(ReleaseRecords().approved())

        async def applied() -> bool:
            return [release["status"] for release in await rows(postgres_url, "releases")] == ["APPROVED"]

        await until(applied, what=worker.output)
        assert await worker.stop() == 0
        assert "dependency.unavailable" not in worker.stderr


async def test_transaction_pool_ends_run_and_migrate_at_once(system: System, postgres_url: str) -> None:
    """One line, exit code 2, although waiting for a database is allowed."""
    await migrate(postgres_url)
    with pgbouncer(postgres_url, pool_mode="transaction") as url:
        for command in ("run", "migrate"):
            settings = system.with_database(url).settings
            ended = await asyncio.to_thread(rudder_worker, command, folder=system.folder, environment=settings)
            assert ended.code == 2
            assert "pool_mode=session" in ended.err
            assert "Traceback" not in ended.err
            assert "awaited" not in ended.err


async def test_missing_tables_end_run_at_once(system: System, postgres_url: str) -> None:
    settings = system.with_database(postgres_url).settings
    ended = await asyncio.to_thread(rudder_worker, "run", folder=system.folder, environment=settings)
    assert ended.code == 2
    assert "rudder-worker migrate" in ended.err
    assert "awaited" not in ended.err


@pytest.mark.parametrize("change", ["DROP TABLE release_activity_logs", None], ids=["dropped table", "deleted file"])
async def test_broken_sqlite_file_is_not_ready_with_the_reason(system: System, change: str | None) -> None:
    file = str(make_url(system.database_url).database)
    with system.worker() as worker:
        await worker.ready()
        if change is None:
            await asyncio.to_thread(_delete, file)
        else:
            with closing(sqlite3.connect(file)) as connection:
                connection.execute(change)
        await system.send(ReleaseRecords().approved())
        reason = "was deleted" if change is None else "no such table: release_activity_logs"

        async def reported() -> bool:
            answer = await worker.get("/readyz")
            return answer.status_code == 503 and reason in answer.json()["database"]

        await until(reported, what=worker.output)
        await worker.until(
            lambda: "dependency.unavailable" in worker.stderr and reason in worker.stderr, what="it is logged"
        )
        assert await system.committed_records() == 0
        assert await worker.stop() == 0


def _delete(file: str) -> None:
    for part in Path(file).parent.glob(f"{Path(file).name}*"):
        part.unlink()
