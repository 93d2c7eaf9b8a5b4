"""An outage of the database or the broker: the worker waits for its end, and loses or rejects no event."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial

import pytest
from confluent_kafka import KafkaException
from sqlalchemy import make_url

from tests.conformance.deadlines import until
from tests.conformance.producers import ToSend
from tests.conformance.table_contents import insert_environments
from tests.end_to_end.demo_day import day_of
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import RECORD_BYTES_MAX, System, create_system_topics, new_topics
from tests.end_to_end.test_endpoints import samples
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.apache_kafka import ApacheKafka
from tests.testkit.availability import started
from tests.testkit.counting_proxy import CountingProxy
from tests.testkit.faulty_proxy import FaultyProxy
from tests.testkit.kafka_jars import KafkaUnavailable
from tests.testkit.postgres import PostgresServer
from tests.testkit.proxied_kafka import ProxiedKafka

SEED = 5
ON_APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)


async def some_entries(system: System, worker: WorkerProcess) -> None:
    async def found() -> bool:
        assert worker.exit_code is None, worker.output()
        return len((await system.rows())["release_activity_logs"]) > 20

    await until(found, what=lambda: f"work is under way: {worker.output()}")


async def answers(worker: WorkerProcess, path: str, status: int) -> None:
    async def does() -> bool:
        assert worker.exit_code is None, worker.output()
        return await worker.status(path) == status

    await until(does, what=lambda: f"{path} answers {status}: {worker.output()}")


async def led_again(system: System) -> bool:
    """A broker that was killed answers before it leads its partitions again."""
    try:
        await system.committed()
    except KafkaException:
        return False
    return True


async def assert_all_is_done(system: System, worker: WorkerProcess) -> None:
    """All rows and topics match the oracle, and no event is rejected with `processing_error`."""
    await system.caught_up(worker)
    assert await worker.stop() == 0
    checked = await check_with_oracle(system)
    assert checked.differences[:10] == []
    assert "Traceback" not in worker.stderr
    reasons = {row["reason"] for row in (await system.rows())["release_event_rejections"]}
    assert "processing_error" not in reasons


@ON_APACHE
async def test_stopped_database_is_waited_for(system: System, postgres_server: PostgresServer) -> None:
    """/readyz reports the outage, /livez does not: a restart of the worker would not restore the database."""
    day = day_of(SEED, releases=25)
    await insert_environments(system.database_url, SEED)
    half = len(day.daytime) // 2
    with system.worker() as worker:
        await system.send(day.daytime[:half])
        await some_entries(system, worker)
        await asyncio.to_thread(postgres_server.stop)
        await system.send(day.daytime[half:])
        await answers(worker, "/readyz", 503)
        for _ in range(20):
            assert await worker.status("/livez") == 200
        letters = await system.read(system.topics.dead_letters)
        assert all(dict(letter.headers() or ())["rudder-reason"] != b"processing_error" for letter in letters)
        assert not await system.committed()
        await asyncio.to_thread(postgres_server.start)
        await answers(worker, "/readyz", 200)
        await system.caught_up(worker)
        await system.send(day.evening)
        await assert_all_is_done(system, worker)


@ON_APACHE
async def test_crashed_broker_is_waited_for(system: System, apache_kafka: ApacheKafka) -> None:
    """The worker survives the crash, and afterwards publishes everything in order."""
    day = day_of(SEED, releases=25)
    await insert_environments(system.database_url, SEED)
    with system.worker(RUDDER_SESSION_TIMEOUT_SECONDS="30") as worker:
        await system.send(day.daytime)
        await some_entries(system, worker)
        await asyncio.to_thread(apache_kafka.kill)
        for _ in range(20):
            assert await worker.status("/livez") == 200
        await asyncio.to_thread(apache_kafka.start)
        await until(lambda: led_again(system), what="all partitions have a leader")
        await system.caught_up(worker)
        await system.send(day.evening)
        await assert_all_is_done(system, worker)


LINES_MAX = 40
"""The limit of lines for a worker's whole run with one outage, at `info`."""

CONCURRENCY = 64


