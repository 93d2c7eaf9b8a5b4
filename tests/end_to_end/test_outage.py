"""A database or a broker that goes away while events flow: waited out, however long; nothing is lost or rejected."""

import asyncio

import pytest

from tests.conformance.contents import insert_environments
from tests.conformance.deadlines import until
from tests.end_to_end.days import day_of
from tests.end_to_end.stage import Stage
from tests.end_to_end.worker_process import WorkerProcess
from tests.servers.apache_kafka import ApacheKafka
from tests.servers.postgres import PostgresServer

SEED = 5
ON_APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)


async def some_entries(stage: Stage, worker: WorkerProcess) -> None:
    async def found() -> bool:
        assert worker.exit_code is None, worker.told()
        return len((await stage.rows())["release_activity_logs"]) > 20

    await until(found, what=lambda: f"work is under way: {worker.told()}")


async def answers(worker: WorkerProcess, path: str, status: int) -> None:
    async def does() -> bool:
        assert worker.exit_code is None, worker.told()
        return await worker.status(path) == status

    await until(does, what=lambda: f"{path} answers {status}: {worker.told()}")


async def assert_all_is_done(stage: Stage, worker: WorkerProcess) -> None:
    """As predicted, and each bad event of the day is the only kind of dead letter."""
    await stage.caught_up(worker)
    assert await worker.stop() == 0
    counted = await stage.recount()
    assert list(counted.differences[:10]) == []
    assert "Traceback" not in worker.stderr
    reasons = {row["reason"] for row in (await stage.rows())["release_event_rejections"]}
    assert "processing_error" not in reasons


@ON_APACHE
async def test_a_database_that_stops_in_mid_stream_is_waited_out(stage: Stage, postgres_server: PostgresServer) -> None:
    """/readyz tells, /livez does not: restarting the worker would bring no database back."""
    day = day_of(SEED, releases=25)
    await insert_environments(stage.database_url, SEED)
    half = len(day.daytime) // 2
    with stage.worker() as worker:
        await stage.send(day.daytime[:half])
        await some_entries(stage, worker)
        await asyncio.to_thread(postgres_server.stop)
        await stage.send(day.daytime[half:])
        await answers(worker, "/readyz", 503)
        for _ in range(20):
            assert await worker.status("/livez") == 200
        letters = await stage.read(stage.topics.dead_letters)
        assert all(dict(letter.headers() or ())["rudder-reason"] != b"processing_error" for letter in letters)
        assert not await stage.committed()
        await asyncio.to_thread(postgres_server.start)
        await answers(worker, "/readyz", 200)
        await stage.caught_up(worker)
        await stage.send(day.evening)
        await assert_all_is_done(stage, worker)


@ON_APACHE
async def test_a_broker_that_crashes_in_mid_stream_is_waited_out(stage: Stage, apache_kafka: ApacheKafka) -> None:
    """The worker lives through it, and after it all is on its topics, in order."""
    day = day_of(SEED, releases=25)
    await insert_environments(stage.database_url, SEED)
    with stage.worker(RUDDER_SESSION_TIMEOUT_SECONDS="30") as worker:
        await stage.send(day.daytime)
        await some_entries(stage, worker)
        await asyncio.to_thread(apache_kafka.kill)
        for _ in range(20):
            assert await worker.status("/livez") == 200
        await asyncio.to_thread(apache_kafka.start)
        await stage.caught_up(worker)
        await stage.send(day.evening)
        await assert_all_is_done(stage, worker)
