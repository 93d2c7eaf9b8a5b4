"""The database round trips of a message, counted on the wire: they determine its latency."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from tests.conformance.release_messages import COMPONENT, ReleaseMessages, message, minute, redriven
from tests.conformance.stores import migrate, opened
from tests.conformance.table_contents import insert_rows
from tests.conformance.transactions import batching
from tests.testkit.counting_proxy import CountingProxy
from worker.db.loads import ATTEMPTS_MAX
from worker.db.store import SqlStore
from worker.pipeline.transaction import process, process_chain
from worker.rules.message import Message
from worker.rules.state import Applied, Duplicate, Outcome, Rejected, Stale

Step = tuple[str, Message, type[Outcome]]
Story = Callable[[int], Iterable[Step]]

pytestmark = pytest.mark.parametrize("database_url", ["postgresql", "mssql"], indirect=True)

COMMON_MAX = 2
"""A load and a write."""

WORST_MAX = 3
"""One more for an event that is known, or where SQL Server's driver sends a text in a request of its own."""


@pytest.fixture
async def store(database_url: str, proxy: CountingProxy) -> AsyncIterator[SqlStore]:
    """A store that connects through the proxy. `staging` has an `app_environments` row."""
    await migrate(database_url)
    staging = {"environment_id": "staging", "component_id": COMPONENT, "deployment_track_id": "main"}
    await insert_rows(database_url, "app_environments", [{"id": uuid4(), **staging}])
    through = make_url(database_url).set(port=proxy.port).render_as_string(hide_password=False)
    async with opened(through) as store:
        yield store


async def trips(builder: Story, store: SqlStore, proxy: CountingProxy) -> dict[str, int]:
    """The round trips of each step, on a connection that is open and has prepared its statements."""
    for first in (0, 1_000):  # the second pass finds the rows of the first
        for _, warming, _ in builder(first):
            await process(warming, store)
    counted: dict[str, int] = {}
    connections = proxy.connections
    for name, step, expected in builder(2_000):
        before = proxy.round_trips
        outcome = await process(step, store)
        counted[name] = proxy.round_trips - before
        assert isinstance(outcome, expected), name
    assert proxy.connections == connections, "what was counted is not what a warm connection does"
    return counted


def deployments(first: int) -> Iterable[Step]:
    """The ordinary events of a release, from minute `first` on."""
    one = ReleaseMessages(count=first)
    yield "opened with a release block", one.deploy("requested", release=one.fields), Applied
    yield "started", one.deploy("started", release=one.fields), Applied
    yield "succeeded where the environment has no row", one.deploy("succeeded", release=one.fields), Applied
    staging: dict[str, Any] = {"environment_id": "staging"}
    yield "requested without a block", one.deploy("requested", **staging), Applied
    yield "requested again, superseding", one.deploy("requested", **staging), Applied
    yield "named", one.deploy("started", attempt=2, **staging), Applied
    yield "succeeded where the environment has a row", one.deploy("succeeded", **staging), Applied
    yield "opened by its success, where there is a row", one.deploy("succeeded", **staging), Applied
    yield "rolled back", one.deploy("rolled_back", **staging), Applied
    yield "rolled back, an earlier one", one.deploy("rolled_back", **staging), Applied
    yield "rolled back, named", one.deploy("rolled_back", attempt=1), Applied
    yield "opened by its start, another config revision", one.deploy("started", config_revision=2, attempt=1), Applied
    yield "failed", one.deploy("failed", config_revision=2, comment="No space left on device 🚧"), Applied
    yield "opened with settings", one.deploy("requested", api_settings={"timeout": 5}), Applied
    yield "cancelled", one.deploy("cancelled", actor="ci"), Applied
    yield "too late", one.deploy("failed", at=minute(first)), Stale
    yield "a gap", one.deploy("started", attempt=99), Rejected
    yield "not allowed", one.deploy("succeeded", attempt=1), Rejected
    yield "of another organization", one.deploy("started", organization_id="bluefin-bank"), Rejected
    yield "of a release that nobody knows", ReleaseMessages().deploy("started"), Rejected
    yield "of a release whose number is taken", ReleaseMessages().deploy("started", release=one.fields), Rejected


async def test_deployment_event_takes_the_minimum_of_round_trips(
    store: SqlStore, proxy: CountingProxy, database_url: str
) -> None:
    """Holds for every outcome, and for the first event of a release as for the hundredth."""
    counted = await trips(deployments, store, proxy)
    assert {name: number for name, number in counted.items() if number != COMMON_MAX} == {}


def others(first: int) -> Iterable[Step]:
    """All other records that a topic may hold, from minute `first` on."""
    one, early = ReleaseMessages(count=first), ReleaseMessages(count=first)
    revisions = [dict.fromkeys(REVISION, str(number)) for number in range(3)]
    created, refused = one.created(apim_base_revisions=revisions), early.deploy("requested", at=minute(first + 60))
    yield "created", created, Applied
    yield "created, known", created, Duplicate
    yield "created again", one.created(), Rejected
    yield "its number claimed", ReleaseMessages(number=one.number).created(), Rejected
    for name in ("submitted", "rejected", "reopened", "submitted again", "approved"):
        yield name, one.event(f"release.{name.removesuffix(' again')}"), Applied
    yield "approved once more", one.event("release.approved"), Stale
    yield "activity", one.event("activity.recorded", ACTIVITY), Applied
    yield "started", one.deploy("started"), Applied
    of_attempt = {**ACTIVITY, "environment_id": "production", "attempt": 1}
    yield "activity of an attempt", one.event("activity.recorded", of_attempt), Applied
    yield "no event", message(b"\xff"), Rejected
    yield "refused", refused, Rejected
    yield "refused, known", refused, Duplicate
    yield "refused, redriven in vain", redriven(refused), Rejected
    for number, missing in enumerate(early.approved()):
        yield f"what was missing, {number}", missing, Applied
    yield "refused, redriven", redriven(refused), Applied
    yield "refused, redriven, known", redriven(refused), Duplicate
    wordy = one.deploy("failed", comment="Stack trace: " + "🚧" * 5_000, api_settings={"map": "x" * 9_000})
    yield "wordy", wordy, Applied


