"""Workers that die in mid-stream: afterwards rows and topics are what the contract's model says, as if none had."""

import random
import signal
from collections.abc import Callable

import pytest

from tests.conformance.contents import Contents, insert_environments
from tests.conformance.deadlines import until
from tests.end_to_end.days import Day, day_of
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.stage import Stage
from tests.end_to_end.verifying import compared
from tests.end_to_end.worker_process import WorkerProcess

RELEASES = 40
KILLS = 3
SOON_MISSED = {"RUDDER_SESSION_TIMEOUT_SECONDS": "2"}
"""A dead member's partitions are given to another after so long."""


async def entries_above(stage: Stage, count: int, *workers: WorkerProcess) -> None:
    """Waits until so many events have had their effect."""

    async def reached() -> bool:
        for worker in workers:
            assert worker.exit_code is None, worker.told()
        return len((await stage.rows())["release_activity_logs"]) > count

    await until(reached, what=lambda: "\n".join([f"more than {count} entries", *(w.told() for w in workers)]))


async def assert_all_is_as_predicted(stage: Stage, day: Day) -> None:
    """Every row; every status change on its topic at least once, repeats with the same id only, in order per release;
    every rejection with its dead letter; all offsets committed. `verify` has nothing to add.
    """
    checked = await check_with_oracle(stage)
    assert checked.records == len(day.daytime) + len(day.evening)
    assert checked.differences[:20] == []
    assert await stage.committed()
    await assert_ids_are_the_logs(stage)
    assert (await compared(stage))["findings"] == []


async def assert_ids_are_the_logs(stage: Stage) -> None:
    rows = await stage.rows()
    changes = {
        stage.topics.release_status: {"RELEASE_CREATED", "RELEASE_STATUS_CHANGED"},
        stage.topics.deployment_status: {"DEPLOYMENT_STATUS_CHANGED"},
    }
    for topic, types in changes.items():
        published = {dict(message.headers() or ())["ce_id"] for message in await stage.read(topic)}
        assert published == {str(row["id"]).encode() for row in _entries(rows, types)}


def _entries(rows: Contents, types: set[str]) -> list[dict[str, object]]:
    return [row for row in rows["release_activity_logs"] if row["activity_type"] in types]


@pytest.mark.parametrize("pair", ["apache+postgresql", "apache+mssql"], indirect=True)
@pytest.mark.parametrize("seed", [7])
async def test_repeatedly_killed_worker_loses_and_doubles_nothing(stage: Stage, seed: int) -> None:
    """SIGKILL at any moment, and a new worker in its place."""
    dice, day = random.Random(seed), day_of(seed, releases=RELEASES)
    await insert_environments(stage.database_url, seed)
    await stage.send(day.daytime)
    activities = 0
    for life in range(KILLS):
        with stage.worker(f"life-{life}", **SOON_MISSED) as worker:
            activities += dice.randrange(20, 120)
            await entries_above(stage, activities, worker)
            worker.kill()
            assert worker.exit_code == -signal.SIGKILL
        activities = len((await stage.rows())["release_activity_logs"])
    with stage.worker("last", **SOON_MISSED) as worker:
        await stage.caught_up(worker)
        await stage.send(day.evening)
        await stage.caught_up(worker)
        assert await worker.stop() == 0
    await assert_all_is_as_predicted(stage, day)


def _killed(worker: WorkerProcess) -> None:
    worker.kill()


def _stopped(worker: WorkerProcess) -> None:
    worker.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
@pytest.mark.parametrize("seed", [11])
async def test_crash_and_stop_in_one_group_lose_nothing(stage: Stage, seed: int) -> None:
    """Two workers share the partitions; one is killed, the other stopped, and one comes in the place of each."""
    day = day_of(seed, releases=RELEASES)
    await insert_environments(stage.database_url, seed)
    third = len(day.daytime) // 3
    end: Callable[[WorkerProcess], None]
    workers = [stage.worker("first", **SOON_MISSED), stage.worker("second", **SOON_MISSED)]
    try:
        for worker in workers:
            await worker.ready()
        for part, (index, end) in enumerate(((0, _killed), (1, _stopped))):
            activities = len((await stage.rows())["release_activity_logs"])
            await stage.send(day.daytime[part * third : (part + 1) * third])
            await entries_above(stage, activities + 30, *workers)
            end(workers[index])
            assert await workers[index].ended() == (0 if end is _stopped else -signal.SIGKILL)
            workers[index] = stage.worker(f"replacement-{index}", **SOON_MISSED)
        await stage.send(day.daytime[2 * third :])
        await stage.caught_up(*workers)
        await stage.send(day.evening)
        await stage.caught_up(*workers)
        assert [await worker.stop() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    await assert_all_is_as_predicted(stage, day)
