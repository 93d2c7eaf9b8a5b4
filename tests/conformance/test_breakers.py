"""The rows of the breaker on each database: one open row a group, whatever races, in one round trip a read."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.conformance.stores import migrate, opened
from tests.conformance.table_contents import row
from tests.testkit.counting_proxy import CountingProxy
from tests.unit.pipeline.test_breaker import an_opening
from worker.db.action_log import SqlActionLog
from worker.db.breakers import SqlOpenings
from worker.db.engine import open_engine
from worker.db.store import SqlStore
from worker.group_breaker import Opening, close
from worker.operator_actions import Operator
from worker.rules.errors import ConfigurationError

MARIA = Operator(name="maria", host="bastion")
LATER = datetime(2026, 3, 1, 13, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    await migrate(database_url)
    async with opened(database_url) as store:
        yield store


@pytest.fixture
def openings(store: SqlStore) -> SqlOpenings:
    return store.openings()


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[SqlActionLog]:
    engine, dialect = open_engine(database_url, timeout_seconds=20)
    yield SqlActionLog(engine, dialect)
    await engine.dispose()


async def closed(openings: SqlOpenings, opening: Opening, *, at: datetime = LATER) -> bool:
    return await openings.close(opening.id, closed_at=at, closed_by="maria", note="größer")


async def test_opening_is_stored_and_read_unchanged(openings: SqlOpenings) -> None:
    opening = an_opening()
    tripped = replace(opening.tripped, sources={"/ci/größer": 3, "/other": 2}, reasons={"invalid_data": 5})
    opening = replace(opening, tripped=tripped, opened_at=LATER)
    assert await openings.current("group") is None
    assert await openings.record(opening) == opening
    assert await openings.current("group") == opening
    assert await openings.current("other group") is None
    assert await openings.find(uuid4()) is None


async def test_second_opening_of_a_group_is_the_first(openings: SqlOpenings) -> None:
    first, second = an_opening(), an_opening()
    assert await openings.record(first) == first
    assert await openings.record(second) == first
    assert await openings.record(first) == first, "a lost response"
    other = replace(second, group_id="other group")
    assert await openings.record(other) == other


async def test_openings_at_once_are_one_row(database_url: str, openings: SqlOpenings) -> None:
    """Of two processes, each with connections of its own."""
    async with opened(database_url) as other:
        for number in range(10):
            group_id = f"group {number}"
            both = [replace(an_opening(), group_id=group_id) for _ in range(2)]
            found = await asyncio.gather(openings.record(both[0]), other.openings().record(both[1]))
            assert found[0] == found[1] == await openings.current(group_id)
            assert found[0] in both


async def test_closed_opening_is_past_and_the_next_may_open(openings: SqlOpenings) -> None:
    first, second = an_opening(), replace(an_opening(), opened_at=LATER)
    await openings.record(first)
    assert await closed(openings, first)
    assert not await closed(openings, first, at=datetime(2026, 3, 2, tzinfo=UTC)), "it is closed"
    assert await openings.current("group") is None
    assert await openings.record(first) == replace(first, closed_at=LATER, closed_by="maria", note="größer")
    assert await openings.record(second) == second
    await closed(openings, second)
    assert [one.id for one in await openings.past("group", limit=9)] == [second.id, first.id]
    assert [one.id for one in await openings.past("group", limit=1)] == [second.id]


async def test_close_records_the_operator(database_url: str, openings: SqlOpenings, log: SqlActionLog) -> None:
    opening = an_opening()
    with pytest.raises(ConfigurationError, match=r"group group \(RUDDER_GROUP_ID\) is not open; nothing to close"):
        await close(openings, log, "group", note="x", operator=MARIA)
    await openings.record(opening)
    for note, problem in ((" ", "the note is empty"), ("x" * 1001, "at most 1000")):
        with pytest.raises(ConfigurationError, match=problem):
            await close(openings, log, "group", note=note, operator=MARIA)
    assert await openings.current("group") == opening
    assert await close(openings, log, "group", note=" größer ", operator=MARIA) == opening
    action, stored = await row(database_url, "operator_actions"), await row(database_url, "worker_breakers")
    assert (action["command"], action["operator"], action["result"]) == ("breaker close", "maria", "completed")
    assert json.loads(action["arguments"]) == {"group": "group", "opening": str(opening.id), "note": "größer"}
    assert (stored["closed_by"], stored["note"], stored["closed_at"]) == ("maria", "größer", action["started_at"])


@pytest.mark.parametrize("database_url", ["postgresql", "mssql"], indirect=True)
async def test_read_is_one_round_trip(store_behind_proxy: SqlStore, proxy: CountingProxy) -> None:
    """On a connection that messages use, too."""
    openings = store_behind_proxy.openings()
    await openings.record(an_opening())
    for _ in range(2):
        assert await openings.current("group") is not None
    before, connections = proxy.round_trips, proxy.connections
    assert await openings.current("group") is not None
    assert (proxy.round_trips - before, proxy.connections) == (1, connections)
