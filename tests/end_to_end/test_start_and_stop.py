"""Start and stop: the worker waits for late dependencies, reports missing ones, and stops in order on a signal."""

import asyncio
import json
import signal
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests import hypothesis_profile
from tests.conformance.catalog import run
from tests.conformance.deadlines import until
from tests.end_to_end import conftest
from tests.end_to_end.blocked_writes import blocked_writes
from tests.end_to_end.demo_day import day_of
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.test_endpoints import samples
from tests.end_to_end.worker_process import WorkerProcess
from tests.error_lines import error_lines
from tests.testkit.postgres import PostgresServer
from worker.demo.broker import free_port
from worker.version import __version__

APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
EMBEDDED = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
SIGNALS = {signal.SIGTERM: 0, signal.SIGINT: 130, signal.SIGHUP: 0, signal.SIGQUIT: 0}
"""The exit code of each."""
STARTED_FIELDS = ("level", "version", "group", "client_id", "input_topics", "output_topics", "brokers", "database")
AT_ONCE = {"RUDDER_STARTUP_TIMEOUT_SECONDS": "0"}


def assert_one_clear_line(worker: WorkerProcess, *words: str) -> None:
    assert worker.exit_code == 2, worker.output()
    own = error_lines(worker.stderr)
    assert len(own) == 1, worker.output()
    assert own[0].startswith("rudder-worker: "), worker.output()
    assert all(word in own[0] for word in words), worker.output()
    assert "Traceback" not in worker.output()
    assert worker.stdout == ""


@pytest.mark.parametrize(
    ("pair", "number", "exit_code"),
    [
        *((conftest.EMBEDDED, number, code) for number, code in SIGNALS.items()),
        (conftest.APACHE, signal.SIGTERM, 0),
        *hypothesis_profile.repeated(
            *((conftest.APACHE, number, code) for number, code in SIGNALS.items() if number != signal.SIGTERM)
        ),
    ],
    indirect=["pair"],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else None,
)
async def test_signal_ends_the_worker_in_order(system: System, number: signal.Signals, exit_code: int) -> None:
    """The signal comes during a stream: the worker finishes and commits its work, and the next worker goes on."""
    day = day_of(3, releases=64)
    half = len(day.daytime) // 2
    await system.send(day.daytime[:half])
    with system.worker("first", RUDDER_CONCURRENCY="1", RUDDER_SESSION_TIMEOUT_SECONDS="30") as worker:

        async def under_way() -> bool:
            return len((await system.rows())["release_activity_logs"]) > 20

        await until(under_way, what=lambda: f"work is under way: {worker.output()}")
        worker.send_signal(signal.SIGSTOP)  # the stream outlasts the signal, however fast the worker is
        await system.send(day.daytime[half:])
        worker.send_signal(number)
        worker.send_signal(signal.SIGCONT)
        assert await worker.ended() == exit_code
        assert "Traceback" not in worker.stderr
    assert 0 < await system.committed_records() < len(day.daytime)
    with system.worker("second") as worker:
        await system.caught_up(worker)
        await system.send(day.evening)
        await system.caught_up(worker)
        assert await worker.stop() == 0
    checked = await check_with_oracle(system)
    assert checked.differences == []


@APACHE
async def test_http_is_served_until_the_drain_is_over(system: System) -> None:
    """During the drain an orchestrator sees a healthy worker, and Prometheus scrapes the last metrics."""
    patient = {"RUDDER_DATABASE_TIMEOUT_SECONDS": "120", "RUDDER_DRAIN_TIMEOUT_SECONDS": "120"}
    with system.worker(**patient, RUDDER_LOG_LEVEL="info") as worker:
        await worker.ready()
        async with blocked_writes(system.database_url) as blocked:
            builder = ReleaseRecords()
            await system.send([builder.record("release.created", builder.fields)])
            await blocked.wait_for()
            worker.send_signal(signal.SIGTERM)
            await worker.until(lambda: "worker.stopping" in worker.stderr, what="it stops")
            for _ in range(30):  # more than one round of the HTTP server
                assert [await worker.status(path) for path in ("/livez", "/readyz")] == [200, 200]
                assert (await samples(worker))["rudder_in_flight_records", ()] == 1
        assert await worker.ended() == 0
    assert await system.committed()


@APACHE
async def test_start_and_stop_are_logged_with_their_fields(system: System) -> None:
    """The lines identify the worker, omit the database's password, and give the cause of the stop."""
    url = make_url(system.database_url).set(password="s3cret").render_as_string(hide_password=False)
    settings = {"RUDDER_DATABASE_URL": url, "RUDDER_KAFKA_CLIENT_ID": "worker-7", "RUDDER_LOG_LEVEL": "info"}
    with system.worker(**settings) as worker:
        await worker.until(lambda: "worker.started" in worker.stderr, what="it has started")
        assert await worker.stop() == 0
    lines = [json.loads(line) for line in worker.stderr.splitlines()]
    [started] = [line for line in lines if line["event"] == "worker.started"]
    assert {name: started.get(name) for name in STARTED_FIELDS} == {
        "level": "info",
        "version": __version__,
        "group": system.group_id,
        "client_id": "worker-7",
        "input_topics": [system.topics.events],
        "output_topics": [
            system.topics.deployment_status,
            system.topics.release_status,
            system.topics.dead_letters,
            system.topics.deployment_state,
        ],
        "brokers": system.bootstrap_servers,
        "database": url.replace("s3cret", "***"),
    }
    assert "s3cret" not in worker.output()
    [stopping] = [line for line in lines if line["event"] == "worker.stopping"]
    assert (stopping["level"], stopping["cause"]) == ("info", "SIGTERM")


