"""A batch whose connection fails: its caller gets Unavailable, and a load tells what was written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.conformance.deadlines import until
from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate, opened, process_until_settled
from tests.conformance.table_contents import rows
from tests.conformance.test_batches import locked, session, someone_waits
from tests.conformance.transactions import approved, batching, chained, decided, stored
from tests.testkit.counting_proxy import CountingProxy
from tests.testkit.faulty_proxy import FaultyProxy
from worker.db.postgresql import dialect
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.ports import Transaction
from worker.rules.errors import Unavailable, Unprocessable
from worker.rules.message import Message
from worker.rules.query import Query, QueryVariant, query_of
from worker.rules.state import Duplicate

SIZE = 4


@pytest.fixture
async def url(postgres_url: str) -> str:
    await migrate(postgres_url)
    return postgres_url


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[CountingProxy]:
    port = make_url(url).port
    assert port
    async with CountingProxy.running(port) as proxy:
        yield proxy


def through(url: str, port: int) -> str:
    return make_url(url).set(port=port).render_as_string(hide_password=False)


async def loaded(store: SqlStore) -> tuple[list[Message], list[Transaction]]:
    """A batch: of several releases, and a chain. Their statements are prepared on the connection."""
    builders = await approved(SIZE, store)
    await store.write(await decided([builder.deploy("started", environment_id="warm") for builder in builders], store))
    singles = [builder.deploy("started", environment_id="eu") for builder in builders[1:]]
    chain = [builders[0].deploy("started", environment_id=name) for name in ("eu", "us", "asia")]
    await store.write(await chained([builders[0].deploy("started", environment_id=name) for name in "ab"], store))
    return [*singles, *chain], [*await decided(singles, store), *await chained(chain, store)]


async def settled(url: str) -> None:
    """Return when no session of a worker executes anything."""
    working = (
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'rudder-worker' AND state <> 'idle')"
    )
    async with session(url) as observer:
        await until(lambda: observer.fetchval(working), what="the server has executed what it got")


async def each_has_one_effect(messages: Sequence[Message], store: SqlStore, url: str) -> None:
    """A load tells which were written; the others are processed."""
    await settled(url)
    written = await stored(url)
    for message in messages:
        outcome = await process_until_settled(message, store)
        assert isinstance(outcome, Duplicate) == (message.id in written)
    ids = [row["id"] for row in await rows(url, "release_activity_logs")]
    assert {message.id for message in messages} <= set(ids)
    attempts = [(row["release_mgt_id"], row["environment_id"]) for row in await rows(url, "release_deployments")]
    assert len(attempts) == len(set(attempts)), "none is doubled"


async def test_lost_answer_is_unavailable(url: str, proxy: CountingProxy) -> None:
    """The server has got all of the batch, and none of its answers arrives."""
    async with opened(through(url, proxy.port)) as store:
        messages, transactions = await loaded(store)
        proxy.cuts_at = proxy.round_trips + 1
        with pytest.raises(Unavailable):
            await store.write(transactions)
        await each_has_one_effect(messages, store, url)


@pytest.mark.parametrize("count", [1, 5, 60, 137, 300, 420])
async def test_answer_lost_in_the_middle_is_unavailable(url: str, proxy: CountingProxy, count: int) -> None:
    """`count`: bytes of the answers that arrive."""
    async with opened(through(url, proxy.port)) as store:
        messages, transactions = await loaded(store)
        proxy.bytes_before_cut = count
        with pytest.raises(Unavailable):
            await store.write(transactions)
        assert proxy.bytes_before_cut is None
        await each_has_one_effect(messages, store, url)


async def test_answer_lost_behind_an_error_is_unavailable(url: str, proxy: CountingProxy) -> None:
    """The first has a conflict, whose answer arrives in part: it is not the reason why the connection ended."""
    async with opened(through(url, proxy.port)) as store:
        messages, transactions = await loaded(store)
        builder = ReleaseMessages(release_id=_release_of(messages[0]), count=100)
        async with opened(url) as other:
            await process(builder.deploy("started", environment_id="elsewhere"), other)
        for count in (70, 120, 170):
            proxy.bytes_before_cut = count
            with pytest.raises(Unavailable):
                await store.write(transactions)
            await settled(url)
        await each_has_one_effect(messages, store, url)


def _release_of(message: Message) -> Any:
    assert message.release_id is not None
    return message.release_id


async def test_terminated_session_is_unavailable(url: str) -> None:
    """As by an operator, or by the stop of the server."""
    async with opened(url) as store:
        messages, transactions = await loaded(store)
        async with locked(ReleaseMessages(release_id=_release_of(messages[1])), url):
            writing = asyncio.ensure_future(store.write(transactions))
            await someone_waits(url)
            async with session(url) as operator:
                await operator.fetch("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
            with pytest.raises(Unavailable):
                await writing
        await each_has_one_effect(messages, store, url)


@pytest.mark.parametrize("alone", [True, False])
async def test_cancelled_write_terminates_its_connection(url: str, alone: bool) -> None:
    async with opened(url) as store:
        messages, transactions = await loaded(store)
        some = transactions[:1] if alone else transactions
        async with locked(ReleaseMessages(release_id=_release_of(messages[0])), url):
            writing = asyncio.ensure_future(store.write(some))
            await someone_waits(url)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            await store.ping()
        await each_has_one_effect(messages, store, url)


async def test_cancelled_message_of_a_batch_costs_no_other(url: str) -> None:
    async with opened(url) as store:
        messages, transactions = await loaded(store)
        async with batching(store, connections=1) as batched:
            singles = transactions[: SIZE - 1]
            async with locked(ReleaseMessages(release_id=_release_of(messages[0])), url):
                writing = [asyncio.ensure_future(batched.write([one])) for one in singles]
                await someone_waits(url)
                writing[1].cancel()
                results = await asyncio.gather(*writing[1:], return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError)
            assert results[1:] == [[None]]
            assert list(await writing[0]) == [None]
        await each_has_one_effect(messages, store, url)


async def test_server_that_stops_answering_is_unavailable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is the statement's and some more."""
    monkeypatch.setattr(dialect, "_ANSWER_TIMEOUT_SECONDS", 0.5)
    port = make_url(url).port
    assert port
    async with FaultyProxy.running(port) as proxy, opened(through(url, proxy.port), timeout_seconds=1.0) as store:
        messages, transactions = await loaded(store)
        with proxy.silent(), pytest.raises(Unavailable):
            await store.write(transactions)
        await each_has_one_effect(messages, store, url)


