"""Yesterday's copy of the database under a live group: nothing of a partition that is behind is begun, or all of it is
read again.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.conformance.deadlines import until
from tests.conformance.table_contents import insert_environments
from tests.end_to_end.demo_day import Day, day_of
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.system import System
from tests.end_to_end.test_breaker import assert_verified, lines_of, metric_of
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.postgres import PostgresServer

Restore = Callable[[], None]
SEED, RELEASES = 11, 30


@pytest.fixture
def day() -> Day:
    return day_of(SEED, releases=RELEASES)


def backup(system: System, request: pytest.FixtureRequest) -> Restore:
    """Copies the database; returns what puts the copy in its place, whether or not a worker is connected."""
    url = make_url(system.database_url)
    assert url.database is not None
    if url.drivername.startswith("sqlite"):
        return sqlite_backup(Path(url.database))
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name, copy = url.database, f"{url.database}_copy"
    server.create_database(copy, name)

    def restore() -> None:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        server.create_database(name, copy)
        server.drop_database(copy)

    return restore


def sqlite_backup(file: Path) -> Restore:
    copy = file.with_suffix(".yesterday")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)

    def restore() -> None:
        for part in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
            part.unlink(missing_ok=True)
        shutil.move(copy, file)

    return restore


async def yesterday_and_today(system: System, day: Day, request: pytest.FixtureRequest) -> Restore:
    """Half of the day, a backup, and the other half; what restores the backup. No worker runs."""
    await insert_environments(system.database_url, day.seed)
    half = len(day.daytime) // 2
    with system.worker("yesterday") as worker:
        await worker.ready()
        await system.send(day.daytime[:half])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    restore = backup(system, request)
    await system.send(day.daytime[half:])
    return restore


async def test_stop_begins_nothing_of_a_partition_behind(
    system: System, day: Day, request: pytest.FixtureRequest
) -> None:
    """It says so, and what to do. With `rewind` all is read again, and `verify` reports nothing."""
    restore = await yesterday_and_today(system, day, request)
    with system.worker("today") as worker:
        await system.caught_up(worker)
        assert lines_of(worker, "database.behind") == []
        assert await worker.stop() == 0
    restore()
    committed = await system.committed_offsets()
    await system.send(day.evening)
    with system.worker("stops") as worker:
        await is_behind(worker)
        answer = (await worker.get("/readyz")).json()
        assert "is not in the database" in answer["database_behind"]
        assert "RUDDER_DATABASE_BEHIND=rewind" in answer["database_behind"]
        for _ in range(20):
            assert await worker.status("/livez") == 200
        found = [one for one in await doctor_findings(system) if one["check"] == "database behind"]
        assert {one["level"] for one in found} == {"fault"}
        behind = {line["partition"] for line in lines_of(worker, "database.behind")}
        assert await worker.stop() == 0
    now = await system.committed_offsets()
    assert behind
    assert all(now[partition] == committed[partition] for partition in behind)
    with system.worker("rewinds", RUDDER_DATABASE_BEHIND="rewind") as worker:
        await is_rewound(worker, behind)
        await system.caught_up(worker)
        await worker.ready()
        assert await worker.stop() == 0
    await assert_complete(system)


async def test_rewind_repairs_a_database_restored_under_a_worker(
    system: System, day: Day, request: pytest.FixtureRequest
) -> None:
    """Without a restart or a rebalance: the worker compares the events that it has completed."""
    restore = await yesterday_and_today(system, day, request)
    with system.worker("today", RUDDER_DATABASE_BEHIND="rewind") as worker:
        await system.caught_up(worker)
        await worker.ready()
        restore()
        await is_rewound(worker, {0})
        await system.send(day.evening)
        await system.caught_up(worker)
        await worker.ready()
        assert await worker.stop() == 0
    await assert_complete(system)


async def doctor_findings(system: System) -> list[dict[str, str]]:
    with WorkerProcess("doctor", "--json", settings=system.settings, folder=system.folder, name="doctor") as process:
        assert await process.ended() == 1, process.output()
        found: list[dict[str, str]] = json.loads(process.stdout)["findings"]
        return found


async def is_behind(worker: WorkerProcess) -> None:
    async def does() -> bool:
        assert worker.exit_code is None, worker.output()
        serves = await worker.status("/livez") == 200
        return serves and await metric_of(worker, "rudder_partitions_behind") > 0

    await until(does, what=lambda: f"a partition is behind: {worker.output()}")


async def is_rewound(worker: WorkerProcess, partitions: set[int]) -> None:
    def are() -> bool:
        return {line["partition"] for line in lines_of(worker, "database.rewound")} >= partitions

    await worker.until(are, what=f"partitions {partitions} are read again")


async def assert_complete(system: System) -> None:
    checked = await check_with_oracle(system)
    assert checked.differences[:10] == []
    await assert_verified(system)
