"""A release's version counts the events that change it, and guards what is decided on it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Executable, delete, insert, update

from tests.conformance.catalog import run
from tests.conformance.release_messages import PROJECT, ReleaseMessages, minute
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import rows
from tests.conformance.test_store_day import messages_of, one_by_one, prepare, records_of_day
from worker.db import migration
from worker.db.models import Release, ReleaseActivityLog, ReleaseDeployment, ReleaseVersion
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.decide import decide
from worker.rules.errors import Conflict, StaleRead
from worker.rules.message import Message
from worker.rules.state import Applied, Outcome, Rejected, Stale, State

SCAN = {"activity_type": "SCAN", "activity_data": {}}


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    await migrate(database_url)
    async with opened(database_url) as store:
        yield store


async def versions(url: str) -> dict[UUID, int]:
    return {row["release_mgt_id"]: row["version"] for row in await rows(url, "release_versions")}


async def insert_release(url: str, builder: ReleaseMessages, *, status: str = "APPROVED") -> None:
    """A release that another application made."""
    release = insert(Release).values(
        id=builder.release_id,
        updated_at=minute(0),
        release_date=minute(0).date(),
        release_number=builder.number,
        project_id=PROJECT,
        organization_id=builder.organization_id,
        created_by="another application",
        component_id=builder.component_id,
        deployment_track_id="main",
        status=status,
    )
    await asyncio.to_thread(run, url, release)


def meanwhile(url: str, *statements: Executable) -> Callable[[State, Message], Outcome]:
    """A decider during which another application executes the statements and commits."""

    def decider(state: State, message: Message) -> Outcome:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(run, url, *statements).result()
        return decide(state, message)

    return decider


async def test_version_counts_the_events_that_change_a_release(store: SqlStore, database_url: str) -> None:
    """Once for an event, however many rows it changes; not for what is only logged or rejected."""
    builder = ReleaseMessages()
    steps: list[tuple[Message, type[Outcome], int]] = [
        (builder.created(), Applied, 0),
        (builder.event("release.submitted"), Applied, 1),
        (builder.event("release.approved"), Applied, 2),
        (builder.event("release.approved"), Stale, 2),
        (builder.event("activity.recorded", SCAN), Applied, 2),
        (builder.deploy("requested"), Applied, 3),
        (builder.deploy("requested"), Applied, 4),
        (builder.deploy("started"), Applied, 5),
        (builder.deploy("failed", at=minute(0)), Stale, 5),
        (builder.deploy("started", attempt=9), Rejected, 5),
        (builder.deploy("succeeded"), Applied, 6),
    ]
    for message, outcome, version in steps:
        assert isinstance(await process(message, store), outcome)
        assert await versions(database_url) == {builder.release_id: version}


async def test_version_of_a_foreign_release_begins_with_its_first_change(store: SqlStore, database_url: str) -> None:
    builder = ReleaseMessages()
    await insert_release(database_url, builder)
    assert isinstance(await process(builder.event("activity.recorded", SCAN), store), Applied)
    assert isinstance(await process(builder.deploy("started", attempt=9), store), Rejected)
    assert await versions(database_url) == {}
    assert isinstance(await process(builder.deploy("started"), store), Applied)
    assert await versions(database_url) == {builder.release_id: 1}
    assert isinstance(await process(builder.deploy("succeeded"), store), Applied)
    assert await versions(database_url) == {builder.release_id: 2}


@pytest.mark.parametrize("step", ["started", "activity", "gap"])
async def test_version_inserted_between_load_and_write_is_a_stale_read(
    store: SqlStore, database_url: str, step: str
) -> None:
    """Another worker was the first to change another application's release, whatever this one wants to write."""
    builder = ReleaseMessages()
    await insert_release(database_url, builder)
    message = {
        "started": builder.deploy("started"),
        "activity": builder.event("activity.recorded", SCAN),
        "gap": builder.deploy("started", attempt=9),
    }[step]
    inserted = insert(ReleaseVersion).values(release_mgt_id=builder.release_id, version=1)
    with pytest.raises(StaleRead):
        await process(message, store, meanwhile(database_url, inserted))
    assert await rows(database_url, "release_activity_logs") == []
    assert await rows(database_url, "release_event_rejections") == []
    await process(message, store)