REVISION = ("endpoint_name", "api_id", "revision_id", "access_mode")
ACTIVITY = {"activity_type": "SCAN", "activity_data": {"findings": 0}}


async def test_rare_messages_take_at_most_one_more_round_trip(
    store: SqlStore, proxy: CountingProxy, database_url: str
) -> None:
    """Duplicates, redrives, invalid records and very long texts are rare, and may cost one more round trip."""
    counted = await trips(others, store, proxy)
    assert {name: number for name, number in counted.items() if not 2 <= number <= WORST_MAX} == {}


IN_FLIGHT = [1, 16, 64]


@pytest.fixture
def batches_are_shared(database_url: str) -> None:
    if not database_url.startswith("postgresql"):
        pytest.skip("its batches take a round trip for each message")


async def in_flight(messages: Sequence[Message], store: SqlStore, proxy: CountingProxy) -> tuple[list[Outcome], int]:
    """Messages that are processed at the same time, through batches; their outcomes and round trips."""
    async with batching(store, connections=1) as batched:
        before = proxy.round_trips
        outcomes = await asyncio.gather(*[process(message, batched) for message in messages])
        return outcomes, proxy.round_trips - before


async def warm(store: SqlStore) -> ReleaseMessages:
    """One connection with the statements of what follows, single and batched, and a release."""
    builder = ReleaseMessages()
    async with batching(store, connections=1) as batched:
        for step in (builder.created(), builder.event("release.submitted"), builder.event("release.approved")):
            await process(step, batched)
        for _ in range(2):
            others = [ReleaseMessages() for _ in range(3)]
            await asyncio.gather(*[process(one.created(), batched) for one in others])
            started = [one.deploy("started", release=one.fields) for one in [ReleaseMessages(), ReleaseMessages()]]
            await asyncio.gather(*[process(one, batched) for one in started])
            await asyncio.gather(*[process(one, batched) for one in started])
    return builder


@pytest.mark.usefixtures("batches_are_shared")
@pytest.mark.parametrize("number", IN_FLIGHT)
async def test_messages_in_flight_share_two_round_trips(store: SqlStore, proxy: CountingProxy, number: int) -> None:
    """Where the server answers the first of a large batch before it has all of it, the proxy counts once more."""
    await warm(store)
    messages = [ReleaseMessages().created() for _ in range(number)]
    outcomes, counted = await in_flight(messages, store, proxy)
    assert {type(outcome) for outcome in outcomes} == {Applied}
    assert 2 <= counted <= (2 if number <= 16 else 5)


@pytest.mark.usefixtures("batches_are_shared")
async def test_chain_takes_two_round_trips(store: SqlStore, proxy: CountingProxy) -> None:
    for again in range(2):  # the second has prepared statements
        builder = ReleaseMessages()
        await process(builder.deploy("requested", release=builder.fields), store)
        chain = [builder.deploy("started" if number % 2 else "requested") for number in range(16)]
        before = proxy.round_trips
        assert len(await process_chain(chain, store)) == 16
        counted = proxy.round_trips - before
        assert again == 0 or counted == 2


@pytest.mark.usefixtures("batches_are_shared")
@pytest.mark.parametrize("number", IN_FLIGHT)
async def test_duplicates_share_their_load(store: SqlStore, proxy: CountingProxy, number: int) -> None:
    """After it each loads its own log entries, which flushes them."""
    await warm(store)
    messages = [ReleaseMessages().created() for _ in range(number)]
    await in_flight(messages, store, proxy)
    outcomes, counted = await in_flight(messages, store, proxy)
    assert {type(outcome) for outcome in outcomes} == {Duplicate}
    assert counted == 1 + number


@pytest.mark.usefixtures("batches_are_shared")
async def test_large_releases_take_their_own_statement(store: SqlStore, proxy: CountingProxy) -> None:
    """One more round trip for each, beside the shared ones."""
    await warm(store)
    builders = [ReleaseMessages() for _ in range(3)]
    for builder in builders:
        await process(builder.deploy("requested", release=builder.fields), store)
        for _ in range(ATTEMPTS_MAX if builder is builders[0] else 1):
            await process(builder.deploy("requested"), store)
    outcomes, counted = await in_flight([builder.deploy("requested") for builder in builders], store, proxy)
    assert {type(outcome) for outcome in outcomes} == {Applied}
    assert counted == 2 + 1


@pytest.mark.usefixtures("batches_are_shared")
async def test_chain_of_a_large_release_loads_each_environment(store: SqlStore, proxy: CountingProxy) -> None:
    """One statement for the attempts of each, whatever its events are."""
    builder = ReleaseMessages()
    await process(builder.deploy("requested", release=builder.fields), store)
    for _ in range(ATTEMPTS_MAX):
        await process(builder.deploy("requested"), store)
    kinds = ("requested", "started", "succeeded", "rolled_back") * 2
    for again in range(2):  # the second has prepared statements
        chain = [builder.deploy(kind, environment_id=name) for kind in kinds for name in ("prod", "staging")]
        before = proxy.round_trips
        assert {type(outcome) for outcome in await process_chain(chain, store)} == {Applied}
        assert again == 0 or proxy.round_trips - before == 2 + 2
