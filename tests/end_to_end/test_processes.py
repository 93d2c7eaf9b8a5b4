"""One machine with several cores: worker processes that share the work, of which any may die, and none outlives its
parent."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from tests.complaints import complaints
from tests.conformance.contents import insert_environments
from tests.conformance.deadlines import until
from tests.end_to_end.days import Day, day_of
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.process_family import SIZE, ProcessFamily, runs
from tests.end_to_end.stage import Stage
from tests.testkit.postgres import PostgresServer

pytestmark = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)

RELEASES = 40


async def entries_above(stage: Stage, family: ProcessFamily, count: int) -> None:
    """Waits until so many events have had their effect."""

    async def reached() -> bool:
        assert family.parent.exit_code is None, family.parent.told()
        return len((await stage.rows())["release_activity_logs"]) > count

    await until(reached, what=lambda: f"more than {count} entries: {family.parent.told()}")


async def finish(stage: Stage, family: ProcessFamily, day: Day) -> None:
    """The rest of the day; then rows and topics are what the oracle expects, and nothing is left to do."""
    await stage.caught_up(family.parent)
    await stage.send(day.evening)
    await stage.caught_up(family.parent)
    assert await family.parent.stop() == 0, family.parent.told()
    checked = await check_with_oracle(stage)
    assert checked.records == len(day.daytime) + len(day.evening)
    assert checked.differences[:20] == []


async def test_processes_share_the_partitions(stage: Stage) -> None:
    """Each is a member of the group with a port of its own, and every log line of it says which it is."""
    day = day_of(5, releases=RELEASES)
    await insert_environments(stage.database_url, day.seed)
    with ProcessFamily(stage) as family:
        await family.up()
        await stage.send(day.daytime)
        await stage.caught_up(family.parent)
        done = [await family.metric(number, "rudder_messages_total") for number in range(SIZE)]
        assert sum(done) == len(day.daytime)
        assert all(done), done
        await finish(stage, family, day)
        assert [line["process"] for line in family.lines("process.started")] == [0, 1]
        assert family.lines("process.exited") == []
        assert sorted(line["process"] for line in family.lines("worker.stopped")) == [0, 1]
        assert {line["process"] for line in family.lines("partitions.assigned")} == {0, 1}
        assert (family.parent.stdout, complaints(family.parent.stderr)) == ("", [])
        assert not any(runs(pid) for pid in family.pids)


async def test_killed_process_is_replaced_and_nothing_is_lost(stage: Stage) -> None:
    """Its death is said once, with the signal; the others work on meanwhile, under the parent that they had."""
    day = day_of(13, releases=RELEASES)
    await insert_environments(stage.database_url, day.seed)
    with ProcessFamily(stage) as family:
        await family.up()
        await stage.send(day.daytime)
        await entries_above(stage, family, 40)
        os.kill(family.pid(1), signal.SIGKILL)
        await family.parent.until(lambda: len(family.lines("process.started", 1)) == 2, what="it is started again")
        await family.up()
        await finish(stage, family, day)
        [died] = family.lines("process.exited")
        assert (died["process"], died["signal"], "exit_code" in died) == (1, "SIGKILL", False)
        assert 0 < died["delay_seconds"] <= 0.5
        assert len(family.lines("process.started")) == SIZE + 1


async def test_replacement_waits_for_an_unavailable_database(stage: Stage, postgres_server: PostgresServer) -> None:
    """How long to wait at start is meant for the start of all: it must not end those that are already waiting."""
    with ProcessFamily(stage, RUDDER_STARTUP_TIMEOUT_SECONDS="0") as family:
        await family.up()
        await asyncio.to_thread(postgres_server.stop)
        os.kill(family.pid(1), signal.SIGKILL)
        await family.parent.until(lambda: bool(family.lines("dependency.unavailable", 1)), what="it waits")
        await asyncio.to_thread(postgres_server.start)
        await family.up()
        assert await family.parent.stop() == 0


def _of_the_parent(family: ProcessFamily, number: signal.Signals) -> None:
    family.parent.send_signal(number)


def _of_its_process_group(family: ProcessFamily, number: signal.Signals) -> None:
    """As a terminal does at Ctrl-C."""
    os.killpg(family.parent.pid, number)


def _of_each(family: ProcessFamily, number: signal.Signals) -> None:
    """As some service managers do with all that they find."""
    family.parent.send_signal(number)
    for pid in family.pids:
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
    stage: Stage, addressed: Callable[[ProcessFamily, signal.Signals], None], number: signal.Signals, exit_code: int
) -> None:
    """In the middle of a stream, and however many of them it reaches: what was begun is finished and committed."""
    day = day_of(3, releases=16)
    await stage.send(day.daytime)
    with ProcessFamily(stage) as family:
        await family.up()
        await entries_above(stage, family, 20)
        addressed(family, number)
        assert await family.parent.ended() == exit_code, family.parent.told()
        assert not any(runs(pid) for pid in family.pids)
        assert sorted(line["process"] for line in family.lines("worker.stopped")) == [0, 1]
        assert family.lines("process.killed") == []
        assert complaints(family.parent.stderr) == []
    assert await stage.committed_records() > 0


async def test_second_signal_kills_a_hanging_process(stage: Stage) -> None:
    """The first one is waited with as long as the work may take; both are passed on."""
    with ProcessFamily(stage, RUDDER_DRAIN_TIMEOUT_SECONDS="250") as family:
        await family.up()
        os.kill(family.pid(0), signal.SIGSTOP)
        try:
            family.parent.send_signal(signal.SIGINT)
            await family.parent.until(lambda: bool(family.lines("worker.stopped", 1)), what="the other has stopped")
            assert runs(family.pid(0))
            family.parent.send_signal(signal.SIGINT)
            assert await family.parent.ended() == 130
            assert not runs(family.pid(0))
            assert [line["process"] for line in family.lines("process.killed")] == [0]
        finally:
            if runs(family.pid(0)):
                os.kill(family.pid(0), signal.SIGKILL)


async def test_killed_parent_ends_its_processes(stage: Stage) -> None:
    """They stop in order, and commit what they have done."""
    day = day_of(3, releases=16)
    await stage.send(day.daytime)
    with ProcessFamily(stage, RUDDER_COMMIT_INTERVAL_SECONDS="1000") as family:
        await family.up()
        await entries_above(stage, family, 20)
        family.parent.kill()
        await family.all_gone()
        assert sorted(line["process"] for line in family.lines("process.orphaned")) == [0, 1]
        assert sorted(line["process"] for line in family.lines("worker.stopped")) == [0, 1]
    assert await stage.committed_records() > 0


async def test_configuration_error_of_all_processes_is_one_line(bare_stage: Stage) -> None:
    """However many find it out; none is started again for it."""
    with ProcessFamily(bare_stage) as family:
        assert await family.parent.ended() == 2
        [complaint] = complaints(family.parent.stderr)
        assert complaint.startswith("rudder-worker: ")
        assert "rudder-worker migrate" in complaint
        assert len(family.pids) == SIZE
        assert not any(runs(pid) for pid in family.pids)
        assert family.lines("process.exited") == []
