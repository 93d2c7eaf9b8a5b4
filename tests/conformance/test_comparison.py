"""Two databases of different kinds with one history have no difference; each changed row is one."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.conformance.release_messages import COMPONENT, ReleaseMessages
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import TABLES, insert_rows
from worker.db.table_reader import Content, SqlTableReader
from worker.rules.message import Message
from worker.verify.databases import Comparison, Side, compare

RELEASES = 3


@pytest.fixture
async def databases(database_url: str, tmp_path: Path) -> tuple[str, str]:
    """The test's database and a SQLite file, both with the same events handled."""
    other_url = f"sqlite+aiosqlite:///{tmp_path / 'other.db'}"
    messages = the_messages()
    for number, url in enumerate((database_url, other_url)):
        await migrate(url)
        await insert_rows(url, "app_environments", [environment("production"), environment(f"own {number}")])
        async with opened(url) as store:
            await process_all(messages, store)
    return database_url, other_url


def the_messages() -> list[Message]:
    messages = []
    for _ in range(RELEASES):
        builder = ReleaseMessages()
        messages += [*builder.approved(), builder.deploy("started"), builder.deploy("succeeded")]
    return [*messages, ReleaseMessages().deploy("started")]


def environment(name: str) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "environment_id": name,
        "component_id": COMPONENT,
        "deployment_track_id": "main",
    }


async def compared(urls: tuple[str, str]) -> Comparison:
    here, there = (SqlTableReader.open(url, timeout_seconds=20) for url in urls)
    try:
        return await compare(here, there, differences_max=100)
    finally:
        await here.close()
        await there.close()


async def test_equal_databases_have_no_difference(databases: tuple[str, str]) -> None:
    comparison = await compared(databases)
    assert comparison.kept == []
    assert comparison.counts["releases"] == RELEASES
    assert comparison.counts["rejections"] == 1
    assert comparison.counts["environments"] == 1


async def test_each_changed_row_is_a_difference(databases: tuple[str, str]) -> None:
    changes: dict[str, Callable[[Any], Any]] = {
        "release_versions": lambda table: update(table).values(version=table.c.version + 1),
        "release_deployments": lambda table: update(table).values(comment="edited"),
        "release_event_rejections": lambda table: update(table).values(detail="edited"),
        "app_environments": lambda table: update(table).values(release_mgt_deployment_name="edited"),
        "release_activity_logs": lambda table: delete(table).where(table.c.activity_type == "RELEASE_CREATED"),
    }
    for table, statement in changes.items():
        await execute(databases[1], statement(TABLES[table]))
    comparison = await compared(databases)
    assert dict(comparison.by_table) == {
        ("release_versions", Side.BOTH): RELEASES,
        ("release_deployments", Side.BOTH): RELEASES,
        ("release_event_rejections", Side.BOTH): 1,
        ("app_environments", Side.BOTH): 1,
        ("release_activity_logs", Side.HERE): RELEASES,
    }
    lines = [difference.line() for difference in comparison.kept]
    assert any("release_deployments" in line and "comment null | edited" in line for line in lines)


async def test_rows_of_one_database_are_differences(databases: tuple[str, str]) -> None:
    """A release that no event is about is another application's, and counted."""
    for url, number in zip(databases, (71, 72), strict=True):
        builder = ReleaseMessages(number=number)
        async with opened(url) as store:
            await process_all([builder.created(), ReleaseMessages().deploy("started")], store)
        await execute(url, insert(TABLES["releases"]).values(**foreign(number)))
    comparison = await compared(databases)
    assert dict(comparison.by_table) == {
        ("releases", Side.HERE): 1,
        ("releases", Side.THERE): 1,
        ("release_event_rejections", Side.HERE): 1,
        ("release_event_rejections", Side.THERE): 1,
    }
    assert comparison.counts["foreign"] == 2


def foreign(number: int) -> dict[str, Any]:
    texts = {"organization_id": "acme", "created_by": "other", "deployment_track_id": "foreign", "status": "DRAFT"}
    ids: dict[str, UUID] = {"id": uuid4(), "project_id": uuid4(), "component_id": uuid4()}
    return {**texts, **ids, "release_number": number, "release_date": date(2026, 3, 17)}


async def test_content_of_a_database_is_known(database_url: str) -> None:
    reader = SqlTableReader.open(database_url, timeout_seconds=20)
    try:
        assert await reader.content() is Content.NO_TABLES
        await migrate(database_url)
        assert await reader.content() is Content.NO_ROWS
        async with opened(database_url) as store:
            await process_all([ReleaseMessages().deploy("started")], store)
        assert await reader.content() is Content.ROWS
    finally:
        await reader.close()


async def test_activities_and_deployments_are_read_by_id(database_url: str) -> None:
    await migrate(database_url)
    builder = ReleaseMessages()
    events = [*builder.approved(), builder.deploy("succeeded")]
    async with opened(database_url) as store:
        await process_all(events, store)
    reader = SqlTableReader.open(database_url, timeout_seconds=20)
    try:
        types = await reader.activity_types([one.id for one in events] + [uuid4()])
        [rows] = await reader.rows_of([builder.release_id])
        [deployment] = rows.deployments
        deployed = await reader.deployed([deployment["id"], uuid4()])
    finally:
        await reader.close()
    assert types.keys() == {one.id for one in events}
    assert types[events[0].id] == "RELEASE_CREATED"
    assert deployed == {deployment["id"]: (builder.release_id, deployment["deployed_at"])}


async def execute(url: str, statement: Any) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(statement)
    finally:
        await engine.dispose()