def releases(number: int) -> list[ToSend]:
    """One event for each of `number` releases, so that as many messages could attempt a write at the same time."""
    builders = [ReleaseRecords() for _ in range(number)]
    return [builder.deploy("succeeded", release={**builder.fields}) for builder in builders]


async def tries_that_failed(worker: WorkerProcess) -> float:
    return sum(value for (name, _), value in (await samples(worker)).items() if name == "rudder_retries_total")


async def is_away(worker: WorkerProcess, dependency: str) -> None:
    """/readyz names this dependency only, and the metric reports the outage; /livez does not change."""

    async def declared() -> bool:
        assert worker.exit_code is None, worker.output()
        return (await samples(worker))["rudder_dependency_up", (("dependency", dependency),)] == 0

    await until(declared, what=lambda: f"the {dependency} is awaited: {worker.output()}")
    answer = await worker.get("/readyz")
    assert (answer.status_code, set(answer.json())) == (503, {"status", dependency})
    assert answer.json()[dependency]
    assert await worker.status("/livez") == 200


def assert_told_once(worker: WorkerProcess, dependency: str) -> None:
    lines = [json.loads(line) for line in worker.stderr.splitlines()]
    assert len(lines) <= LINES_MAX, Counter(line["event"] for line in lines)
    assert not [line for line in lines if line["event"] == "message.retried"], "an outage explains it"
    [awaited] = [line for line in lines if line["event"] == "dependency.unavailable"]
    [ready] = [line for line in lines if line["event"] == "dependency.available" and "lasted_seconds" in line]
    assert awaited["dependency"] == ready["dependency"] == dependency
    assert awaited["cause"]


@ON_APACHE
async def test_one_probe_runs_while_the_database_is_unavailable(system: System) -> None:
    """Two hundred messages wait without attempts of their own, and go on when the database is available."""
    url = make_url(system.database_url)
    assert url.port
    async with CountingProxy.running(url.port) as proxy:
        behind = url.set(port=proxy.port).render_as_string(hide_password=False)
        with system.worker(RUDDER_DATABASE_URL=behind, RUDDER_LOG_LEVEL="info") as worker:
            await system.send(releases(50))
            await system.caught_up(worker)
            proxy.go_down()
            await system.send(releases(200))
            await is_away(worker, "database")
            for _ in range(3):  # the first round may see first attempts that still fail
                asked, failed = proxy.turned_away, await tries_that_failed(worker)
                await until(partial(lambda asked: proxy.turned_away > asked + 5, asked), what="further probes")
            assert await tries_that_failed(worker) == failed
            assert failed <= 2 * CONCURRENCY
            assert await system.read(system.topics.dead_letters) == []
            assert await system.committed_records() == 50
            proxy.down = False
            await answers(worker, "/readyz", 200)
            await assert_all_is_done(system, worker)
        assert_told_once(worker, "database")


@pytest.fixture(scope="module")
def proxied_kafka() -> Iterator[ProxiedKafka]:
    with started("apache", ProxiedKafka, missing=KafkaUnavailable) as server:
        yield server


@pytest.fixture
async def behind_a_proxy(
    proxied_kafka: ProxiedKafka, system: System
) -> AsyncIterator[tuple[System, CountingProxy, dict[str, str]]]:
    """A system on the broker's own port, the proxy, and the settings of a worker that connects through the proxy."""
    bootstrap_servers, topics = proxied_kafka.bootstrap_servers, new_topics()
    [way] = proxied_kafka.ways
    await create_system_topics(bootstrap_servers, topics, {"max.message.bytes": str(RECORD_BYTES_MAX)})
    settings = {"RUDDER_KAFKA_BOOTSTRAP_SERVERS": way.bootstrap_servers, "RUDDER_LOG_LEVEL": "info"}
    async with CountingProxy.running(way.behind, port=way.port) as proxy:
        yield replace(system, bootstrap_servers=bootstrap_servers, topics=topics), proxy, settings


