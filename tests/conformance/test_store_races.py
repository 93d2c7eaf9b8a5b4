"""Two workers on one release: a stalled one that lost its partition, or a second topic. The rows come out as if one
event had followed the other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from tests.conformance.contents import contents, insert_rows, row, rows
from tests.conformance.deadlines import until
from tests.conformance.pipeline import COMPONENT, Pipeline, minute, redriven
from tests.conformance.stores import migrate, opened, process_all, process_until_settled
from tests.servers.postgres import PostgresServer
from worker.db.store import SqlStore
from worker.domain.decide import decide
from worker.domain.errors import Conflict
from worker.domain.message import Message
from worker.domain.state import Applied, Duplicate
from worker.handling.process import process

ROUNDS = 20

Workers = tuple[SqlStore, SqlStore]


@pytest.fixture
async def workers(database_url: str) -> AsyncIterator[Workers]:
    """Two stores with an engine each, as two processes have them."""
    await migrate(database_url)
    async with opened(database_url) as one, opened(database_url) as other:
        yield one, other


async def at_once(workers: Workers, *messages: Message) -> list[str]:
    """Each message by a worker of its own, all at the same time; the outcomes' names."""
    outcomes = await asyncio.gather(*map(process_until_settled, messages, workers))
    return [type(outcome).__name__ for outcome in outcomes]


async def test_the_roll_up_counts_what_two_workers_wrote_at_once(workers: Workers, database_url: str) -> None:
    """Two environments finish together: neither worker may have seen the other's still running (write skew)."""
    for _ in range(ROUNDS):
        pipeline = Pipeline()
        started = [pipeline.deploy("started", environment_id=name) for name in ("eu", "us")]
        await process_all([*pipeline.approved(), *started], workers[0])
        finished = [pipeline.deploy("succeeded", environment_id=name) for name in ("eu", "us")]
        assert await at_once(workers, *finished) == ["Applied", "Applied"]
    assert {release["status"] for release in await rows(database_url, "releases")} == {"DEPLOYED"}


async def test_two_requests_at_once_open_two_attempts(workers: Workers, database_url: str) -> None:
    """Neither is doubled nor lost: the one that comes second supersedes the first."""
    releases = {}
    for _ in range(ROUNDS):
        pipeline = Pipeline()
        await process_all(pipeline.approved(), workers[0])
        # The same time for both, or the older could rightly come too late.
        requests = [pipeline.deploy("requested", at=minute(30)) for _ in workers]
        assert await at_once(workers, *requests) == ["Applied", "Applied"]
        releases[pipeline.release_id] = {(1, "CANCELLED"), (2, "PENDING")}
    found: dict[object, set[tuple[int, str]]] = {}
    for deployment in await rows(database_url, "release_deployments"):
        found.setdefault(deployment["release_mgt_id"], set()).add((deployment["attempt"], deployment["status"]))
    assert found == releases
    assert {release["status"] for release in await rows(database_url, "releases")} == {"DEPLOYING"}


async def test_two_blocks_at_once_create_one_release(workers: Workers, database_url: str) -> None:
    """The first word about a release may be spoken twice at the same time."""
    for _ in range(ROUNDS):
        pipeline = Pipeline()
        blocks = [
            pipeline.deploy("succeeded", environment_id=name, release=pipeline.fields, at=minute(1))
            for name in ("eu", "us")
        ]
        assert await at_once(workers, *blocks) == ["Applied", "Applied"]
    found = await rows(database_url, "releases")
    assert [release["status"] for release in found] == ["DEPLOYED"] * ROUNDS
    assert len(await rows(database_url, "release_deployments")) == 2 * ROUNDS


async def test_two_releases_that_claim_one_number_at_once_do_not_both_get_it(
    workers: Workers, database_url: str
) -> None:
    """One is created, the other rejected for good."""
    for _ in range(ROUNDS):
        one = Pipeline()
        other = Pipeline(number=one.number)
        assert sorted(await at_once(workers, one.created(), other.created())) == ["Applied", "Rejected"]
    reasons = {rejection["reason"] for rejection in await rows(database_url, "release_event_rejections")}
    assert (len(await rows(database_url, "releases")), reasons) == (ROUNDS, {"release_conflict"})


async def test_the_same_event_at_once_is_applied_once(workers: Workers, database_url: str) -> None:
    """The other worker finds that it is known, whatever the event."""
    for _ in range(ROUNDS):
        pipeline = Pipeline()
        messages = [*pipeline.approved(), pipeline.deploy("started"), pipeline.deploy("succeeded")]
        for message in messages:
            assert sorted(await at_once(workers, message, message)) == ["Applied", "Duplicate"]
    entries = await rows(database_url, "release_activity_logs")
    assert len(entries) == ROUNDS * (3 + 2 + 2)


