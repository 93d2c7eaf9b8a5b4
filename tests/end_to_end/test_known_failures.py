"""Ways in which trusted systems of this kind have failed, each provoked among real parts."""

import signal
from collections.abc import Iterable
from dataclasses import replace
from uuid import uuid4

import pytest
from confluent_kafka import Message

from tests.conformance.deadlines import until
from tests.conformance.groups import members_of
from tests.conformance.producers import ToSend, headers_of
from tests.end_to_end.blocked_writes import blocked_writes
from tests.end_to_end.demo_day import day_of
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.verify_reports import verify_report
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics

SEED = 31
ON_APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
PATIENT = {"RUDDER_DATABASE_TIMEOUT_SECONDS": "60"}
SOON_MISSED = {"RUDDER_SESSION_TIMEOUT_SECONDS": "2"}
TEN_YEARS = 10 * 365 * 24 * 60
"""Ten years in minutes: the time between two events of one release."""


async def assert_nothing_is_lost_or_doubled(system: System) -> None:
    """Checked by `verify` and by the oracle."""
    assert (await verify_report(system))["findings"] == []
    assert (await check_with_oracle(system)).differences == []
    assert await system.committed()


async def stopped(system: System, *workers: WorkerProcess) -> None:
    for worker in workers:
        await worker.ready()
    await system.caught_up(*workers)
    for worker in workers:
        assert await worker.stop() == 0


def together(records: Iterable[ToSend]) -> list[ToSend]:
    return [replace(record, partition=0) for record in records]


@ON_APACHE
@pytest.mark.parametrize("succeeded", [False, True], ids=["nobody succeeds it", "another succeeds it"])
async def test_expelled_worker_joins_again_and_continues(system: System, succeeded: bool) -> None:
    """UNKNOWN_MEMBER_ID for its heartbeat and its commit: SIGSTOP past the session timeout, with an event under way.
    Later events are handled and committed, and no event takes effect twice, though another worker may handle it too.
    """
    builder, settings = ReleaseRecords(), PATIENT | SOON_MISSED
    with system.worker("forgotten", **settings) as worker:
        await system.send(together(builder.approved()))
        await system.caught_up(worker)
        [known_as] = await members_of(system.bootstrap_servers, system.group_id)
        workers = [worker]
        try:
            async with blocked_writes(system.database_url) as blocked:
                await system.send(together([builder.deploy("requested")]))
                await blocked.wait_for()
                worker.send_signal(signal.SIGSTOP)
                await forgotten(system, known_as)
                if succeeded:
                    workers.append(system.worker("successor", **settings))
                    await blocked.wait_for(2)
            worker.send_signal(signal.SIGCONT)
            await system.send(together([builder.deploy("started"), builder.deploy("succeeded")]))

            async def all_are_in_again() -> bool:
                names = await members_of(system.bootstrap_servers, system.group_id)
                return len(names) == len(workers) and known_as not in names and all(names.values())

            await until(all_are_in_again, what=lambda: f"it has joined again: {worker.output()}")
            await system.send(together([builder.deploy("rolled_back")]))
            await stopped(system, *workers)
        finally:
            for each in workers:
                each.kill()
    [deployment] = (await system.rows())["release_deployments"]
    assert deployment["status"] == "ROLLED_BACK"
    await assert_nothing_is_lost_or_doubled(system)


async def forgotten(system: System, member_id: str) -> None:
    async def is_forgotten() -> bool:
        return member_id not in await members_of(system.bootstrap_servers, system.group_id)

    await until(is_forgotten, what="its session is over")


