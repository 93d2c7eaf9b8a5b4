"""What the status commands read, on each database, of rows that the worker's own store has written."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import URL, ClauseElement, Executable, Select, make_url, text
from sqlalchemy.ext.compiler import compiles

from tests.conformance.release_messages import COMPONENT, MOMENT, ORGANIZATION, ReleaseMessages, minute
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import insert_rows, rows
from tests.conformance.test_grants import grant, login
from worker.db.privileges import Role
from worker.db.status_queries import SqlStatusTables, changes_query, releases_query
from worker.pages import CappedCount, PageKey
from worker.rules.errors import ConfigurationError, Unavailable
from worker.status.delivery import By, delivery_report
from worker.status.environments import EnvironmentStatus, environment_statuses
from worker.status.releases import release_report
from worker.stored_status import EnvironmentFilters, ReleaseFilters

__all__ = ["login"]

POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
async def tables(database_url: str) -> AsyncIterator[SqlStatusTables]:
    await migrate(database_url)
    tables = SqlStatusTables.open(database_url, timeout_seconds=20)
    yield tables
    await tables.close()


async def write(url: str, *messages: Any) -> None:
    async with opened(url) as store:
        await process_all(messages, store)


async def running(tables: SqlStatusTables, **filters: Any) -> dict[str, EnvironmentStatus]:
    """By environment; the releases of the test have one component and one track."""
    found, more = await tables.environments(EnvironmentFilters(**filters), 100)
    assert not more
    return {status.cell.environment_id: status for status in environment_statuses(found)}


async def test_roll_back_returns_to_the_success_before(database_url: str, tables: SqlStatusTables) -> None:
    """Since the roll back; a failed attempt and a running one change nothing about what runs."""
    first, second = ReleaseMessages(), ReleaseMessages(count=100)
    await write(database_url, first.deploy("succeeded", release=first.fields, actor="amara"))
    await write(database_url, second.deploy("succeeded", release=second.fields, actor="liu"))
    status = (await running(tables))["production"]
    assert status.running is not None
    assert (status.running.release_id, status.running.deployed_by) == (second.release_id, "liu")
    assert status.since == minute(101)
    await write(database_url, second.deploy("started"), second.deploy("failed"))
    status = (await running(tables))["production"]
    assert (status.running and status.running.attempt, status.latest.attempt, status.latest.status) == (1, 2, "FAILED")
    await write(database_url, second.deploy("rolled_back", attempt=1))
    status = (await running(tables))["production"]
    assert (status.running and status.running.release_id, status.since) == (first.release_id, minute(104))
    await write(database_url, first.deploy("rolled_back", at=minute(200)))
    status = (await running(tables))["production"]
    assert (status.running, status.since) == (None, None)
    assert status.latest.release_id == first.release_id


async def test_filters_select_environments(database_url: str, tables: SqlStatusTables) -> None:
    """A cancelled attempt is no deployment anywhere."""
    one, other = ReleaseMessages(), ReleaseMessages(component_id=uuid4(), organization_id="bluefin-bank")
    await write(
        database_url,
        one.deploy("succeeded", release=one.fields),
        one.deploy("started", environment_id="staging"),
        one.deploy("cancelled", environment_id="qa"),
        other.deploy("succeeded", release=other.fields, environment_id="staging"),
    )
    assert set(await running(tables, organization=ORGANIZATION)) == {"production", "staging"}
    assert set(await running(tables, component=other.component_id)) == {"staging"}
    assert set(await running(tables, environment="production")) == {"production"}
    assert await running(tables, environment="qa") == {}
    found, more = await tables.environments(EnvironmentFilters(), 2)
    assert (len({one.cell for one in found}), more) == (2, True)


async def test_filters_select_releases(database_url: str, tables: SqlStatusTables) -> None:
    draft, failed, deployed = ReleaseMessages(count=0), ReleaseMessages(count=10), ReleaseMessages(count=20)
    other = ReleaseMessages(count=30, component_id=uuid4())
    await write(
        database_url,
        draft.created(),
        failed.deploy("failed", release=failed.fields),
        deployed.deploy("succeeded", release=deployed.fields, environment_id="staging"),
        other.created(),
    )

    async def selected(**filters: Any) -> list[UUID]:
        page = await tables.releases(ReleaseFilters(**filters), None, 100)
        assert page.count == CappedCount(len(page.releases))
        assert page.next is None
        return [release.release_id for release in page.releases]

    assert await selected() == [one.release_id for one in (other, deployed, failed, draft)]
    assert await selected(status="FAILED") == [failed.release_id]
    assert await selected(component=other.component_id) == [other.release_id]
    assert await selected(environment="staging") == [deployed.release_id]
    assert await selected(since=minute(11), until=minute(21)) == [failed.release_id]
    assert await selected(environment="nowhere") == []


async def test_release_pages_are_the_whole_set(database_url: str, tables: SqlStatusTables) -> None:
    """Each release once, where many changed at one moment, and while newer ones are added after each page."""
    await insert_rows(database_url, "releases", [release_row(number, number // 7) for number in range(40)])
    found: list[UUID] = []
    after: PageKey | None = None
    while True:
        page = await tables.releases(ReleaseFilters(), after, 6)
        found += [release.release_id for release in page.releases]
        if page.next is None:
            break
        after = PageKey.parse(str(page.next))
        await insert_rows(database_url, "releases", [release_row(1_000 + len(found), 10_000)])
    assert len(found) == len(set(found)) == 40


async def test_release_count_is_capped(database_url: str, tables: SqlStatusTables) -> None:
    releases = [release_row(number, 0) for number in range(10_001)]
    for first in range(0, len(releases), 2_500):
        await insert_rows(database_url, "releases", releases[first : first + 2_500])
    page = await tables.releases(ReleaseFilters(), None, 1)
    assert str(page.count) == "10,000+"
    assert page.next is not None


def release_row(number: int, changed: float) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "created_at": MOMENT,
        "updated_at": minute(changed),
        "release_date": MOMENT.date(),
        "release_number": number + 1,
        "project_id": uuid4(),
        "organization_id": ORGANIZATION,
        "created_by": "amara",
        "component_id": COMPONENT,
        "deployment_track_id": "main",
        "status": "DRAFT",
    }


async def test_release_is_shown_with_its_history(database_url: str, tables: SqlStatusTables) -> None:
    """By id and by name; resolved and dismissed dead letters are left out."""
    one = ReleaseMessages()
    gap, dismissed = one.deploy("started", attempt=9), one.deploy("started", attempt=8)
    await write(
        database_url,
        *one.approved(),
        one.deploy("started"),
        one.deploy("failed", comment="no space left"),
        one.deploy("succeeded"),
        gap,
        dismissed,
    )
    [rejection] = [
        found
        for found in await rows(database_url, "release_event_rejections")
        if found["event_id"] == event_id(dismissed)
    ]
    await insert_rows(
        database_url,
        "release_event_dismissals",
        [{"rejection_id": rejection["id"], "dismissed_at": MOMENT, "dismissed_by": "liu", "note": "known"}],
    )
    report = await release_report(tables, f"20260317-{one.number}", None)
    assert report == await release_report(tables, str(one.release_id), COMPONENT)
    detail = report.detail
    assert (detail.release.status, detail.version, detail.cut) == ("DEPLOYED", 5, ())
    assert [(found.attempt.attempt, found.attempt.status, found.comment) for found in detail.attempts] == [
        (1, "FAILED", "no space left"),
        (2, "SUCCESS", None),
    ]
    assert [activity.activity_type for activity in report.activities][-3:] == [
        "RELEASE_STATUS_CHANGED",
        "DEPLOYMENT_STATUS_CHANGED",
        "RELEASE_STATUS_CHANGED",
    ]
    assert [event.data["status"] for event in report.status_events if "environment_id" in event.data] == [
        "IN_PROGRESS",
        "FAILED",
        "SUCCESS",
    ]
    assert report.edited == ()
    assert [found.event_id for found in detail.dead_letters] == [event_id(gap)]


def event_id(message: Any) -> str:
    return str(message.content.id)


async def test_edited_activity_is_named(database_url: str, tables: SqlStatusTables) -> None:
    """One of which no status event can be made; the others are shown."""
    one = ReleaseMessages()
    await write(database_url, one.deploy("started", release=one.fields))
    edited = uuid4()
    activity = {
        "id": edited,
        "created_at": minute(9),
        "updated_at": minute(9),
        "release_mgt_id": one.release_id,
        "activity_type": "DEPLOYMENT_STATUS_CHANGED",
        "activity_data": '{"change": 7}',
        "status": "FAILED",
    }
    await insert_rows(database_url, "release_activity_logs", [activity])
    report = await release_report(tables, str(one.release_id), None)
    assert report.edited == (edited,)
    assert [event.data["previous_status"] for event in report.status_events] == [None, None, "APPROVED"]
    assert report.as_json()["edited_activities"] == [str(edited)]


async def test_release_name_must_be_one_release(database_url: str, tables: SqlStatusTables) -> None:
    one, other = ReleaseMessages(number=7), ReleaseMessages(number=7, component_id=uuid4())
    await write(database_url, one.created(), other.created())
    with pytest.raises(ConfigurationError, match=f"several releases are named 20260317-7.*{other.component_id}"):
        await release_report(tables, "20260317-7", None)
    report = await release_report(tables, "20260317-7", other.component_id)
    assert report.detail.release.release_id == other.release_id
    for named, problem in {
        "20260317-8": "there is no release 20260317-8",
        "20260399-7": "begins with no date",
        "release": "neither the id of a release nor a name",
        str(uuid4()): "there is no release",
    }.items():
        with pytest.raises(ConfigurationError, match=problem):
            await release_report(tables, named, None)


async def test_delivery_is_measured_from_the_log(database_url: str, tables: SqlStatusTables) -> None:
    """The row of a rolled back attempt has forgotten its success; the log has not."""
    first, second, third = (ReleaseMessages(count=count) for count in (0, 100, 200))
    metadata = {"committed_at": "2026-03-17T09:00:00Z", "unplanned": True}
    await write(
        database_url,
        first.deploy("succeeded", release={**first.fields, "metadata": metadata}),
        first.deploy("succeeded", environment_id="staging"),
        second.deploy("succeeded", release=second.fields),
        second.deploy("rolled_back", at=minute(131)),
        third.deploy("failed", release=third.fields),
        third.deploy("started", at=minute(210)),
        third.deploy("rolled_back", at=minute(215), attempt=2),
    )
    begin, end = minute(0), minute(1_000)
    total = (await delivery_report(tables, ["production"], begin=begin, end=end, by=By.COMPONENT)).total
    assert (total.deployments, total.ended, total.failed, total.rolled_back) == (2, 4, 3, 2)
    assert (total.recovery.n, total.recovery.p50, total.recoveries_unmeasured) == (1, 30 * 60.0, 1)
    assert [one.change.release_id for one in total.unrecovered] == [third.release_id]
    assert (total.lead_time.n, total.uncommitted) == (1, 1)
    assert (total.classified, total.rework_rate) == (1, 1.0)
    by_environment = await delivery_report(tables, [], begin=begin, end=end, by=By.ENVIRONMENT)
    assert {group.key: group.deployments for group in by_environment.groups} == {"production": 2, "staging": 1}
    nothing = (await delivery_report(tables, ["nowhere"], begin=begin, end=end, by=By.COMPONENT)).total
    assert (nothing.deployments_per_day, nothing.change_fail_rate, nothing.recovery.p50) == (None, None, None)


async def test_changes_are_read_in_pages(
    database_url: str, tables: SqlStatusTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change once, also where a page ends between two of one moment."""
    monkeypatch.setattr("worker.db.status_queries._CHANGES_PER_PAGE", 3)
    messages = [ReleaseMessages() for _ in range(10)]
    await write(
        database_url,
        *(one.deploy("succeeded", release=one.fields, at=minute(number // 5)) for number, one in enumerate(messages)),
    )
    found = [change async for change in tables.changes("production", minute(0))]
    assert sorted(change.release_id for change in found) == sorted(one.release_id for one in messages)
    assert len([change async for change in tables.changes("production", minute(1))]) == 5


class Explain(Executable, ClauseElement):
    """`EXPLAIN` of a statement with its parameters."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain)
def _(element: Explain, compiler: Any, **options: Any) -> str:
    return f"EXPLAIN {compiler.process(element.statement, **options)}"


@POSTGRESQL
async def test_pages_are_read_in_the_order_of_an_index(database_url: str, tables: SqlStatusTables) -> None:
    """Without a sort: a page costs the same however many releases there are."""
    cursor = PageKey(MOMENT, uuid4())
    queries = {
        "idx_releases_updated_at": releases_query(ReleaseFilters(), cursor, 50),
        "idx_release_activity_logs_ends": changes_query("production", MOMENT, (MOMENT, uuid4()), 50),
    }
    async with tables._connected() as connection:
        for scan in ("seqscan", "bitmapscan", "sort"):
            await connection.execute(text(f"SET LOCAL enable_{scan} = off"))  # the tables are empty
        for index, query in queries.items():
            plan = "\n".join((await connection.execute(Explain(query))).scalars())
            assert f"using {index}" in plan
            assert "Sort" not in plan


@POSTGRESQL
async def test_statement_is_bounded_and_read_only(database_url: str, tables: SqlStatusTables) -> None:
    """By the server: it does not go on with what nothing waits for."""
    async with tables._connected() as connection:
        assert (await connection.execute(text("SHOW statement_timeout"))).scalar_one() == "20s"
    with pytest.raises(Unavailable, match="read-only transaction"):
        async with tables._connected() as connection:
            await connection.execute(text("DELETE FROM releases"))
    quick = SqlStatusTables.open(database_url, timeout_seconds=0.5)
    try:
        with pytest.raises(Unavailable):
            async with quick._connected() as connection:
                await connection.execute(text("SELECT pg_sleep(60)"))
    finally:
        await quick.close()


@POSTGRESQL
def test_reader_may_use_every_status_query(database_url: str, login: URL) -> None:
    """And nothing of it without the grants."""
    one = ReleaseMessages()
    asyncio.run(migrate(database_url))
    asyncio.run(write(database_url, one.deploy("succeeded", release=one.fields)))
    url = make_url(login).render_as_string(hide_password=False)

    async def read() -> int:
        tables = SqlStatusTables.open(url, timeout_seconds=20)
        try:
            await tables.check()
            await tables.releases(ReleaseFilters(), None, 1)
            await release_report(tables, str(one.release_id), None)
            await release_report(tables, f"20260317-{one.number}", None)
            await delivery_report(tables, [], begin=minute(0), end=minute(9), by=By.ENVIRONMENT)
            return len((await tables.environments(EnvironmentFilters(), 9))[0])
        finally:
            await tables.close()

    with pytest.raises(ConfigurationError):
        asyncio.run(read())
    grant(database_url, login, Role.READER)
    assert asyncio.run(read()) == 1
