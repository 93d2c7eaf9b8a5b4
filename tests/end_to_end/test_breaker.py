"""A topic full of what can only be rejected: a worker stops at its beginning and says so, rather than pour it over."""

import json
from typing import Any

import pytest

from tests.conformance.deadlines import until
from tests.conformance.producers import ToSend
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.test_endpoints import samples
from tests.end_to_end.worker_process import WorkerProcess

EVENTS, BAD, CONCURRENCY = 50, 1_000, 16
LETTERS_MAX = 2 * EVENTS + CONCURRENCY
"""The window, what is decided behind an event that holds back its count, and what was in a transaction then."""


def bad_events(number: int) -> list[ToSend]:
    """Of releases that nobody has told of: as after a database was restored from last week."""
    return [ReleaseRecords().deploy("started") for _ in range(number)]


def good_events(number: int) -> list[ToSend]:
    builders = [ReleaseRecords() for _ in range(number)]
    return [builder.deploy("succeeded", release={**builder.fields}) for builder in builders]


async def stands_by(worker: WorkerProcess) -> None:
    """The breaker is open, and all that was under way is done or left."""

    async def does() -> bool:
        assert worker.exit_code is None, worker.output()
        counted = await samples(worker)
        left = [counted[f"rudder_{name}_records", ()] for name in ("in_flight", "commit_lag")]  # nor a commit to make
        return counted["rudder_breaker_open", ()] == 1 and left == [0, 0]

    await until(does, what=lambda: f"the breaker is open: {worker.output()}")


async def shows_lag(worker: WorkerProcess, records: int) -> None:
    """Although nothing is completed any more."""

    async def does() -> bool:
        counted = await samples(worker)
        return sum(value for (name, _), value in counted.items() if name == "rudder_partition_lag_records") == records

    await until(does, what=lambda: f"{records} records of lag: {worker.output()}")


def lines_of(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, worker.stderr.splitlines()) if line["event"] == event]


async def test_breaker_opens_for_a_topic_of_bad_records(system: System) -> None:
    """What was not begun is not committed; once somebody has decided that it is to be handled all the same, it is."""
    good = good_events(10)
    await system.send(good)
    with system.worker(RUDDER_BREAKER_EVENTS=str(EVENTS), RUDDER_CONCURRENCY=str(CONCURRENCY)) as worker:
        await system.caught_up(worker)
        await system.send(bad_events(BAD))
        await stands_by(worker)
        answer = await worker.get("/readyz")
        assert (answer.status_code, set(answer.json())) == (503, {"status", "breaker"})
        message: str = answer.json()["breaker"]
        rejected = message.split(maxsplit=1)[0]
        assert message.endswith(f"release_not_found {rejected}; from https://ci.example/end-to-end {rejected}")
        assert await worker.status("/livez") == 200
        letters = len(await system.read(system.topics.dead_letters))
        assert EVENTS / 2 < letters <= LETTERS_MAX
        assert await system.committed_records() <= len(good) + letters
        committed = await system.committed_records()
        await system.send(good_events(10))  # nothing at all is fetched, be it good or bad
        for _ in range(20):
            assert await worker.status("/livez") == 200
        assert await system.committed_records() == committed
        assert len(await system.read(system.topics.dead_letters)) == letters
        await shows_lag(worker, len(good) + BAD + 10 - committed)
        assert await worker.stop() == 0
    [opened] = lines_of(worker, "breaker.opened")
    assert (opened["level"], opened["events"], opened["topic"]) == ("error", EVENTS, system.topics.events)
    assert opened["reasons"] == {"release_not_found": opened["rejected"]}
    assert await system.committed_records() == committed
    await assert_the_rest_is_handled(system)


async def assert_the_rest_is_handled(system: System) -> None:
    """By a worker whose breaker is off, and so that neither the oracle nor `verify` finds anything."""
    with system.worker("restarted", RUDDER_BREAKER_EVENTS="0") as worker:
        await system.caught_up(worker)
        assert await worker.stop() == 0
    assert lines_of(worker, "breaker.opened") == []
    checked = await check_with_oracle(system)
    assert checked.differences[:10] == []
    assert len((await system.rows())["release_event_rejections"]) == BAD
    with WorkerProcess("verify", settings=system.settings, folder=system.folder, name="verify") as verifying:
        assert await verifying.ended() == 0, verifying.output()


async def serves(worker: WorkerProcess) -> None:
    async def does() -> bool:
        assert worker.exit_code is None, worker.output()
        return await worker.status("/livez") == 200

    await until(does, what=lambda: f"it serves: {worker.output()}")


async def has_partitions(worker: WorkerProcess, number: int) -> None:
    async def does() -> bool:
        assert worker.exit_code is None, worker.output()
        return (await samples(worker))["rudder_partitions_assigned", ()] == number

    await until(does, what=lambda: f"it has {number} partitions: {worker.output()}")


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
async def test_worker_with_an_open_breaker_keeps_its_partitions(system: System) -> None:
    """If it left the group, the next would get them, pour over as much again, and leave: one worker after another.

    Members come and go here while offsets are committed, and the embedded broker waits for ever for one that it lost.
    """
    settings = {"RUDDER_BREAKER_EVENTS": str(EVENTS), "RUDDER_CONCURRENCY": str(CONCURRENCY)}
    with system.worker(**settings) as worker:
        await worker.ready()
        await system.send(bad_events(BAD))
        await stands_by(worker)
        letters = len(await system.read(system.topics.dead_letters))
        with system.worker("second", **settings) as second:
            await serves(second)
            await has_partitions(second, 2)
            await has_partitions(worker, 2)
            await stands_by(second)  # at the beginning of its own share
            assert await worker.stop() == 0
            await has_partitions(second, 4)
            for _ in range(20):
                assert await second.status("/livez") == 200
            assert len(await system.read(system.topics.dead_letters)) <= letters + LETTERS_MAX
            assert await second.stop() == 0
