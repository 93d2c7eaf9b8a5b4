"""The store waits for an unavailable database, and reports a refused login as a configuration error."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import create_async_engine

from tests.conformance.deadlines import until
from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import contents, rows
from tests.testkit.postgres import PostgresServer
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.decide import decide
from worker.rules.errors import ConfigurationError, Conflict, Unavailable
from worker.rules.message import Message
from worker.rules.state import Applied, Outcome, Stale, State

LOCKED_OUT = "host all locked_out 127.0.0.1/32 scram-sha-256"


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[SqlStore]:
    await migrate(postgres_url)
    async with opened(postgres_url) as store:
        yield store


def terminate_connections(server: PostgresServer, url: str) -> None:
    name = make_url(url).database
    server.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")


@pytest.mark.parametrize("moment", ["before asking", "before writing"])
async def test_connection_lost_during_a_message_is_retried(
    store: SqlStore, postgres_server: PostgresServer, postgres_url: str, moment: str
) -> None:
    """Nothing is written, and the next message gets a connection that works."""
    builder = ReleaseMessages()
    await process_all(builder.approved(), store)
    before = await contents(postgres_url)
    message = builder.deploy("started")

    def judge_without_a_connection(state: State, message: Message) -> Outcome:
        terminate_connections(postgres_server, postgres_url)
        return decide(state, message)

    if moment == "before asking":
        # The loop does not turn meanwhile, so the store has no chance to notice.
        terminate_connections(postgres_server, postgres_url)
    with pytest.raises(Unavailable):
        await process(message, store, decide if moment == "before asking" else judge_without_a_connection)
    assert await contents(postgres_url) == before
    assert isinstance(await process(message, store), Applied)


async def test_connections_lost_while_idle_cost_no_event(
    store: SqlStore, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """A pool of dead connections, as a restarted database leaves one: each is replaced, none is offered twice."""
    pipelines = [ReleaseMessages() for _ in range(6)]
    await asyncio.gather(*(process(builder.created(), store) for builder in pipelines))
    await asyncio.to_thread(terminate_connections, postgres_server, postgres_url)

    async def submitted(builder: ReleaseMessages) -> None:
        message = builder.event("release.submitted")

        async def applied() -> bool:
            try:
                return isinstance(await process(message, store), Applied)
            except Unavailable:
                return False

        await until(applied, what="the pool is healed")

    await asyncio.gather(*map(submitted, pipelines))
    assert {release["status"] for release in await rows(postgres_url, "releases")} == {"IN_REVIEW"}


async def test_stopped_database_is_unavailable_until_it_restarts(
    store: SqlStore, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """No operation raises ConfigurationError; all operations succeed again after the restart."""
    builder = ReleaseMessages()
    await process(builder.created(), store)
    message = builder.event("release.submitted")
    await asyncio.to_thread(postgres_server.stop)
    async with opened(postgres_url, check=False) as newcomer:
        for one in (store, newcomer):
            for ask in (one.ping, one.check, lambda one=one: process(message, one)):
                with pytest.raises(Unavailable, match="PostgreSQL"):
                    await ask()
        await asyncio.to_thread(postgres_server.start)
        await newcomer.check()
    await store.ping()
    assert isinstance(await process(message, store), Applied)


async def test_database_crash_loses_and_repeats_nothing(
    store: SqlStore, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """An event that was decided and not written is decided again, and applied once."""
    builder = ReleaseMessages()
    await process(builder.created(), store)
    message = builder.event("release.submitted")

    def judge_before_the_crash(state: State, message: Message) -> Outcome:
        postgres_server.kill()
        return decide(state, message)

    with pytest.raises(Unavailable):
        await process(message, store, judge_before_the_crash)
    await asyncio.to_thread(postgres_server.start)
    assert isinstance(await process(message, store), Applied)
    [activity] = [e for e in await rows(postgres_url, "release_activity_logs") if e["status"] == "IN_REVIEW"]
    assert activity["activity_type"] == "RELEASE_STATUS_CHANGED"


async def test_locked_row_is_waited_for_and_then_unavailable(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """A lock that is not released in time is no fault of the message."""
    await migrate(postgres_url)
    builder = ReleaseMessages()
    submitted = builder.event("release.submitted")
    holder = create_async_engine(postgres_url)
    async with opened(postgres_url, timeout_seconds=0.5) as store:
        await process(builder.created(), store)
        async with holder.begin() as connection:
            await connection.execute(text("SELECT id FROM releases FOR UPDATE"))
            with pytest.raises(Unavailable):
                await process(submitted, store)
        assert isinstance(await process(submitted, store), Applied)
    await holder.dispose()


async def test_stalled_worker_blocks_no_other(postgres_url: str) -> None:
    """No row is locked between the load and the write: the other worker writes first, the stalled one retries."""
    await migrate(postgres_url)
    builder = ReleaseMessages()
    async with opened(postgres_url) as stalled:
        await process(builder.created(), stalled)
        submitted = builder.event("release.submitted")

        def judge_while_another_worker_writes(state: State, message: Message) -> Outcome:
            async def other() -> None:
                async with opened(postgres_url, timeout_seconds=2.0) as quick:
                    assert isinstance(await process(builder.event("release.submitted"), quick), Applied)

            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, other()).result()
            return decide(state, message)

        with pytest.raises(Conflict):
            await process(submitted, stalled, judge_while_another_worker_writes)
        assert isinstance(await process(submitted, stalled), Stale)


@pytest.fixture
def scram(postgres_server: PostgresServer, postgres_url: str) -> Iterator[str]:
    """The URL with a role that needs its password, `right`."""
    postgres_server.execute("create role locked_out login superuser password 'right'")
    path = postgres_server.execute("show hba_file")
    hba = f"string_to_table(pg_read_file('{path}'), e'\\n')"
    postgres_server.execute(f"create table hba as select {hba} as line")
    postgres_server.execute(f"copy (select '{LOCKED_OUT}' union all select line from hba) to '{path}'")
    postgres_server.execute("select pg_reload_conf()")
    yield make_url(postgres_url).set(username="locked_out", password="right").render_as_string(hide_password=False)
    postgres_server.ensure_running()
    postgres_server.execute(f"copy (select line from hba) to '{path}'")
    postgres_server.execute("drop table hba")
    postgres_server.execute("select pg_reload_conf()")
    postgres_server.execute("drop role locked_out")


async def test_wrong_password_is_a_configuration_error(scram: str, postgres_url: str) -> None:
    """The error does not contain the password."""
    await migrate(postgres_url)
    wrong = scram.replace("right", "s3cret")
    await migrate(postgres_url)  # the probe looks at the tables

    async def refusal() -> str:
        async with opened(wrong, check=False) as store:
            try:
                await store.ping()
            except ConfigurationError as error:
                return str(error)
        return ""

    # A server applies its new pg_hba.conf with a delay; until then it accepts every login.
    assert "s3cret" not in await until(refusal, what="the password is refused")
    async with opened(scram, check=False) as store:
        await store.ping()


@pytest.mark.parametrize("unknown", ["database", "role"])
async def test_unknown_database_or_role_is_a_configuration_error(postgres_url: str, unknown: str) -> None:
    """Waiting does not create a missing database or role."""
    known = make_url(postgres_url)
    wrong = known.set(database="nobody_knows") if unknown == "database" else known.set(username="nobody_knows")
    url = wrong.render_as_string(hide_password=False)
    async with opened(url, check=False) as store:
        with pytest.raises(ConfigurationError, match="nobody_knows"):
            await store.check()
        with pytest.raises(ConfigurationError, match="nobody_knows"):
            await store.ping()


async def test_full_server_is_waited_for(postgres_server: PostgresServer, postgres_url: str) -> None:
    """A server that takes no more connections is busy, not misconfigured."""
    await migrate(postgres_url)
    name = make_url(postgres_url).database
    postgres_server.execute(f'alter database "{name}" connection limit 0')
    postgres_server.execute("create role guest login")
    url = make_url(postgres_url).set(username="guest").render_as_string(hide_password=False)
    try:
        async with opened(url, check=False) as store:
            with pytest.raises(Unavailable):
                await store.check()
    finally:
        postgres_server.execute("drop role guest")


async def test_locked_sqlite_file_is_waited_for_then_unavailable(tmp_path: Path) -> None:
    """Another program that writes for long is no fault of the message."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'rudder.db'}"
    await migrate(url)
    message = ReleaseMessages().created()
    async with opened(url, timeout_seconds=0.2) as store:
        with closing(sqlite3.connect(tmp_path / "rudder.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                await process(message, store)
            other.execute("ROLLBACK")
        assert isinstance(await process(message, store), Applied)


async def test_refused_commit_leaves_no_open_transaction(tmp_path: Path) -> None:
    """Without WAL, as on a network file system, a reader blocks SQLite's COMMIT. Until the retry, the refused
    transaction must block neither other writers nor the next message.
    """
    path = tmp_path / "rudder.db"
    url = f"sqlite+aiosqlite:///{path}"
    await migrate(url)
    message = ReleaseMessages().created()
    async with opened(url, check=False, timeout_seconds=0.2) as store:
        event.listen(store._engine().sync_engine, "connect", _without_wal)
        await store.check()
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM releases").fetchall()
            with pytest.raises(Unavailable, match="locked"):
                await process(message, store)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("ROLLBACK")
        assert isinstance(await process(message, store), Applied)


def _without_wal(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = DELETE")
    cursor.close()


async def test_sqlite_file_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    """A missing folder may be mounted later."""
    async with opened(f"sqlite+aiosqlite:///{tmp_path / 'no' / 'rudder.db'}", check=False) as store:
        with pytest.raises(Unavailable, match="SQLite"):
            await store.check()

    def drivers_thread_ended() -> bool:
        # aiosqlite stops the thread of a connection that failed without waiting for it; the loop must outlive it.
        return not any("_connection_worker_thread" in thread.name for thread in threading.enumerate())

    await until(drivers_thread_ended, what="the driver's thread ends")