async def test_locked_table_does_not_cost_a_timeout_each(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As while a column is added: each would wait as long as a statement may, and hold a connection that long."""
    monkeypatch.setattr(dialect, "_ANSWER_TIMEOUT_SECONDS", 0.5)
    async with opened(url, timeout_seconds=1.0) as store:
        messages, transactions = await loaded(store)
        async with session(url) as operator:
            await operator.execute("BEGIN; LOCK TABLE release_versions IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Unavailable):
                await store.write(transactions)
        await each_has_one_effect(messages, store, url)


_NOTICES = """CREATE FUNCTION notify_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '%', repeat('a notice ', 1000);
    PERFORM pg_notify('batches', repeat('x', 7000));
    PERFORM set_config('application_name', 'rudder-worker ' || NEW.environment_id, FALSE);
    RETURN NEW;
END $$;
CREATE TRIGGER notify_all BEFORE INSERT ON release_deployments FOR EACH ROW EXECUTE FUNCTION notify_all()"""


async def test_notices_and_parameters_are_no_answers(url: str) -> None:
    """Between the answers: notices, parameters that change, and notifications of a session that listens."""
    async with session(url) as operator:
        await operator.execute(_NOTICES)
        await operator.execute(f"ALTER DATABASE \"{make_url(url).database}\" SET client_min_messages = 'debug1'")
    async with opened(url) as store:
        messages, transactions = await loaded(store)
        async with store._connections.begin() as held:
            connection: asyncpg.Connection = held._connection  # type: ignore[attr-defined]
            await connection.execute("LISTEN batches")
        assert list(await store.write(transactions)) == [None] * len(transactions)
        async with store._connections.begin() as held:
            assert held._connection is connection, "it was not replaced"  # type: ignore[attr-defined]
        assert {message.id for message in messages} <= await stored(url)
        [again, *_] = await approved(1, store)
        await process(again.deploy("started"), store)


@pytest.mark.parametrize("text", ["\x00", "\ud800"], ids=["NUL", "surrogate"])
async def test_bad_value_fails_only_its_own_load(url: str, text: str) -> None:
    async with opened(url) as store, batching(store, connections=1) as batched:
        builders = await approved(3, store)
        queries = [query_of(builder.deploy("succeeded")) for builder in builders]
        bad = Query(
            variant=QueryVariant.DEPLOYMENT_SUCCEEDED,
            event_id=queries[0].event_id,
            release_id=queries[0].release_id,
            environment_id=text,
            config_revision=1,
        )
        asked = [*queries[:1], bad, *queries[1:]]
        results = await asyncio.gather(*[batched.load([one]) for one in asked], return_exceptions=True)
        assert isinstance(results[1], Unprocessable)
        for position in (0, 2, 3):
            [state] = results[position]  # type: ignore[misc]
            assert state.release is not None
            assert state.release.id == asked[position].release_id
