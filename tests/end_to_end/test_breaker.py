"""A topic full of events that can only be rejected: the group stops at its beginning until an operator closes the
breaker.
"""

import json
from typing import Any

import pytest

from tests.conformance.deadlines import until
from tests.conformance.producers import ToSend
from tests.conformance.table_contents import rows
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.process_group import SIZE, ProcessGroup
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import PARTITIONS, System
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
        assert f"release_not_found {rejected}; from https://ci.example/end-to-end {rejected}" in message
        assert message.endswith("close it with rudder-worker breaker close --note TEXT")
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


async def breaker(system: System, *arguments: str, code: int) -> str:
    """`rudder-worker breaker`; its output."""
    with WorkerProcess("breaker", *arguments, settings=system.settings, folder=system.folder, name="breaker") as ran:
        assert await ran.ended() == code, ran.output()
        return ran.stdout


async def assert_the_rest_is_handled(system: System) -> None:
    """A restart closes nothing, not even without a breaker of its own; closing the row resumes the worker, and neither
    the oracle nor `verify` finds anything.
    """
    committed = await system.committed_records()
    with system.worker("restarted", RUDDER_BREAKER_EVENTS="0", RUDDER_LOG_LEVEL="info") as worker:
        await serves(worker)
        await has_partitions(worker, PARTITIONS)
        await stands_by(worker)
        for _ in range(20):
            assert await worker.status("/readyz") == 503
        assert await system.committed_records() == committed
        assert "is OPEN since" in await breaker(system, "status", code=1)
        await breaker(system, "close", "--note", "reject the rest", code=0)
        await system.caught_up(worker)
        await worker.ready()
        assert await worker.stop() == 0
    [opened] = lines_of(worker, "breaker.opened")
    [closed] = lines_of(worker, "breaker.closed")
    assert closed["note"] == "reject the rest"
    assert opened["opened_by"].startswith("rudder-worker on ")
    checked = await check_with_oracle(system)
    assert checked.differences[:10] == []
    assert len((await system.rows())["release_event_rejections"]) == BAD
    await assert_verified(system)


async def assert_verified(system: System) -> None:
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
async def test_open_breaker_stops_every_process_of_the_group(system: System) -> None:
    """Two processes reject one window between them, a worker that joins later begins nothing, and closing the breaker
    resumes all three without a restart: no event is lost or decided twice.
    """
    settings = {"RUDDER_BREAKER_EVENTS": str(EVENTS), "RUDDER_CONCURRENCY": str(CONCURRENCY)}
    bad = bad_events(150)
    with ProcessGroup(system, **settings) as group:
        await group.up()
        await system.send([*good_events(100), *bad])
        await all_stand_by(group)
        letters = len(await system.read(system.topics.dead_letters))
        assert letters <= SIZE * LETTERS_MAX
        with system.worker("later", **settings, RUDDER_LOG_LEVEL="info") as later:
            await serves(later)
            await has_partitions(later, 1)
            await stands_by(later)
            assert await metric_of(later, "rudder_messages_total") == 0
            assert len(await system.read(system.topics.dead_letters)) == letters
            shown = json.loads(await breaker(system, "status", "--json", code=1))
            assert shown["opening"]["reasons"] == {"release_not_found": shown["opening"]["rejected"]}
            while await reopens(system, group, later):
                await breaker(system, "close", "--note", "reject another window", code=0)
            assert await later.stop() == 0
        assert await group.parent.stop() == 0
    assert group.lines("process.exited") == []
    assert len((await system.rows())["release_event_rejections"]) == len(bad)
    checked = await check_with_oracle(system)
    assert checked.differences[:10] == []
    await assert_verified(system)


async def all_stand_by(group: ProcessGroup) -> None:
    async def do() -> bool:
        assert group.parent.exit_code is None, group.parent.output()
        names = ("rudder_breaker_open", "rudder_in_flight_records", "rudder_commit_lag_records")
        return [[await group.metric(number, name) for name in names] for number in range(SIZE)] == [[1, 0, 0]] * SIZE

    await until(do, what=lambda: f"all stand by: {group.parent.output()}")


async def metric_of(worker: WorkerProcess, name: str) -> float:
    return sum(value for (own, _), value in (await samples(worker)).items() if own == name)


async def reopens(system: System, group: ProcessGroup, later: WorkerProcess) -> bool:
    """Wait until the breaker is open (True), or all is committed."""

    async def is_open() -> bool:
        return any(one["closed_at"] is None for one in await rows(system.database_url, "worker_breakers"))

    async def either() -> bool:
        assert (group.parent.exit_code, later.exit_code) == (None, None), group.parent.output()
        return await is_open() or await system.committed()

    await until(either, what=lambda: f"the group continues: {group.parent.output()}")
    return await is_open()
