"""Two workers on one release: a stalled one that lost its partition, or a second topic. The rows come out as if one
event had followed the other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from schemas.event import Invalid
from tests.conformance.release_messages import COMPONENT, ReleaseMessages, message, minute, redriven
from tests.conformance.stores import migrate, opened, process_all, process_until_settled
from tests.conformance.table_contents import contents, insert_rows, row, rows
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.decide import decide
from worker.rules.errors import Conflict
from worker.rules.message import Message
from worker.rules.state import Applied, Duplicate, Outcome, State

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


async def test_release_status_counts_concurrent_deployments(workers: Workers, database_url: str) -> None:
    """Two environments finish together: neither worker may have seen the other's still running (write skew)."""
    for _ in range(ROUNDS):
        builder = ReleaseMessages()
        started = [builder.deploy("started", environment_id=name) for name in ("eu", "us")]
        await process_all([*builder.approved(), *started], workers[0])
        finished = [builder.deploy("succeeded", environment_id=name) for name in ("eu", "us")]
        assert await at_once(workers, *finished) == ["Applied", "Applied"]
    assert {release["status"] for release in await rows(database_url, "releases")} == {"DEPLOYED"}


async def test_concurrent_requests_open_two_attempts(workers: Workers, database_url: str) -> None:
    """Neither is doubled nor lost: the one that comes second supersedes the first."""
    releases = {}
    for _ in range(ROUNDS):
        builder = ReleaseMessages()
        await process_all(builder.approved(), workers[0])
        requests = [builder.deploy("requested") for _ in workers]
        outcomes = await at_once(workers, *requests)
        assert outcomes[1] == "Applied"
        # The older comes too late where the later one was first.
        assert outcomes[0] in {"Applied", "Stale"}
        superseded = {(1, "CANCELLED"), (2, "PENDING")}
        releases[builder.release_id] = superseded if outcomes[0] == "Applied" else {(1, "PENDING")}
    found: dict[object, set[tuple[int, str]]] = {}
    for deployment in await rows(database_url, "release_deployments"):
        found.setdefault(deployment["release_mgt_id"], set()).add((deployment["attempt"], deployment["status"]))
    assert found == releases
    assert {release["status"] for release in await rows(database_url, "releases")} == {"DEPLOYING"}


async def test_concurrent_release_blocks_create_one_release(workers: Workers, database_url: str) -> None:
    """The first word about a release may be spoken twice at the same time."""
    for _ in range(ROUNDS):
        builder = ReleaseMessages()
        blocks = [
            builder.deploy("succeeded", environment_id=name, release=builder.fields, at=minute(1))
            for name in ("eu", "us")
        ]
        assert await at_once(workers, *blocks) == ["Applied", "Applied"]
    found = await rows(database_url, "releases")
    assert [release["status"] for release in found] == ["DEPLOYED"] * ROUNDS
    assert len(await rows(database_url, "release_deployments")) == 2 * ROUNDS


async def test_concurrent_releases_cannot_share_a_number(workers: Workers, database_url: str) -> None:
    """One is created, the other rejected for good."""
    for _ in range(ROUNDS):
        one = ReleaseMessages()
        other = ReleaseMessages(number=one.number)
        assert sorted(await at_once(workers, one.created(), other.created())) == ["Applied", "Rejected"]
    reasons = {rejection["reason"] for rejection in await rows(database_url, "release_event_rejections")}
    assert (len(await rows(database_url, "releases")), reasons) == (ROUNDS, {"release_conflict"})


async def test_concurrent_duplicates_are_applied_once(workers: Workers, database_url: str) -> None:
    """The other worker finds that it is known, whatever the event."""
    for _ in range(ROUNDS):
        builder = ReleaseMessages()
        messages = [*builder.approved(), builder.deploy("started"), builder.deploy("succeeded")]
        for sent in messages:
            assert sorted(await at_once(workers, sent, sent)) == ["Applied", "Duplicate"]
    activities = await rows(database_url, "release_activity_logs")
    assert len(activities) == ROUNDS * (3 + 2 + 2)


async def test_event_applied_during_its_repeat_is_not_rejected(workers: Workers, database_url: str) -> None:
    """What the repeat knew of the event is no longer so when it is written. Every record is in the log or among the
    rejections, never in both.
    """
    quick, slow = workers
    builder = ReleaseMessages()
    await process_all([*builder.approved(), builder.deploy("succeeded")], quick)
    rolled_back = builder.deploy("rolled_back")
    outcomes = await asyncio.gather(process_until_settled(rolled_back, quick), process_until_settled(rolled_back, slow))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Applied", "Duplicate"]
    assert await rows(database_url, "release_event_rejections") == []


async def test_concurrent_rejections_are_one_row(workers: Workers, database_url: str) -> None:
    for _ in range(ROUNDS):
        stranger = ReleaseMessages().deploy("started")
        assert sorted(await at_once(workers, stranger, stranger)) == ["Duplicate", "Rejected"]
    assert len(await rows(database_url, "release_event_rejections")) == ROUNDS


Race = tuple[list[Message], Message, list[Message]]


async def state_of(message: Message, store: SqlStore) -> State:
    """What the store would have judged, without writing anything."""
    seen: list[State] = []

    class Enough(Exception):
        pass

    def decider(state: State, _message: Message) -> Outcome:
        seen.append(state)
        raise Enough

    with pytest.raises(Enough):
        await process(message, store, decider)
    return seen[0]


