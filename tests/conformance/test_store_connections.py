"""Network failures at the worst moments, for each database that is reached by a network."""

import asyncio

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.conformance.deadlines import until
from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import process_all
from tests.conformance.table_contents import contents, rows
from tests.conformance.test_round_trips import COMMON_MAX
from tests.testkit.counting_proxy import CountingProxy
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.decide import decide
from worker.rules.errors import Conflict, Unavailable
from worker.rules.message import Message
from worker.rules.state import Applied, Duplicate, Outcome, State

pytestmark = pytest.mark.parametrize("database_url", ["postgresql", "mssql"], indirect=True)

CONNECTIONS = 6
LOCK_WAITS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def store(store_behind_proxy: SqlStore) -> SqlStore:
    return store_behind_proxy


async def settled(message: Message, store: SqlStore) -> Outcome:
    """The outcome, once the store can connect again."""

    async def handled() -> Outcome | None:
        try:
            return await process(message, store)
        except (Unavailable, Conflict):
            return None

    outcome = await until(handled, what="the message is handled")
    assert outcome is not None
    return outcome


async def test_lost_response_applies_the_event_once(store: SqlStore, proxy: CountingProxy, database_url: str) -> None:
    """Where the response to COMMIT is lost after it took effect, the second attempt finds the event applied."""
    builder = ReleaseMessages()
    await process_all(builder.approved(), store)
    await process(builder.deploy("requested"), store)  # from now on the release is DEPLOYING, and statements are alike
    last = COMMON_MAX
    for trip in range(1, last + 1):
        await process(builder.deploy("requested", environment_id=f"warm {trip}"), store)
        message = builder.deploy("requested", environment_id=f"environment {trip}")
        before = await contents(database_url)
        proxy.cuts_at = proxy.round_trips + trip
        with pytest.raises(Unavailable):
            await process(message, store)
        assert proxy.cuts_at is None
        outcome = await settled(message, store)
        assert isinstance(outcome, Duplicate if trip == last else Applied)
        after = await contents(database_url)
        [deployment] = [row for row in after["release_deployments"] if row not in before["release_deployments"]]
        assert deployment["attempt"] == 1


async def test_connection_lost_before_the_write_leaves_nothing(
    store: SqlStore, proxy: CountingProxy, database_url: str
) -> None:
    builder = ReleaseMessages()
    await process(builder.created(), store)
    before = await contents(database_url)
    message = builder.event("release.submitted")

    def judge_and_lose_the_connection(state: State, message: Message) -> Outcome:
        proxy.cut()
        return decide(state, message)

    with pytest.raises(Unavailable):
        await process(message, store, judge_and_lose_the_connection)
    assert await contents(database_url) == before
    assert isinstance(await settled(message, store), Applied)


async def test_idle_connections_that_were_cut_are_replaced(
    store: SqlStore, proxy: CountingProxy, database_url: str
) -> None:
    """A firewall or a failover cuts idle connections: no event is lost, and each dead connection is replaced."""
    pipelines = [ReleaseMessages() for _ in range(CONNECTIONS)]
    await asyncio.gather(*(process(builder.created(), store) for builder in pipelines))
    proxy.cut()
    submitted = (settled(builder.event("release.submitted"), store) for builder in pipelines)
    assert {type(outcome) for outcome in await asyncio.gather(*submitted)} == {Applied}
    assert {release["status"] for release in await rows(database_url, "releases")} == {"IN_REVIEW"}


async def test_server_restart_is_waited_for(store: SqlStore, proxy: CountingProxy) -> None:
    """The replica that takes over has the same address, or the driver knows both (MultiSubnetFailover)."""
    builder = ReleaseMessages()
    await process(builder.created(), store)
    message = builder.event("release.submitted")
    proxy.down = True
    proxy.cut()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await process(message, store)
        with pytest.raises(Unavailable):
            await store.ping()
    proxy.down = False
    await store.ping()
    assert isinstance(await process(message, store), Applied)


async def test_cancelled_message_releases_everything(store: SqlStore, proxy: CountingProxy, database_url: str) -> None:
    """A revoked partition cancels its message during a statement. The second attempt finds out whether the first one
    took effect.
    """
    builder = ReleaseMessages()
    await process(builder.created(), store)
    message = builder.event("release.submitted")
    engine = create_async_engine(database_url, poolclass=NullPool)
    try:
        async with engine.connect() as holder:
            await holder.exec_driver_sql("UPDATE releases SET updated_at = updated_at")
            before = proxy.round_trips
            waiting = asyncio.create_task(process(message, store))

            async def blocked() -> bool:
                if make_url(database_url).get_backend_name() == "postgresql":
                    async with engine.connect() as observer:
                        return bool(await observer.scalar(LOCK_WAITS))
                return proxy.round_trips > before

            await until(blocked, what="the message's statement is at the server, and waits for the lock")
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await holder.rollback()
    finally:
        await engine.dispose()
    assert isinstance(await settled(message, store), Applied | Duplicate)
    assert [row["status"] for row in await rows(database_url, "release_activity_logs")].count("IN_REVIEW") == 1
