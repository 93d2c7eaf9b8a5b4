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
from tests.end_to_end.days import day_of
from tests.end_to_end.events import Story
from tests.end_to_end.held_writes import held_writes
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.stage import Stage
from tests.end_to_end.verifying import compared
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics

SEED = 31
ON_APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
PATIENT = {"RUDDER_DATABASE_TIMEOUT_SECONDS": "60"}
SOON_MISSED = {"RUDDER_SESSION_TIMEOUT_SECONDS": "2"}
TEN_YEARS = 10 * 365 * 24 * 60
"""In minutes, by which a story goes on."""


async def assert_nothing_is_lost_or_doubled(stage: Stage) -> None:
    """By `verify`, and by the oracle."""
    assert (await compared(stage))["findings"] == []
    assert (await check_with_oracle(stage)).differences == []
    assert await stage.committed()


async def stopped(stage: Stage, *workers: WorkerProcess) -> None:
    for worker in workers:
        await worker.ready()
    await stage.caught_up(*workers)
    for worker in workers:
        assert await worker.stop() == 0


def together(records: Iterable[ToSend]) -> list[ToSend]:
    return [replace(record, partition=0) for record in records]


@ON_APACHE
@pytest.mark.parametrize("succeeded", [False, True], ids=["nobody succeeds it", "another succeeds it"])
async def test_expelled_worker_joins_again_and_continues(stage: Stage, succeeded: bool) -> None:
    """UNKNOWN_MEMBER_ID, to its heartbeat and its commit: SIGSTOP for longer than its session, with an event in hand.
    What comes afterwards is handled and committed, and nothing twice, though another had the event in hand as well.
    """
    story, settings = Story(), PATIENT | SOON_MISSED
    with stage.worker("forgotten", **settings) as worker:
        await stage.send(together(story.approved()))
        await stage.caught_up(worker)
        [known_as] = await members_of(stage.bootstrap_servers, stage.group_id)
        workers = [worker]
        try:
            async with held_writes(stage.database_url) as held:
                await stage.send(together([story.deploy("requested")]))
                await held.waited_for()
                worker.send_signal(signal.SIGSTOP)
                await forgotten(stage, known_as)
                if succeeded:
                    workers.append(stage.worker("successor", **settings))
                    await held.waited_for(2)
            worker.send_signal(signal.SIGCONT)
            await stage.send(together([story.deploy("started"), story.deploy("succeeded")]))

            async def all_are_in_again() -> bool:
                names = await members_of(stage.bootstrap_servers, stage.group_id)
                return len(names) == len(workers) and known_as not in names and all(names.values())

            await until(all_are_in_again, what=lambda: f"it has joined again: {worker.told()}")
            await stage.send(together([story.deploy("rolled_back")]))
            await stopped(stage, *workers)
        finally:
            for each in workers:
                each.kill()
    [deployment] = (await stage.rows())["release_deployments"]
    assert deployment["status"] == "ROLLED_BACK"
    await assert_nothing_is_lost_or_doubled(stage)


async def forgotten(stage: Stage, member_id: str) -> None:
    async def is_forgotten() -> bool:
        return member_id not in await members_of(stage.bootstrap_servers, stage.group_id)

    await until(is_forgotten, what="its session is over")


@ON_APACHE
async def test_expelled_worker_reverts_no_commit_of_its_successor(stage: Stage) -> None:
    """SIGSTOP with work done and not committed; its successor commits all of it and more, and leaves nobody behind. A
    group that nobody is in takes a commit from anybody.
    """
    story, settings = Story(), SOON_MISSED | {"RUDDER_COMMIT_INTERVAL_SECONDS": "1000"}
    first = [*story.approved(), story.deploy("requested")]
    with stage.worker("forgotten", **settings) as worker:
        await worker.ready()
        await stage.send(together(first))

        async def all_is_done() -> bool:
            assert worker.exit_code is None, worker.told()
            return len(await stage.read(stage.topics.deployment_status)) == 1

        await until(all_is_done, what=lambda: f"all is done: {worker.told()}")
        assert not await stage.committed()
        [known_as] = await members_of(stage.bootstrap_servers, stage.group_id)
        worker.send_signal(signal.SIGSTOP)
        await forgotten(stage, known_as)
        with stage.worker("successor", **SOON_MISSED) as successor:
            await stage.send(together([story.deploy("started"), story.deploy("succeeded")]))
            await stopped(stage, successor)
        assert not await members_of(stage.bootstrap_servers, stage.group_id)
        worker.send_signal(signal.SIGCONT)

        async def is_in_again() -> bool:
            assert worker.exit_code is None, worker.told()
            return any((await members_of(stage.bootstrap_servers, stage.group_id)).values())

        await until(is_in_again, what=lambda: f"it has joined again: {worker.told()}")
        assert await stage.committed()
        assert await worker.stop() == 0
    await assert_nothing_is_lost_or_doubled(stage)


