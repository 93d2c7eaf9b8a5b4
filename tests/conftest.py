"""The servers that tests share, one of each per session, and the check that no test leaves anything running."""

import asyncio
import gc
import os
import signal
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
from pytest_asyncio import is_async_test
from xdist.remote import Producer

from tests import hypothesis_profile
from tests.testkit.apache_kafka import EXTERNAL_VARIABLE, ApacheKafka, ExternalKafka
from tests.testkit.availability import started, unavailable
from tests.testkit.embedded import embedded_broker_running
from tests.testkit.kafka_jars import KafkaUnavailable
from tests.testkit.mssql import empty_database
from tests.testkit.postgres import PostgresServer, PostgresUnavailable
from tests.testkit.remaining_tasks import remaining_tasks
from tests.testkit.scheduling import Scheduling
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import MakeTopic, delete_topics
from worker.demo.broker import DemoExtraMissing, EmbeddedBroker


def pytest_configure(config: pytest.Config) -> None:
    hypothesis_profile.load_profile(config)
    _stop_inheriting_ignored_signals()
    _leave_out_grammars()
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Thousands of tests stay until the end; each collection of garbage would look through all of them."""
    gc.freeze()
    gc.enable()


def _stop_inheriting_ignored_signals() -> None:
    """`nohup` and `&` ignore signals, and child processes inherit that; a handler is not inherited. So these signals
    still do not end the tests, and tests can send them to their child processes.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def _leave_out_grammars() -> None:
    """jsonschema imports 38 grammars of a library for the formats of IRIs, which no schema here has: 2.5 seconds of CPU
    time for each process that collects the tests.
    """
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # so that its import fails, which jsonschema expects


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """With `--dist loadscope`, the groups of tests/testkit/scheduling.py."""
    if config.getvalue("dist") != "loadscope":
        return None
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each reason to skip, with the number of tests: a server that is missing skips a hundred."""
    skipped = terminalreporter.getreports("skipped")
    reasons = Counter(report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple))
    if reasons:
        terminalreporter.section("skipped tests by reason")
    for reason, number in reasons.most_common():
        terminalreporter.write_line(f"{number:5} {reason.removeprefix('Skipped: ')}")


@pytest.fixture(autouse=True)
def nothing_is_left_running(request: pytest.FixtureRequest) -> None:
    """Autouse fixtures are torn down last: no other fixture ends what is still running then."""
    if is_async_test(request.node):
        request.getfixturevalue("_no_task_is_left")


@pytest.fixture
async def _no_task_is_left() -> AsyncIterator[None]:
    yield
    left = await remaining_tasks()
    assert not left, f"the test left tasks running: {left}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the session. A test may kill it; the next that asks for `postgres_url` finds it running."""
    with started("postgresql", PostgresServer, missing=PostgresUnavailable) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The asyncpg URL of a fresh, empty database, dropped afterwards; no connection to it may be left open."""
    postgres_server.ensure_running()
    name = f"test_{uuid.uuid4().hex}"
    yield postgres_server.create_database(name)
    postgres_server.ensure_running()
    gone = postgres_server.connections_gone(name)
    postgres_server.drop_database(name)
    assert gone, "the test left connections to its database open"


@pytest.fixture
def mssql_url() -> Iterator[str]:
    """The URL of a fresh, empty database on the server that RUDDER_TEST_MSSQL_URL names, dropped afterwards."""
    with empty_database() as url:
        yield url


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    try:
        with embedded_broker_running() as broker:
            yield broker
    except DemoExtraMissing as error:
        unavailable("embedded", str(error))


@pytest.fixture(scope="session")
def apache_kafka() -> Iterator[ApacheKafka | ExternalKafka]:
    """One Apache Kafka for the session. A test may kill it; the next one that asks for `bootstrap_servers` or
    `topics` finds it running.
    """
    if external := os.environ.get(EXTERNAL_VARIABLE):
        yield ExternalKafka(external)
        return
    with started("apache", ApacheKafka, missing=KafkaUnavailable) as server:
        yield server


@pytest.fixture(params=["embedded", "apache"])
def bootstrap_servers(request: pytest.FixtureRequest) -> str:
    """The broker's address, for each kind of broker in turn. For one kind only, in a test or a whole module:
    `@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)`.
    """
    if request.param == "embedded":
        embedded: EmbeddedBroker = request.getfixturevalue("embedded_broker")
        return embedded.bootstrap_servers
    apache: ApacheKafka | ExternalKafka = request.getfixturevalue("apache_kafka")
    apache.ensure_running()
    return apache.bootstrap_servers


@pytest.fixture
async def topics(bootstrap_servers: str) -> AsyncIterator[MakeTopic]:
    """Makes topics on the test's broker that no other test uses, and deletes them afterwards."""
    made: list[str] = []

    async def make(*, partitions: int = 1, name_hint: str = "topic", configs: Mapping[str, str] | None = None) -> str:
        name = f"{name_hint}.{uuid.uuid4().hex}"
        await create_topics(bootstrap_servers, {name: partitions}, configs)
        made.append(name)
        return name

    yield make
    if made:
        await asyncio.to_thread(delete_topics, bootstrap_servers, made)
