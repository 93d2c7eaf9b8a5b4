"""A known event that is loaded is durable: its records are published again, and no crash may take it back."""

from collections.abc import Callable

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate, opened
from worker.db.postgresql.dialect import PostgresqlDialect
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.message import Message
from worker.rules.query import query_of

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

NOT_FLUSHED = "SELECT pg_current_wal_insert_lsn()"
FLUSHED = "SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn"


def applied() -> Message:
    return ReleaseMessages().created()


def rejected() -> Message:
    return ReleaseMessages().deploy("started")


async def commit_without_flush(message: Message, url: str) -> None:
    """As a message of a batch commits, before the batch's last one."""
    name = make_url(url).database
    connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(False))
    try:
        await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        async with opened(url) as store:
            await process(message, store)
        await connection.execute(f'ALTER DATABASE "{name}" RESET synchronous_commit')
    finally:
        await connection.close()


async def loaded_is_flushed(message: Message, url: str, store: SqlStore) -> bool:
    """Whether what the event's transaction wrote is flushed when the load returns, by the load or before."""
    connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(False))
    try:
        await commit_without_flush(message, url)
        written = await connection.fetchval(f"{NOT_FLUSHED}::text")
        [state] = await store.load([query_of(message)])
        assert state.activities or state.rejection
        return bool(await connection.fetchval(FLUSHED, written))
    finally:
        await connection.close()


@pytest.mark.parametrize("event", [applied, rejected], ids=lambda event: event.__name__)
async def test_load_of_a_known_event_flushes_it(event: Callable[[], Message], database_url: str) -> None:
    await migrate(database_url)
    async with opened(database_url) as store:
        assert await loaded_is_flushed(event(), database_url, store)


def test_statement_of_a_known_event_writes_to_the_log(database_url: str) -> None:
    """A commit that writes nothing waits for no flush."""
    del database_url
    assert "pg_logical_emit_message(TRUE" in PostgresqlDialect.fragments.flushed
