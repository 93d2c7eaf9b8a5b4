"""Workers that die in mid-stream: afterwards rows and topics are what the contract's model says, as if none had."""

import random
import signal
from collections.abc import Callable

import pytest

from tests.conformance.deadlines import until
from tests.conformance.table_contents import Contents, insert_environments
from tests.end_to_end.demo_day import Day, day_of
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.system import System
from tests.end_to_end.verify_reports import verify_report
from tests.end_to_end.worker_process import WorkerProcess

RELEASES = 40
KILLS = 3
SOON_MISSED = {"RUDDER_SESSION_TIMEOUT_SECONDS": "2"}
"""A dead member's partitions are given to another after so long."""


async def activities_above(system: System, count: int, *workers: WorkerProcess) -> None:
    """Waits until so many events have had their effect."""

    async def reached() -> bool:
        for worker in workers:
            assert worker.exit_code is None, worker.output()
        return len((await system.rows())["release_activity_logs"]) > count

    await until(reached, what=lambda: "\n".join([f"more than {count} entries", *(w.output() for w in workers)]))


async def assert_all_is_as_predicted(system: System, day: Day) -> None:
    """Every row; every status change on its topic at least once, repeats with the same id only, in order per release;
    every rejection with its dead letter; all offsets committed. `verify` has nothing to add.
    """
    checked = await check_with_oracle(system)
    assert checked.records == len(day.daytime) + len(day.evening)
    assert checked.differences[:20] == []
    assert await system.committed()
    await assert_ids_are_the_logs(system)
    assert (await verify_report(system))["findings"] == []


async def assert_ids_are_the_logs(system: System) -> None:
    rows = await system.rows()
    changes = {
        system.topics.release_status: {"RELEASE_CREATED", "RELEASE_STATUS_CHANGED"},
        system.topics.deployment_status: {"DEPLOYMENT_STATUS_CHANGED"},
    }
    for topic, types in changes.items():
        published = {dict(message.headers() or ())["ce_id"] for message in await system.read(topic)}
        assert published == {str(row["id"]).encode() for row in _entries(rows, types)}


def _entries(rows: Contents, types: set[str]) -> list[dict[str, object]]:
    return [row for row in rows["release_activity_logs"] if row["activity_type"] in types]


@pytest.mark.parametrize("pair", ["apache+postgresql", "apache+mssql"], indirect=True)
@pytest.mark.parametrize("seed", [7])
async def test_repeatedly_killed_worker_loses_and_doubles_nothing(system: System, seed: int) -> None:
    """SIGKILL at any moment, and a new worker in its place."""
    dice, day = random.Random(seed), day_of(seed, releases=RELEASES)
    await insert_environments(system.database_url, seed)
    part = len(day.daytime) // KILLS + 1
    for life in range(KILLS):
        activities = len((await system.rows())["release_activity_logs"])
        await system.send(day.daytime[life * part : (life + 1) * part])  # each finds work, however fast the last was
        with system.worker(f"life-{life}", **SOON_MISSED) as worker:
            await activities_above(system, activities + dice.randrange(20, 120), worker)
            worker.kill()
            assert worker.exit_code == -signal.SIGKILL
    with system.worker("last", **SOON_MISSED) as worker:
        await system.caught_up(worker)
        await system.send(day.evening)
        await system.caught_up(worker)
        assert await worker.stop() == 0
    await assert_all_is_as_predicted(system, day)


def _killed(worker: WorkerProcess) -> None:
    worker.kill()


def _stopped(worker: WorkerProcess) -> None:
    worker.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
@pytest.mark.parametrize("seed", [11])
async def test_crash_and_stop_in_one_group_lose_nothing(system: System, seed: int) -> None:
    """Two workers share the partitions; one is killed, the other stopped, and one comes in the place of each."""
    day = day_of(seed, releases=RELEASES)
    await insert_environments(system.database_url, seed)
    third = len(day.daytime) // 3
    end: Callable[[WorkerProcess], None]
    workers = [system.worker("first", **SOON_MISSED), system.worker("second", **SOON_MISSED)]
    try:
        for worker in workers:
            await worker.ready()
        for part, (index, end) in enumerate(((0, _killed), (1, _stopped))):
            activities = len((await system.rows())["release_activity_logs"])
            await system.send(day.daytime[part * third : (part + 1) * third])
            await activities_above(system, activities + 30, *workers)
            end(workers[index])
            assert await workers[index].ended() == (0 if end is _stopped else -signal.SIGKILL)
            workers[index] = system.worker(f"replacement-{index}", **SOON_MISSED)
        await system.send(day.daytime[2 * third :])
        await system.caught_up(*workers)
        await system.send(day.evening)
        await system.caught_up(*workers)
        assert [await worker.stop() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    await assert_all_is_as_predicted(system, day)