async def test_an_event_that_is_applied_while_its_repeat_is_judged_is_not_rejected(
    workers: Workers, postgres_server: PostgresServer, database_url: str
) -> None:
    """The repeat waits for the release; what it knew of the event before it waited is no longer so. Every record is in
    the log or among the rejections, never in both.
    """
    if not database_url.startswith("postgresql"):
        pytest.skip("only PostgreSQL says who waits for whom")
    waiting = f"select count(*) from pg_stat_activity where datname = '{make_url(database_url).database}'"
    waiting += " and wait_event_type = 'Lock'"
    quick, slow = workers
    pipeline = Pipeline()
    await process_all([*pipeline.approved(), pipeline.deploy("succeeded")], quick)
    rolled_back = pipeline.deploy("rolled_back")
    async with quick.begin() as transaction:
        await transaction.write(decide(await transaction.load(rolled_back), rolled_back))
        repeat = asyncio.create_task(process_until_settled(rolled_back, slow))
        await until(lambda: asyncio.to_thread(lambda: postgres_server.execute(waiting) != "0"), what="the repeat waits")
    assert isinstance(await repeat, Duplicate)
    assert await rows(database_url, "release_event_rejections") == []


async def test_the_same_rejection_at_once_is_one_row(workers: Workers, database_url: str) -> None:
    for _ in range(ROUNDS):
        stranger = Pipeline().deploy("started")
        assert sorted(await at_once(workers, stranger, stranger)) == ["Duplicate", "Rejected"]
    assert len(await rows(database_url, "release_event_rejections")) == ROUNDS


Race = tuple[list[Message], Message, list[Message]]


def _release_created_meanwhile() -> Race:
    pipeline = Pipeline()
    return [], pipeline.deploy("started", release=pipeline.fields), [pipeline.created()]


def _release_moved_meanwhile() -> Race:
    pipeline = Pipeline()
    before = [pipeline.created(), pipeline.tell("release.submitted")]
    return before, pipeline.tell("release.approved"), [pipeline.tell("release.rejected")]


def _deployment_moved_meanwhile() -> Race:
    pipeline = Pipeline()
    before = [*pipeline.approved(), pipeline.deploy("started")]
    return before, pipeline.deploy("succeeded"), [pipeline.deploy("failed")]


def _attempt_opened_meanwhile() -> Race:
    pipeline = Pipeline()
    return [*pipeline.approved()], pipeline.deploy("started"), [pipeline.deploy("succeeded")]


def _number_taken_meanwhile() -> Race:
    pipeline = Pipeline()
    return [], pipeline.created(), [Pipeline(number=pipeline.number).created()]


def _event_applied_meanwhile() -> Race:
    pipeline = Pipeline()
    activity = pipeline.tell("activity.recorded", {"activity_type": "NOTE", "activity_data": {}})
    return [*pipeline.approved()], activity, [activity]


def _event_rejected_meanwhile() -> Race:
    stranger = Pipeline().deploy("started")
    return [], stranger, [stranger]


def _pointer_moved_meanwhile() -> Race:
    one, other = Pipeline(), Pipeline()
    before = [*one.approved(), *other.approved(), one.deploy("started"), other.deploy("started")]
    return before, one.deploy("succeeded"), [other.deploy("succeeded")]


@pytest.mark.parametrize(
    "race",
    [
        _release_created_meanwhile,
        _release_moved_meanwhile,
        _deployment_moved_meanwhile,
        _attempt_opened_meanwhile,
        _number_taken_meanwhile,
        _event_applied_meanwhile,
        _event_rejected_meanwhile,
        _pointer_moved_meanwhile,
    ],
    ids=lambda race: race.__name__.strip("_"),
)
async def test_a_row_changed_behind_the_decision_is_a_conflict(
    workers: Workers, database_url: str, race: Callable[[], Race]
) -> None:
    """What was decided on rows that are no longer so is not written, not in part either."""
    environment = {"environment_id": "production", "component_id": COMPONENT, "deployment_track_id": "main"}
    await insert_rows(database_url, "app_environments", [{"id": uuid4(), **environment}])
    before, message, meanwhile = race()
    slow, quick = workers
    await process_all(before, quick)
    async with slow.begin() as transaction:
        state = await transaction.load(message)
    await process_all(meanwhile, quick)
    expected = await contents(database_url)
    with pytest.raises(Conflict):
        async with slow.begin() as transaction:
            await transaction.write(decide(state, message))
    assert await contents(database_url) == expected
    await process(message, slow)


async def test_a_redrive_at_once_resolves_once(workers: Workers, database_url: str) -> None:
    """An operator who asks twice gets one effect."""
    pipeline = Pipeline()
    early = pipeline.deploy("requested", at=minute(9))
    await process_all([early, *pipeline.approved()], workers[0])
    back = redriven(early)
    outcomes = await asyncio.gather(*(process_until_settled(back, store) for store in workers))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [Applied.__name__, Duplicate.__name__]
    assert (await row(database_url, "release_event_rejections"))["resolved_at"] == back.recorded_at