@pytest.mark.parametrize("step", ["started", "activity", "gap"])
async def test_version_changed_between_load_and_write_is_a_stale_read(
    store: SqlStore, database_url: str, step: str
) -> None:
    builder = ReleaseMessages()
    await process_all(builder.approved(), store)
    before = await rows(database_url, "release_activity_logs")
    message = {
        "started": builder.deploy("started"),
        "activity": builder.event("activity.recorded", SCAN),
        "gap": builder.deploy("started", attempt=9),
    }[step]
    with pytest.raises(StaleRead):
        await process(message, store, meanwhile(database_url, update(ReleaseVersion).values(version=3)))
    assert await rows(database_url, "release_activity_logs") == before
    assert await rows(database_url, "release_event_rejections") == []
    await process(message, store)


async def test_release_status_changed_by_others_is_noticed(store: SqlStore, database_url: str) -> None:
    """They know nothing of the version. The change of status names the status that was read."""
    builder = ReleaseMessages()
    await process_all([builder.created()], store)
    message = builder.event("release.submitted")
    with pytest.raises(StaleRead):
        await process(message, store, meanwhile(database_url, update(Release).values(status="IN_REVIEW")))
    assert await versions(database_url) == {builder.release_id: 0}
    assert isinstance(await process(message, store), Stale)


async def test_deployment_status_changed_by_others_is_noticed(store: SqlStore, database_url: str) -> None:
    builder = ReleaseMessages()
    await process_all([*builder.approved(), builder.deploy("started")], store)
    before = await versions(database_url)
    message = builder.deploy("succeeded")
    cancelled = update(ReleaseDeployment).values(status="CANCELLED")
    with pytest.raises(Conflict):
        await process(message, store, meanwhile(database_url, cancelled))
    assert await versions(database_url) == before
    assert isinstance(await process(message, store), Applied)


async def test_version_goes_with_its_release(store: SqlStore, database_url: str) -> None:
    """The table is the worker's own, and the release another application's to delete."""
    builder = ReleaseMessages()
    await process_all(builder.approved(), store)
    await asyncio.to_thread(lambda: run(database_url, delete(Release), foreign_keys=True))
    assert await versions(database_url) == {}


async def test_migration_counts_as_the_worker_does(database_url: str) -> None:
    """The versions of a day, from its activity log alone."""
    await prepare(database_url, 7)
    async with opened(database_url) as store:
        await one_by_one(messages_of(records_of_day(7)), store)
    counted = await versions(database_url)
    assert len(counted) > 5
    assert max(counted.values()) > 5
    await asyncio.to_thread(migration.downgrade, database_url, "0.0.223")
    await asyncio.to_thread(migration.upgrade, database_url)
    assert await versions(database_url) == counted


@pytest.mark.parametrize(
    "text", [None, "", "no JSON", '{"change": 1', "[]", '{"event": {}}', '{"change": {}, "event": null}']
)
async def test_migration_ignores_entries_of_others(database_url: str, text: str | None) -> None:
    """Whatever they hold."""
    await migrate(database_url, "0.0.223")
    builder = ReleaseMessages()
    await insert_release(database_url, builder)
    entry = insert(ReleaseActivityLog).values(
        id=uuid4(),
        release_mgt_id=builder.release_id,
        activity_type="DEPLOYMENT_STATUS_CHANGED",
        activity_data=text,
        status="SUCCESS",
    )
    await asyncio.to_thread(run, database_url, entry)
    await migrate(database_url)
    assert await versions(database_url) == {}