@ON_APACHE
async def test_expelled_worker_reverts_no_commit_of_its_successor(system: System) -> None:
    """SIGSTOP with finished work that is not committed; the successor commits this and later offsets, and leaves. An
    empty group accepts a commit from any client, so the first worker must not commit its old offsets.
    """
    builder, settings = ReleaseRecords(), SOON_MISSED | {"RUDDER_COMMIT_INTERVAL_SECONDS": "1000"}
    first = [*builder.approved(), builder.deploy("requested")]
    with system.worker("forgotten", **settings) as worker:
        await worker.ready()
        await system.send(together(first))

        async def all_is_done() -> bool:
            assert worker.exit_code is None, worker.output()
            return len(await system.read(system.topics.deployment_status)) == 1

        await until(all_is_done, what=lambda: f"all is done: {worker.output()}")
        assert not await system.committed()
        [known_as] = await members_of(system.bootstrap_servers, system.group_id)
        worker.send_signal(signal.SIGSTOP)
        await forgotten(system, known_as)
        with system.worker("successor", **SOON_MISSED) as successor:
            await system.send(together([builder.deploy("started"), builder.deploy("succeeded")]))
            await stopped(system, successor)
        assert not await members_of(system.bootstrap_servers, system.group_id)
        worker.send_signal(signal.SIGCONT)

        async def is_in_again() -> bool:
            assert worker.exit_code is None, worker.output()
            return any((await members_of(system.bootstrap_servers, system.group_id)).values())

        await until(is_in_again, what=lambda: f"it has joined again: {worker.output()}")
        assert await system.committed()
        assert await worker.stop() == 0
    await assert_nothing_is_lost_or_doubled(system)


async def test_old_event_is_known_after_many_others_and_a_restart(system: System) -> None:
    """Deduplication has no window: neither time, nor a number of events, nor a restart ends it."""
    builder, day = ReleaseRecords(), day_of(SEED, releases=25)
    first = [
        *builder.approved(),
        builder.deploy("requested"),
        builder.deploy("succeeded"),
        builder.record("release.rejected"),
    ]
    with system.worker() as worker:
        await system.send(first)
        await system.caught_up(worker)
        await system.send(day.daytime)
        builder.count += TEN_YEARS
        await system.send([builder.deploy("requested"), builder.deploy("failed")])
        await stopped(system, worker)
    rows, heard = await system.rows(), await said(system)
    with system.worker("restarted") as worker:
        await system.send([*first, *(replace(record, timestamp_ms=1) for record in first)])
        await stopped(system, worker)
    assert await system.rows() == rows
    assert set(await said(system)) == set(heard)
    await assert_nothing_is_lost_or_doubled(system)


async def said(system: System) -> list[tuple[str | None, str, bytes | None]]:
    """The topic, id and value of each status event."""
    topics = (system.topics.deployment_status, system.topics.release_status)
    messages: list[Message] = [message for topic in topics for message in await system.read(topic)]
    return [(message.topic(), str(dict(headers_of(message))["ce_id"]), _value(message)) for message in messages]


def _value(message: Message) -> bytes | None:
    value = message.value()
    assert not isinstance(value, str)
    return value


@ON_APACHE
@pytest.mark.parametrize("killed", [False, True], ids=["the same worker", "its heir"])
async def test_dead_letter_that_cannot_be_sent_is_not_lost(system: System, killed: bool) -> None:
    """The row is written and publishing fails repeatedly; the record's offset stays uncommitted, the others go on."""
    topic = f"dead-letters.{uuid4().hex}"
    system = replace(system, topics=replace(system.topics, dead_letters=topic))
    builder = ReleaseRecords()
    settings = SOON_MISSED | {"RUDDER_KAFKA_REQUEST_TIMEOUT_SECONDS": "3"}
    bad = ToSend(value=b"no event", key=b"key", headers=(("a", b"b"),), partition=0)
    try:
        with system.worker("first", **settings) as worker:
            await system.send([bad, *(replace(record, partition=1) for record in builder.approved())])

            async def others_are_done() -> bool:
                assert worker.exit_code is None, worker.output()
                return (await system.committed_offsets())[1] == 3

            await until(others_are_done, what=lambda: f"the others are committed: {worker.output()}")

            async def failed_or_forgotten() -> bool:
                return "message.retried" in worker.stderr or (await system.committed_offsets())[0] > 0

            await until(failed_or_forgotten, what=lambda: f"the letter fails: {worker.output()}")
            assert len((await system.rows())["release_event_rejections"]) == 1
            assert (await system.committed_offsets())[0] == 0
            if killed:
                worker.kill()
            await create_topics(system.bootstrap_servers, {topic: 1})
            if not killed:
                await stopped(system, worker)
        if killed:
            with system.worker("heir", **settings) as successor:
                await stopped(system, successor)
        [letter, *_] = await system.read(topic)
        assert (letter.key(), letter.value(), headers_of(letter)[0]) == (b"key", b"no event", ("a", b"b"))
        await assert_nothing_is_lost_or_doubled(system)
    finally:
        delete_topics(system.bootstrap_servers, [topic])
