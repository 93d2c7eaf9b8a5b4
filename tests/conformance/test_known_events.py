"""Which events a database has, in one round trip for a few."""

from uuid import uuid4

import pytest

from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate, opened, process_all
from tests.testkit.counting_proxy import CountingProxy
from worker.db.store import SqlStore


async def test_applied_stale_and_rejected_events_are_known(database_url: str) -> None:
    await migrate(database_url)
    builder = ReleaseMessages()
    early = builder.deploy("started")
    handled = [early, builder.created(), builder.event("release.submitted"), builder.event("release.submitted")]
    unread = builder.deploy("started")
    async with opened(database_url) as store:
        await process_all(handled, store)
        known = store.known_events()
        assert await known.known([]) == set()
        assert await known.known([unread.id]) == set()
        ids = {message.id for message in handled}
        assert await known.known([*(uuid4() for _ in range(450)), *ids, unread.id]) == ids


@pytest.mark.parametrize("database_url", ["postgresql", "mssql"], indirect=True)
async def test_few_events_take_one_round_trip(store_behind_proxy: SqlStore, proxy: CountingProxy) -> None:
    known = store_behind_proxy.known_events()
    for count in (1, 150):
        ids = [uuid4() for _ in range(count)]
        for _ in range(2):
            assert await known.known(ids) == set()
        before = proxy.round_trips
        assert await known.known(ids) == set()
        assert proxy.round_trips - before == 1