@ON_APACHE
async def test_unavailable_broker_is_named_and_logged_once(
    behind_a_proxy: tuple[System, CountingProxy, dict[str, str]],
) -> None:
    """An idle worker detects the outage too; each kind of line from the reconnecting Kafka client is logged once."""
    system, proxy, settings = behind_a_proxy
    with system.worker(**settings, RUDDER_SESSION_TIMEOUT_SECONDS="30") as worker:
        await system.send(releases(50))
        await system.caught_up(worker)
        proxy.go_down()
        await is_away(worker, "broker")
        await system.send(releases(200))
        asked = proxy.turned_away
        await until(lambda: proxy.turned_away > asked + 50, what="it is asked again and again")
        assert await worker.status("/readyz") == 503
        assert await system.read(system.topics.dead_letters) == []
        proxy.down = False
        await answers(worker, "/readyz", 200)
        await assert_all_is_done(system, worker)
    assert_told_once(worker, "broker")


@ON_APACHE
async def test_interrupted_broker_loses_no_record(
    behind_a_proxy: tuple[System, CountingProxy, dict[str, str]],
) -> None:
    """The proxy cuts the connections repeatedly, before publications and before their acknowledgements."""
    system, proxy, settings = behind_a_proxy
    day = day_of(SEED, releases=25)
    await insert_environments(system.database_url, SEED)
    with system.worker(**settings, RUDDER_SESSION_TIMEOUT_SECONDS="30") as worker:
        third = len(day.daytime) // 3 + 1
        for begin in range(0, len(day.daytime), third):
            await system.send(day.daytime[begin : begin + third])  # each cut finds work, however fast the worker is
            trips = proxy.round_trips
            await until(partial(lambda trips: proxy.round_trips > trips + 20, trips), what="work is under way")
            proxy.go_down()
            await is_away(worker, "broker")
            proxy.down = False
            await answers(worker, "/readyz", 200)
        await system.caught_up(worker)
        await system.send(day.evening)
        await assert_all_is_done(system, worker)


@ON_APACHE
async def test_stop_in_an_outage_leaves_the_work_to_the_next(
    behind_a_proxy: tuple[System, CountingProxy, dict[str, str]],
) -> None:
    """The worker stops in order while messages wait for the dependency; the next worker handles them."""
    system, broker, settings = behind_a_proxy
    url = make_url(system.database_url)
    assert url.port
    async with CountingProxy.running(url.port) as database:
        behind = url.set(port=database.port).render_as_string(hide_password=False)
        for name, proxy in (("database", database), ("broker", broker)):
            with system.worker(name, **settings, RUDDER_DATABASE_URL=behind) as worker:
                await worker.ready()
                proxy.go_down()
                await system.send(releases(50))
                await is_away(worker, name)
                assert await worker.stop() == 0
            assert "Traceback" not in worker.stderr
            proxy.down = False
        with system.worker("next", **settings, RUDDER_DATABASE_URL=behind) as worker:
            await assert_all_is_done(system, worker)
    assert len((await system.rows())["releases"]) == 100


@ON_APACHE
async def test_silently_dropped_broker_connection_is_replaced(proxied_kafka: ProxiedKafka, system: System) -> None:
    """A rebooted firewall drops the packets of old connections without an error, and serves new ones. A request on the
    old connection would wait for the kernel's timeout, a quarter of an hour.
    """
    bootstrap_servers, topics = proxied_kafka.bootstrap_servers, new_topics()
    await create_system_topics(bootstrap_servers, topics, {"max.message.bytes": str(RECORD_BYTES_MAX)})
    system = replace(system, bootstrap_servers=bootstrap_servers, topics=topics)
    [way] = proxied_kafka.ways
    async with FaultyProxy.running(way.behind, port=way.port) as proxy:
        with system.worker(RUDDER_KAFKA_BOOTSTRAP_SERVERS=way.bootstrap_servers) as worker:
            await system.send(releases(5))
            await system.caught_up(worker)
            connections = proxy.connections
            proxy.forget()
            await until(lambda: proxy.connections > connections, what=lambda: f"it connects anew: {worker.output()}")
            await system.send(releases(5))
            await system.caught_up(worker)
            await answers(worker, "/readyz", 200)
            await assert_all_is_done(system, worker)
