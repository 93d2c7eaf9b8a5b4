"""A chain in one write: each transaction is written only if its predecessor was, by the same call."""

from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from tests.conformance.release_messages import ReleaseMessages, minute
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import contents, rows
from tests.conformance.transactions import approved, chained, decided, stored
from worker.db.store import SqlStore
from worker.pipeline.transaction import process, process_chain
from worker.rules.errors import Conflict, StaleRead
from worker.rules.message import Message
from worker.rules.state import Applied, Rejected, Stale


@pytest.fixture
async def url(database_url: str) -> str:
    await migrate(database_url)
    return database_url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    async with opened(url) as store:
        yield store


def in_environments(builder: ReleaseMessages, *names: str) -> list[Message]:
    return [builder.deploy("started", environment_id=name) for name in names]


async def test_chain_is_written_in_order(store: SqlStore, url: str) -> None:
    [builder] = await approved(1, store)
    chain = await chained(in_environments(builder, "eu", "us", "asia"), store)
    assert list(await store.write(chain)) == [None] * 3
    [version] = [row["version"] for row in await rows(url, "release_versions")]
    assert version == 2 + 3


@pytest.mark.parametrize("before", [1, 2])
async def test_failed_transaction_fails_all_that_follow(store: SqlStore, url: str, before: int) -> None:
    """`before`: how many of the chain are written before the release changes: then the rest rests on old rows."""
    [builder, other] = await approved(2, store)
    chain = await chained(in_environments(builder, "eu", "us", "asia"), store)
    assert list(await store.write(chain[:before])) == [None] * before
    await process(builder.deploy("started", environment_id="africa"), store)
    expected = await contents(url, "releases", "release_deployments", "release_versions")
    beside = await decided([other.created()], store)  # in the same batch, and not of the chain
    results = await store.write([*chain[before:], *beside])
    assert [type(error) for error in results] == [StaleRead] * (3 - before) + [type(None)]
    assert await contents(url, "releases", "release_deployments", "release_versions") == expected


Meanwhile = Sequence[tuple[Message, type]]
Race = Callable[[ReleaseMessages], tuple[Sequence[Message], Meanwhile]]


def other_event(builder: ReleaseMessages) -> tuple[Sequence[Message], Meanwhile]:
    """Another worker moves the version to the one that the second of the chain names."""
    return in_environments(builder, "eu", "us"), [(builder.deploy("started", environment_id="asia"), Applied)]


def first_is_stale(builder: ReleaseMessages) -> tuple[Sequence[Message], Meanwhile]:
    """And stores the first of the chain, which is late now: its row is in the log, and the version as it should be."""
    chain = in_environments(builder, "eu", "us")
    return chain, [(builder.deploy("started", environment_id="eu", at=minute(50)), Applied), (chain[0], Stale)]


def first_is_rejected(builder: ReleaseMessages) -> tuple[Sequence[Message], Meanwhile]:
    """The same with a row among the rejections."""
    chain = [
        builder.deploy("started", environment_id="eu", attempt=1, at=minute(60)),
        builder.deploy("started", environment_id="us"),
    ]
    return chain, [(builder.deploy("succeeded", environment_id="eu"), Applied), (chain[0], Rejected)]


def second_of_three_is_stale(builder: ReleaseMessages) -> tuple[Sequence[Message], Meanwhile]:
    """The predecessor of the third changes no version itself."""
    first, stale, third = (
        builder.deploy("started", environment_id="eu", at=minute(50)),
        builder.deploy("started", environment_id="eu", at=minute(40)),
        builder.deploy("started", environment_id="us"),
    )
    return [first, stale, third], [
        (builder.deploy("started", environment_id="eu", at=minute(55)), Applied),
        (stale, Stale),
    ]


@pytest.mark.parametrize("race", [other_event, first_is_stale, first_is_rejected, second_of_three_is_stale])
async def test_version_of_another_worker_is_not_the_chains(store: SqlStore, url: str, race: Race) -> None:
    [builder] = await approved(1, store)
    messages, meanwhile = race(builder)
    chain = await chained(messages, store)
    async with opened(url) as other:
        for message, outcome in meanwhile:
            assert isinstance(await process(message, other), outcome)
    expected = await contents(url)
    results = await store.write(chain)
    assert all(isinstance(error, Conflict) for error in results)
    assert isinstance(results[-1], StaleRead)
    assert await contents(url) == expected, "nothing is written"
    await process_all(messages, store)
    assert {message.id for message in messages} <= await stored(url)


async def test_chain_that_was_written_proves_no_later_one(store: SqlStore, url: str) -> None:
    """The connection is the same, and has written the predecessor's predecessor."""
    [builder] = await approved(1, store)
    assert len(await process_chain(in_environments(builder, "eu", "us"), store)) == 2
    chain = await chained(in_environments(builder, "asia", "africa"), store)
    await process(builder.deploy("started", environment_id="america"), store)
    assert [type(error) for error in await store.write(chain)] == [StaleRead, StaleRead]


async def test_duplicate_in_a_chain_changes_nothing(store: SqlStore, url: str) -> None:
    """An event that was written before is among those of a chain, as after a lost answer."""
    [builder] = await approved(1, store)
    messages = in_environments(builder, "eu", "us", "asia")
    await process_all(messages[:2], store)
    outcomes = await process_chain(messages, store)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Duplicate", "Duplicate", "Applied"]
    [version] = [row["version"] for row in await rows(url, "release_versions")]
    assert version == 2 + 3
