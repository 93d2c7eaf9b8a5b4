"""A batch of messages in one write: what one of them meets is its own fault, and nothing of it is written in part."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.conformance.deadlines import until
from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate, opened, process_until_settled
from tests.conformance.table_contents import Contents, contents
from tests.conformance.transactions import approved, batching, chained, decided, stored
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.errors import ConfigurationError, Conflict, LockTimeout, StaleRead, Unavailable, Unprocessable
from worker.rules.message import Message

SIZE = 4
POSITIONS = [0, 2, SIZE - 1]
"""Of the message with the fault: the last one's commit is the one that flushes."""

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def dsn(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@asynccontextmanager
async def session(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Another session."""
    connection = await asyncpg.connect(dsn(url))
    try:
        yield connection
    finally:
        connection.terminate()


async def script(url: str, *statements: str) -> None:
    """Statements of several commands each."""
    async with session(url) as connection:
        for statement in statements:
            await connection.execute(statement)


@asynccontextmanager
async def locked(builder: ReleaseMessages, url: str) -> AsyncIterator[None]:
    """Another session holds the lock of a release."""
    async with session(url) as holder:
        await holder.execute("BEGIN")
        await holder.fetch("SELECT FROM release_versions WHERE release_mgt_id = $1 FOR UPDATE", builder.release_id)
        yield


async def someone_waits(url: str) -> None:
    """Return when a session waits for a lock."""
    async with session(url) as observer:
        waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        await until(lambda: observer.fetchval(waiting), what="a session waits for a lock")


def part_of(found: Contents, builder: ReleaseMessages) -> list[dict[str, Any]]:
    """The rows of one release."""
    return [row for table in found.values() for row in table if builder.release_id in row.values()]


@pytest.fixture
async def url(database_url: str) -> str:
    await migrate(database_url)
    return database_url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    async with opened(url) as store:
        yield store


class Batch:
    """Messages of `SIZE` releases that are loaded and not yet written; the one at `at` will meet a fault."""

    def __init__(self, store: SqlStore, url: str, at: int) -> None:
        self._store, self._url, self.at = store, url, at

    async def load(
        self, step: Callable[[ReleaseMessages], Message] = lambda builder: builder.deploy("started")
    ) -> None:
        """`step`: makes the message that meets the fault."""
        self.builders = await approved(SIZE, self._store)
        self.builder = self.builders[self.at]
        make = [step if number == self.at else (lambda one: one.deploy("started")) for number in range(SIZE)]
        self.messages = [one(builder) for one, builder in zip(make, self.builders, strict=True)]
        self.transactions = await decided(self.messages, self._store)

    async def write(self, error: type[Exception]) -> None:
        """The one fails with `error`, the others are written, and the store can be used afterwards."""
        before = part_of(await contents(self._url), self.builder)
        known = await stored(self._url)
        results = await self._store.write(self.transactions, patient=False)
        expected = [error if number == self.at else type(None) for number in range(SIZE)]
        assert [type(result) for result in results] == expected
        written = {message.id for number, message in enumerate(self.messages) if number != self.at}
        assert {message.id for message in self.messages} & await stored(self._url) == written
        assert known <= await stored(self._url)
        assert part_of(await contents(self._url), self.builder) == before, "nothing of it is written"
        [again, *_] = await approved(1, self._store)
        await process(again.deploy("started"), self._store)

    async def mend(self) -> None:
        """Without its cause the message has its effect, on a new load."""
        await process_until_settled(self.messages[self.at], self._store)
        assert {message.id for message in self.messages} <= await stored(self._url)


@pytest.fixture(params=POSITIONS)
def at(request: pytest.FixtureRequest) -> int:
    position: int = request.param
    return position


@pytest.fixture
def batch(store: SqlStore, url: str, at: int) -> Batch:
    return Batch(store, url, at)


async def test_conflict_of_one_message_is_its_own(batch: Batch, store: SqlStore) -> None:
    await batch.load()
    await process(batch.builder.deploy("requested", environment_id="elsewhere"), store)
    await batch.write(StaleRead)
    await batch.mend()


@pytest.mark.parametrize("text", ["\x00", "\ud800"], ids=["NUL", "surrogate"])
async def test_value_of_one_message_is_its_own_fault(batch: Batch, text: str, database_url: str) -> None:
    """The server refuses the one, and the driver cannot encode the other."""
    if database_url.startswith("sqlite") and text == "\x00":
        pytest.skip("SQLite stores it")
    await batch.load()
    fine = batch.transactions[batch.at]
    [activity, *more] = fine.changes.activities
    bad = (replace(activity, activity_data=text), *more)
    batch.transactions[batch.at] = replace(fine, changes=replace(fine.changes, activities=bad))
    await batch.write(Unprocessable)
    await batch.mend()


@on_postgresql
async def test_lock_of_another_session_delays_only_its_message(batch: Batch, url: str) -> None:
    await batch.load()
    async with locked(batch.builder, url):
        await batch.write(LockTimeout)
    await batch.mend()


@on_postgresql
async def test_locked_message_is_written_when_the_lock_is_released(batch: Batch, store: SqlStore, url: str) -> None:
    """In a batch of its own, which waits as long as a statement may."""
    await batch.load()
    others = {message.id for number, message in enumerate(batch.messages) if number != batch.at}
    async with batching(store) as batched, locked(batch.builder, url):
        writing = [asyncio.ensure_future(batched.write([one])) for one in batch.transactions]
        await until(lambda: _stored(url, others), what="the others are written")
        await someone_waits(url)
        assert not writing[batch.at].done()
        async with session(url) as operator:
            await operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in%'")
        assert [list(one) for one in await asyncio.gather(*writing)] == [[None]] * SIZE
    assert {message.id for message in batch.messages} <= await stored(url)


async def _stored(url: str, ids: set[Any]) -> bool:
    return ids <= await stored(url)


@on_postgresql
async def test_locked_message_takes_its_chain_along(store: SqlStore, url: str) -> None:
    """The rest of the chain is written again with it, and follows what is written already."""
    [builder, other] = await approved(2, store)
    messages = [builder.deploy("started", environment_id=name) for name in ("eu", "us", "asia")]
    chain = await chained(messages, store)
    [beside] = await decided([other.deploy("started")], store)
    await script(url, _TRIGGER.format(condition="NEW.environment_id = 'us'", work="PERFORM pg_advisory_xact_lock(42)"))
    async with session(url) as holder, batching(store) as batched:
        await holder.execute("SELECT pg_advisory_lock(42)")
        writing = [asyncio.ensure_future(batched.write(some)) for some in (chain, [beside])]
        await until(lambda: _stored(url, {messages[0].id, beside.query.event_id}), what="the others are written")
        assert await _in_use(holder, waiting=True)
        await holder.execute("SELECT pg_advisory_unlock(42)")
        assert [list(results) for results in await asyncio.gather(*writing)] == [[None] * 3, [None]]


async def _in_use(observer: asyncpg.Connection, *, waiting: bool) -> bool:
    condition = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted) = $1"
    return bool(await until(lambda: observer.fetchval(condition, waiting), what="a session waits for a lock"))


_TRIGGER = """CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {condition} THEN
        {work};
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER meet BEFORE INSERT ON release_deployments FOR EACH ROW EXECUTE FUNCTION meet()"""


def of_release(builder: ReleaseMessages) -> str:
    return f"NEW.release_mgt_id = '{builder.release_id}'"


@on_postgresql
async def test_statement_timeout_of_one_message_is_its_own(url: str, at: int) -> None:
    async with opened(url, timeout_seconds=1.0) as store:
        batch = Batch(store, url, at)
        await batch.load()
        await script(url, _TRIGGER.format(condition=of_release(batch.builder), work="PERFORM pg_sleep(60)"))
        await batch.write(Unavailable)
        await script(url, "DROP FUNCTION meet() CASCADE")
        await batch.mend()


@on_postgresql
async def test_deadlock_of_one_message_is_its_own(url: str, at: int) -> None:
    """The other session waits for the row that the message has changed, and has the one that it changes next."""
    name = make_url(url).database
    await script(url, f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '10ms'")
    wait = "LOOP EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE NOT granted); PERFORM pg_sleep(0.01); END LOOP"
    async with opened(url) as store, session(url) as other:
        batch = Batch(store, url, at)
        await batch.load()
        await script(
            url,
            _TRIGGER.replace("INSERT ON release_deployments", "UPDATE ON release_versions").format(
                condition=of_release(batch.builder), work=wait
            ),
        )
        await other.execute("SET deadlock_timeout = '1h'")
        await other.execute("BEGIN")
        await other.fetch("SELECT FROM releases WHERE id = $1 FOR UPDATE", batch.builder.release_id)
        version = "SELECT FROM release_versions WHERE release_mgt_id = $1 FOR UPDATE"
        waiting = asyncio.ensure_future(_after_change(other, version, batch.builder))
        await batch.write(Conflict)
        await waiting
        await other.execute("ROLLBACK")
        await script(url, "DROP FUNCTION meet() CASCADE")
        await batch.mend()


async def _after_change(other: asyncpg.Connection, sql: str, builder: ReleaseMessages) -> None:
    """Wait for a row, once another session has changed it: before, the row would be had at once."""
    skipping = "SELECT count(*) FROM release_versions WHERE release_mgt_id = $1"

    async def taken() -> bool:
        await other.execute("SAVEPOINT look")
        found = await other.fetch(f"{sql} SKIP LOCKED", builder.release_id)
        await other.execute("ROLLBACK TO look")
        return not found

    assert await other.fetchval(skipping, builder.release_id) == 1
    await until(taken, what="the message has changed the release's version")
    await other.fetch(sql, builder.release_id)


@on_postgresql
async def test_missing_privilege_fails_only_what_needs_it(url: str, at: int) -> None:
    name = f"worker_{make_url(url).database}"
    await script(
        url,
        f"CREATE ROLE {name} LOGIN",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}",
    )
    limited = make_url(url).set(username=name).render_as_string(hide_password=False)
    try:
        async with opened(limited) as store:
            batch = Batch(store, url, at)
            await batch.load(lambda builder: builder.deploy("succeeded", attempt=9))
            await script(url, f"REVOKE INSERT ON release_event_rejections FROM {name}")
            await batch.write(ConfigurationError)
            await script(url, f"GRANT INSERT ON release_event_rejections TO {name}")
            await batch.mend()
    finally:
        await script(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@on_postgresql
@pytest.mark.parametrize("prepared", [True, False])
async def test_missing_function_fails_only_what_needs_it(
    batch: Batch, store: SqlStore, url: str, prepared: bool
) -> None:
    """Whether the connection has prepared a statement with it before or not."""
    async with session(url) as operator:
        definition = await operator.fetchval("SELECT pg_get_functiondef('rudder_claim_rejection'::regproc)")
    if prepared:
        await process(ReleaseMessages().deploy("started"), store)
    await batch.load(lambda builder: builder.deploy("succeeded", attempt=9))
    await script(url, "DROP FUNCTION rudder_claim_rejection(uuid, uuid)")
    await batch.write(ConfigurationError)
    await script(url, definition)
    await batch.mend()
