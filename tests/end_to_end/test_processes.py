"""One machine with several cores: worker processes that share the work, of which any may die, and none outlives its
parent."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from tests.conformance.deadlines import until
from tests.conformance.table_contents import insert_environments
from tests.end_to_end.demo_day import Day, day_of
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.process_group import SIZE, ProcessGroup, runs
from tests.end_to_end.system import System
from tests.error_lines import error_lines
from tests.testkit.postgres import PostgresServer

pytestmark = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)

RELEASES = 40


async def activities_above(system: System, group: ProcessGroup, count: int) -> None:
    """Waits until so many events have had their effect."""

    async def reached() -> bool:
        assert group.parent.exit_code is None, group.parent.output()
        return len((await system.rows())["release_activity_logs"]) > count

    await until(reached, what=lambda: f"more than {count} entries: {group.parent.output()}")


async def finish(system: System, group: ProcessGroup, day: Day) -> None:
    """The rest of the day; then rows and topics are what the oracle expects, and nothing is left to do."""
    await system.caught_up(group.parent)
    await system.send(day.evening)
    await system.caught_up(group.parent)
    assert await group.parent.stop() == 0, group.parent.output()
    checked = await check_with_oracle(system)
    assert checked.records == len(day.daytime) + len(day.evening)
    assert checked.differences[:20] == []


async def test_processes_share_the_partitions(system: System) -> None:
    """Each is a member of the group with a port of its own, and every log line of it says which it is."""
    day = day_of(5, releases=RELEASES)
    await insert_environments(system.database_url, day.seed)
    with ProcessGroup(system) as group:
        await group.up()
        await system.send(day.daytime)
        await system.caught_up(group.parent)
        done = [await group.metric(number, "rudder_messages_total") for number in range(SIZE)]
        assert sum(done) == len(day.daytime)
        assert all(done), done
        await finish(system, group, day)
        assert [line["process"] for line in group.lines("process.started")] == [0, 1]
        assert group.lines("process.exited") == []
        assert sorted(line["process"] for line in group.lines("worker.stopped")) == [0, 1]
        assert {line["process"] for line in group.lines("partitions.assigned")} == {0, 1}
        assert (group.parent.stdout, error_lines(group.parent.stderr)) == ("", [])
        assert not any(runs(pid) for pid in group.pids)


async def test_killed_process_is_replaced_and_nothing_is_lost(system: System) -> None:
    """Its death is said once, with the signal; the others work on meanwhile, under the parent that they had."""
    day = day_of(13, releases=RELEASES)
    await insert_environments(system.database_url, day.seed)
    with ProcessGroup(system) as group:
        await group.up()
        await system.send(day.daytime)
        await activities_above(system, group, 40)
        os.kill(group.pid(1), signal.SIGKILL)
        await group.parent.until(lambda: len(group.lines("process.started", 1)) == 2, what="it is started again")
        await group.up()
        await finish(system, group, day)
        [died] = group.lines("process.exited")
        assert (died["process"], died["signal"], "exit_code" in died) == (1, "SIGKILL", False)
        assert 0 < died["delay_seconds"] <= 0.5
        assert len(group.lines("process.started")) == SIZE + 1


async def test_replacement_waits_for_an_unavailable_database(system: System, postgres_server: PostgresServer) -> None:
    """How long to wait at start is meant for the start of all: it must not end those that are already waiting."""
    with ProcessGroup(system, RUDDER_STARTUP_TIMEOUT_SECONDS="0") as group:
        await group.up()
        await asyncio.to_thread(postgres_server.stop)
        os.kill(group.pid(1), signal.SIGKILL)
        await group.parent.until(lambda: bool(group.lines("dependency.unavailable", 1)), what="it waits")
        await asyncio.to_thread(postgres_server.start)
        await group.up()
        assert await group.parent.stop() == 0


def _of_the_parent(group: ProcessGroup, number: signal.Signals) -> None:
    group.parent.send_signal(number)


def _of_its_process_group(group: ProcessGroup, number: signal.Signals) -> None:
    """As a terminal does at Ctrl-C."""
    os.killpg(group.parent.pid, number)


def _of_each(group: ProcessGroup, number: signal.Signals) -> None:
    """As some service managers do with all that they find."""
    group.parent.send_signal(number)
    for pid in group.pids:
        os.kill(pid, number)


@pytest.mark.parametrize(
    ("addressed", "number", "exit_code"),
    [
        (_of_the_parent, signal.SIGTERM, 0),
        (_of_the_parent, signal.SIGINT, 130),
        (_of_its_process_group, signal.SIGINT, 130),
        (_of_each, signal.SIGTERM, 0),
        (_of_each, signal.SIGHUP, 0),
    ],
    ids=["SIGTERM", "SIGINT", "Ctrl-C", "SIGTERM-to-each", "SIGHUP-to-each"],
)
async def test_signal_ends_all_processes_in_order(
    system: System, addressed: Callable[[ProcessGroup, signal.Signals], None], number: signal.Signals, exit_code: int
) -> None:
    """In the middle of a stream, and however many of them it reaches: what was begun is finished and committed."""
    day = day_of(3, releases=16)
    await system.send(day.daytime)
    with ProcessGroup(system) as group:
        await group.up()
        await activities_above(system, group, 20)
        addressed(group, number)
        assert await group.parent.ended() == exit_code, group.parent.output()
        assert not any(runs(pid) for pid in group.pids)
        assert sorted(line["process"] for line in group.lines("worker.stopped")) == [0, 1]
        assert group.lines("process.killed") == []
        assert error_lines(group.parent.stderr) == []
    assert await system.committed_records() > 0


async def test_second_signal_kills_a_hanging_process(system: System) -> None:
    """The first one is waited with as long as the work may take; both are passed on."""
    with ProcessGroup(system, RUDDER_DRAIN_TIMEOUT_SECONDS="250") as group:
        await group.up()
        os.kill(group.pid(0), signal.SIGSTOP)
        try:
            group.parent.send_signal(signal.SIGINT)
            await group.parent.until(lambda: bool(group.lines("worker.stopped", 1)), what="the other has stopped")
            assert runs(group.pid(0))
            group.parent.send_signal(signal.SIGINT)
            assert await group.parent.ended() == 130
            assert not runs(group.pid(0))
            assert [line["process"] for line in group.lines("process.killed")] == [0]
        finally:
            if runs(group.pid(0)):
                os.kill(group.pid(0), signal.SIGKILL)


async def test_killed_parent_ends_its_processes(system: System) -> None:
    """They stop in order, and commit what they have done."""
    day = day_of(3, releases=16)
    await system.send(day.daytime)
    with ProcessGroup(system, RUDDER_COMMIT_INTERVAL_SECONDS="1000") as group:
        await group.up()
        await activities_above(system, group, 20)
        group.parent.kill()
        await group.all_gone()
        assert sorted(line["process"] for line in group.lines("process.orphaned")) == [0, 1]
        assert sorted(line["process"] for line in group.lines("worker.stopped")) == [0, 1]
    assert await system.committed_records() > 0


async def test_configuration_error_of_all_processes_is_one_line(bare_system: System) -> None:
    """However many find it out; none is started again for it."""
    with ProcessGroup(bare_system) as group:
        assert await group.parent.ended() == 2
        [problem] = error_lines(group.parent.stderr)
        assert problem.startswith("rudder-worker: ")
        assert "rudder-worker migrate" in problem
        assert len(group.pids) == SIZE
        assert not any(runs(pid) for pid in group.pids)
        assert group.lines("process.exited") == []