@EMBEDDED
async def test_idle_worker_ends_at_once(system: System) -> None:
    """An idle worker ends without a delay, and commits what it finished since the last commit."""
    with system.worker(RUDDER_COMMIT_INTERVAL_SECONDS="1000") as worker:
        await worker.ready()
        await system.send(ReleaseRecords().approved())

        async def done() -> bool:
            return len((await system.rows())["release_activity_logs"]) == 3

        await until(done, what=lambda: f"all is done: {worker.output()}")
        assert await worker.stop() == 0
        assert await system.committed()
        assert "Traceback" not in worker.stderr


@EMBEDDED
async def test_signal_ends_a_worker_that_waits_for_a_broker(system: System) -> None:
    """The broker never becomes available."""
    with system.worker(RUDDER_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}") as worker:
        await worker.until(lambda: "dependency.unavailable" in worker.stderr, what="it waits")
        assert await worker.status("/livez") == 200
        assert await worker.status("/readyz") == 503
        assert await worker.stop() == 0


@EMBEDDED
@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
async def test_unreachable_database_is_one_line(system: System, kind: str) -> None:
    """The worker does not wait: its startup timeout is zero."""
    nowhere = {
        "postgresql": f"postgresql+asyncpg://somebody:s3cret@127.0.0.1:{free_port()}/rudder",
        "sqlite": f"sqlite+aiosqlite:///{system.folder / 'missing' / 'rudder.sqlite3'}",
    }
    with system.worker(RUDDER_DATABASE_URL=nowhere[kind], **AT_ONCE) as worker:
        await worker.ended()
        assert_one_clear_line(worker, "database")
        assert "s3cret" not in worker.output()


@EMBEDDED
async def test_unreachable_broker_is_one_line(system: System) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    with system.worker(RUDDER_KAFKA_BOOTSTRAP_SERVERS=nowhere, **AT_ONCE) as worker:
        await worker.ended()
        assert_one_clear_line(worker, "broker", nowhere)


@EMBEDDED
async def test_database_without_tables_is_one_line(bare_system: System) -> None:
    """The start ends at once, whatever its timeout, and names the command that creates the tables."""
    with bare_system.worker() as worker:
        await worker.ended()
        assert_one_clear_line(worker, "rudder-worker migrate")


@EMBEDDED
async def test_session_timeout_the_broker_refuses_is_one_line(system: System) -> None:
    """The worker does not retry: waiting cannot correct a setting."""
    with system.worker(RUDDER_SESSION_TIMEOUT_SECONDS="0.5", RUDDER_STARTUP_TIMEOUT_SECONDS="3") as worker:
        await worker.ended()
        assert_one_clear_line(worker, "InvalidSessionTimeout")
        assert "dependency.unavailable" not in worker.stderr


@EMBEDDED
async def test_port_in_use_is_one_line(system: System) -> None:
    with system.worker("first") as first:
        await first.ready()
        taken = str(first.http_port)
        with system.worker("second", RUDDER_HTTP_PORT=taken) as second:
            await second.ended()
            assert_one_clear_line(second, taken)


@APACHE
async def test_database_that_starts_late_is_waited_for(system: System, postgres_server: PostgresServer) -> None:
    """Servers of a cluster start in any order, so the worker waits."""
    await asyncio.to_thread(postgres_server.stop)
    with system.worker() as worker:
        await worker.until(lambda: "dependency.unavailable" in worker.stderr, what="it waits")
        assert await worker.status("/livez") == 200
        assert await worker.status("/readyz") == 503
        await asyncio.to_thread(postgres_server.start)
        await worker.ready()
        builder = ReleaseRecords()
        await system.send(builder.approved())
        await system.caught_up(worker)
    assert [release["status"] for release in (await system.rows())["releases"]] == ["APPROVED"]


@EMBEDDED
async def test_migrate_makes_a_database_that_run_accepts(bare_system: System) -> None:
    """`migrate` may run twice, and up again after a downgrade."""
    for number, arguments in enumerate((["migrate"], ["migrate"], ["migrate", "--down", "base"], ["migrate"])):
        folder: Path = bare_system.folder
        with WorkerProcess(
            *arguments, settings=bare_system.settings, folder=folder, name=f"migrate-{number}"
        ) as migrating:
            assert await migrating.ended() == 0, migrating.output()
    assert await asyncio.to_thread(run, bare_system.database_url, "SELECT count(*) FROM releases") == [(0,)]
    with bare_system.worker() as worker:
        await worker.ready()