async def test_old_event_is_known_after_many_others_and_a_restart(stage: Stage) -> None:
    """A window of deduplication is none: it ends with time, with a count, or with the process that remembers."""
    story, day = Story(), day_of(SEED, releases=25)
    first = [*story.approved(), story.deploy("requested"), story.deploy("succeeded"), story.tell("release.rejected")]
    with stage.worker() as worker:
        await stage.send(first)
        await stage.caught_up(worker)
        await stage.send(day.daytime)
        story.told += TEN_YEARS
        await stage.send([story.deploy("requested"), story.deploy("failed")])
        await stopped(stage, worker)
    rows, heard = await stage.rows(), await said(stage)
    with stage.worker("restarted") as worker:
        await stage.send([*first, *(replace(record, timestamp_ms=1) for record in first)])
        await stopped(stage, worker)
    assert await stage.rows() == rows
    assert set(await said(stage)) == set(heard)
    await assert_nothing_is_lost_or_doubled(stage)


async def said(stage: Stage) -> list[tuple[str | None, str, bytes | None]]:
    """By which id, and what, a subscriber hears of changes."""
    topics = (stage.topics.deployment_status, stage.topics.release_status)
    messages: list[Message] = [message for topic in topics for message in await stage.read(topic)]
    return [(message.topic(), str(dict(headers_of(message))["ce_id"]), _value(message)) for message in messages]


def _value(message: Message) -> bytes | None:
    value = message.value()
    assert not isinstance(value, str)
    return value


@ON_APACHE
@pytest.mark.parametrize("killed", [False, True], ids=["the same worker", "its heir"])
async def test_dead_letter_that_cannot_be_sent_is_not_lost(stage: Stage, killed: bool) -> None:
    """The row is written, the producer fails, again and again; the record's offset waits, and so does nobody else."""
    topic = f"dead-letters.{uuid4().hex}"
    stage = replace(stage, topics=replace(stage.topics, dead_letters=topic))
    story = Story()
    settings = SOON_MISSED | {"RUDDER_KAFKA_REQUEST_TIMEOUT_SECONDS": "3"}
    bad = ToSend(value=b"no event", key=b"key", headers=(("a", b"b"),), partition=0)
    try:
        with stage.worker("first", **settings) as worker:
            await stage.send([bad, *(replace(record, partition=1) for record in story.approved())])

            async def others_are_done() -> bool:
                assert worker.exit_code is None, worker.told()
                return (await stage.committed_offsets())[1] == 3

            await until(others_are_done, what=lambda: f"the others are committed: {worker.told()}")

            async def failed_or_forgotten() -> bool:
                return "message.retried" in worker.stderr or (await stage.committed_offsets())[0] > 0

            await until(failed_or_forgotten, what=lambda: f"the letter fails: {worker.told()}")
            assert len((await stage.rows())["release_event_rejections"]) == 1
            assert (await stage.committed_offsets())[0] == 0
            if killed:
                worker.kill()
            await create_topics(stage.bootstrap_servers, {topic: 1})
            if not killed:
                await stopped(stage, worker)
        if killed:
            with stage.worker("heir", **settings) as heir:
                await stopped(stage, heir)
        [letter, *_] = await stage.read(topic)
        assert (letter.key(), letter.value(), headers_of(letter)[0]) == (b"key", b"no event", ("a", b"b"))
        await assert_nothing_is_lost_or_doubled(stage)
    finally:
        delete_topics(stage.bootstrap_servers, [topic])