def _release_created_meanwhile() -> Race:
    builder = ReleaseMessages()
    return [], builder.deploy("started", release=builder.fields), [builder.created()]


def _release_moved_meanwhile() -> Race:
    builder = ReleaseMessages()
    before = [builder.created(), builder.event("release.submitted")]
    return before, builder.event("release.approved"), [builder.event("release.rejected")]


def _deployment_moved_meanwhile() -> Race:
    builder = ReleaseMessages()
    before = [*builder.approved(), builder.deploy("started")]
    return before, builder.deploy("succeeded"), [builder.deploy("failed")]


def _attempt_opened_meanwhile() -> Race:
    builder = ReleaseMessages()
    return [*builder.approved()], builder.deploy("started"), [builder.deploy("succeeded")]


def _number_taken_meanwhile() -> Race:
    builder = ReleaseMessages()
    return [], builder.created(), [ReleaseMessages(number=builder.number).created()]


def _event_applied_meanwhile() -> Race:
    builder = ReleaseMessages()
    recorded_activity = builder.event("activity.recorded", {"activity_type": "NOTE", "activity_data": {}})
    return [*builder.approved()], recorded_activity, [recorded_activity]


def _event_rejected_meanwhile() -> Race:
    stranger = ReleaseMessages().deploy("started")
    return [], stranger, [stranger]


def _pointer_moved_meanwhile() -> Race:
    one, other = ReleaseMessages(), ReleaseMessages()
    before = [*one.approved(), *other.approved(), one.deploy("started"), other.deploy("started")]
    return before, one.deploy("succeeded"), [other.deploy("succeeded")]


def _sibling_moved_meanwhile() -> Race:
    """Nothing that the message writes was changed: only what its roll-up was counted from."""
    builder = ReleaseMessages()
    before = [*builder.approved(), *(builder.deploy("started", environment_id=name) for name in ("eu", "us"))]
    finished = [builder.deploy("succeeded", environment_id=name) for name in ("eu", "us")]
    return before, finished[0], finished[1:]


def _event_applied_before_its_rejection() -> Race:
    builder = ReleaseMessages()
    rolled_back = builder.deploy("rolled_back")
    return [*builder.approved()], rolled_back, [builder.deploy("succeeded"), rolled_back]


def _event_applied_before_its_broken_twin_is_rejected() -> Race:
    """Two records with one identity, one of them no event: it has no release that could be compared."""
    builder = ReleaseMessages()
    started = builder.deploy("started")
    broken = message(b"{", started.record.headers)
    assert isinstance(broken.content, Invalid)
    assert broken.id == started.id
    return [*builder.approved()], broken, [started]


def _release_created_before_its_absence_is_told() -> Race:
    builder = ReleaseMessages()
    started = builder.deploy("started")
    return [], started, [*builder.approved(), started]


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
async def test_row_changed_after_the_load_is_a_stale_read(
    workers: Workers, database_url: str, race: Callable[[], Race]
) -> None:
    """What was decided on rows that are no longer so is not written, not in part either."""
    environment = {"environment_id": "production", "component_id": COMPONENT, "deployment_track_id": "main"}
    await insert_rows(database_url, "app_environments", [{"id": uuid4(), **environment}])
    before, message, meanwhile = race()
    slow, quick = workers
    await process_all(before, quick)
    seen = await state_of(message, slow)
    await process_all(meanwhile, quick)
    expected = await contents(database_url)
    with pytest.raises(Conflict):
        await process(message, slow, lambda _, message: decide(seen, message))
    assert await contents(database_url) == expected
    await process(message, slow)


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
        _sibling_moved_meanwhile,
        _event_applied_before_its_rejection,
        _event_applied_before_its_broken_twin_is_rejected,
        _release_created_before_its_absence_is_told,
    ],
    ids=lambda race: race.__name__.strip("_"),
)
async def test_concurrent_write_is_a_stale_read(database_url: str, race: Callable[[], Race]) -> None:
    """Nothing is held between load and write, and nothing is written that rests on what is no longer true."""
    await migrate(database_url)
    environment = {"environment_id": "production", "component_id": COMPONENT, "deployment_track_id": "main"}
    await insert_rows(database_url, "app_environments", [{"id": uuid4(), **environment}])
    before, message, meanwhile = race()

    async def others() -> object:
        async with opened(database_url) as quick:
            await process_all(meanwhile, quick)
        return await contents(database_url)

    expected: list[object] = []

    def decider(state: State, message: Message) -> Outcome:
        with ThreadPoolExecutor(1) as thread:
            expected.append(thread.submit(asyncio.run, others()).result())
        return decide(state, message)

    async with opened(database_url) as slow:
        await process_all(before, slow)
        with pytest.raises(Conflict):
            await process(message, slow, decider)
        assert await contents(database_url) == expected[0]
        await process(message, slow)


async def test_concurrent_redrives_resolve_once(workers: Workers, database_url: str) -> None:
    """An operator who asks twice gets one effect."""
    builder = ReleaseMessages()
    early = builder.deploy("requested", at=minute(9))
    await process_all([early, *builder.approved()], workers[0])
    back = redriven(early)
    outcomes = await asyncio.gather(*(process_until_settled(back, store) for store in workers))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [Applied.__name__, Duplicate.__name__]
    assert (await row(database_url, "release_event_rejections"))["resolved_at"] == back.recorded_at
