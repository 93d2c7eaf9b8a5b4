"""What runs in an environment: the rows of `app_environments`, the worker's own table or another system's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4, uuid5

import pytest
import structlog.testing

from schemas.derived_ids import NAMESPACE
from tests.conformance.catalog import run
from tests.conformance.release_messages import COMPONENT, ReleaseMessages, minute
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import insert_rows, row, rows
from worker.db.store import SqlStore
from worker.db.table_reader import SqlTableReader
from worker.pipeline.transaction import process
from worker.rules.errors import ConfigurationError
from worker.rules.state import Applied
from worker.stored_rows import EnvironmentRow

KEY = {"environment_id": "production", "component_id": COMPONENT, "deployment_track_id": "main"}
POINTERS = "release_mgt_release_id, release_mgt_deployment_id, release_mgt_deployment_name"
TEXT_TABLE = (
    "CREATE TABLE app_environments (title VARCHAR(20), environment_id VARCHAR(50) NOT NULL, "
    "component_id VARCHAR(100) NOT NULL, deployment_track_id VARCHAR(50) NOT NULL)"
)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    """A store with one row, for the component in production."""
    await migrate(database_url)
    await insert_rows(database_url, "app_environments", [{"id": uuid4(), **KEY}])
    async with opened(database_url) as store:
        yield store


def pointer_to(builder: ReleaseMessages, attempt: int = 1, config_revision: int = 1) -> tuple[str, str, str]:
    """Release, deployment and name, as the row has them."""
    deployment_id = uuid5(NAMESPACE, f"{builder.release_id}/production/{config_revision}/{attempt}")
    return str(builder.release_id), str(deployment_id), f"20260317-{builder.number}.{attempt}"


async def pointer(url: str) -> tuple[object, ...]:
    found = await row(url, "app_environments")
    return tuple(found[name] for name in POINTERS.split(", "))


async def approved(store: SqlStore) -> ReleaseMessages:
    builder = ReleaseMessages()
    await process_all(builder.approved(), store)
    return builder


async def test_only_success_moves_the_pointer(store: SqlStore, database_url: str) -> None:
    """Attempts that are active or failed set no pointer; a rollback leaves the pointer unchanged."""
    builder = await approved(store)
    for step in ("requested", "started", "failed"):
        await process(builder.deploy(step), store)
        assert await pointer(database_url) == (None, None, None)
    await process(builder.deploy("succeeded"), store)
    assert await pointer(database_url) == pointer_to(builder, attempt=2)
    await process(builder.deploy("rolled_back"), store)
    assert await pointer(database_url) == pointer_to(builder, attempt=2)


async def test_pointer_moves_forward_in_event_time_only(store: SqlStore, database_url: str) -> None:
    """The pointer names the release with the later success, in whichever order the events arrive."""
    early, late, latest = [await approved(store) for _ in range(3)]
    await process(late.deploy("succeeded", at=minute(50)), store)
    assert await pointer(database_url) == pointer_to(late)
    assert isinstance(await process(early.deploy("succeeded", at=minute(40)), store), Applied)
    assert await pointer(database_url) == pointer_to(late)
    await process(latest.deploy("succeeded", at=minute(60)), store)
    assert await pointer(database_url) == pointer_to(latest)


async def test_equal_times_have_one_result_in_either_order(store: SqlStore, database_url: str, tmp_path: Path) -> None:
    """Rows are a function of the topic, which does not fix the order of different releases."""
    other_url = f"sqlite+aiosqlite:///{tmp_path / 'other.db'}"
    await migrate(other_url)
    await insert_rows(other_url, "app_environments", [{"id": uuid4(), **KEY}])
    for _ in range(4):
        one, other = ReleaseMessages(), ReleaseMessages()
        approved = [*one.approved(), *other.approved()]
        finished = [builder.deploy("succeeded", at=minute(40 + one.number)) for builder in (one, other)]
        await process_all([*approved, *finished], store)
        async with opened(other_url) as reverse:
            await process_all([*approved, *reversed(finished)], reverse)
        assert await pointer(database_url) == await pointer(other_url)
        assert await pointer(database_url) in {pointer_to(one), pointer_to(other)}


async def test_missing_row_is_not_inserted(store: SqlStore, database_url: str) -> None:
    """Only the platform inserts rows into the table."""
    builder = await approved(store)
    await process(builder.deploy("succeeded", environment_id="staging"), store)
    elsewhere = ReleaseMessages(component_id=uuid4())
    await process_all([*elsewhere.approved(), elsewhere.deploy("succeeded")], store)
    assert await pointer(database_url) == (None, None, None)


async def test_foreign_text_in_the_pointer_is_overwritten(store: SqlStore, database_url: str) -> None:
    """A pointer that another system wrote names no release of the worker, and is overwritten."""
    for text in ("", "manual hotfix", str(uuid4()), str(uuid4()).upper()):
        builder = await approved(store)
        statement = f"UPDATE app_environments SET release_mgt_deployment_id = '{text}'"
        await asyncio.to_thread(run, database_url, statement)
        assert isinstance(await process(builder.deploy("succeeded"), store), Applied)
        assert await pointer(database_url) == pointer_to(builder)


async def test_table_with_further_columns_gets_its_pointer(store: SqlStore, database_url: str) -> None:
    """Nothing but the three columns changes in the row."""
    before = await row(database_url, "app_environments")
    builder = await approved(store)
    await process(builder.deploy("succeeded"), store)
    after = await row(database_url, "app_environments")
    changed = dict(zip(POINTERS.split(", "), pointer_to(builder), strict=True))
    assert after == before | changed


async def test_foreign_table_with_text_ids_gets_its_pointer(database_url: str) -> None:
    """Component ids as text are as good as UUIDs; the other rows stay as they are."""
    await asyncio.to_thread(run, database_url, TEXT_TABLE)
    await migrate(database_url)
    insert = "INSERT INTO app_environments (title, environment_id, component_id, deployment_track_id) VALUES"
    for title, environment in (("theirs", "staging"), ("ours", "production")):
        await asyncio.to_thread(run, database_url, f"{insert} ('{title}', '{environment}', '{COMPONENT}', 'main')")
    async with opened(database_url) as store:
        builder = await approved(store)
        assert isinstance(await process(builder.deploy("succeeded"), store), Applied)
        again = await approved(store)
        await process(again.deploy("succeeded", at=minute(9)), store)
    found = await asyncio.to_thread(run, database_url, f"SELECT title, {POINTERS} FROM app_environments ORDER BY title")
    assert found == [("ours", *pointer_to(again)), ("theirs", None, None, None)]


async def test_table_reader_reads_rows_of_any_table(database_url: str) -> None:
    """The table has no id column, component ids as text in capitals, and a row whose component is no UUID."""
    await asyncio.to_thread(run, database_url, TEXT_TABLE)
    await migrate(database_url)
    insert = "INSERT INTO app_environments (title, environment_id, component_id, deployment_track_id) VALUES"
    components = {"production": str(COMPONENT), "staging": str(COMPONENT).upper(), "none": "nobody"}
    for environment, component in components.items():
        await asyncio.to_thread(run, database_url, f"{insert} ('t', '{environment}', '{component}', 'main')")
    async with opened(database_url) as store:
        builder = await approved(store)
        await process(builder.deploy("succeeded"), store)
    found = {one.environment: one for one in await environment_rows(database_url)}
    release, attempt, name = pointer_to(builder)
    key: dict[str, Any] = {"row": None, "environment": "production", "component": str(COMPONENT), "track": "main"}
    assert found.pop("production") == EnvironmentRow(**key, release=release, attempt=attempt, name=name)
    assert {(one.component, one.attempt) for one in found.values()} == {(str(COMPONENT), None), ("nobody", None)}


async def test_table_reader_reads_every_row_and_its_id(store: SqlStore, database_url: str) -> None:
    """The table has more rows than one page."""
    keys = [{"id": uuid4(), **KEY, "environment_id": f"dev-{number}"} for number in range(4_100)]
    for begin in range(0, len(keys), 100):
        await insert_rows(database_url, "app_environments", keys[begin : begin + 100])
    found = await environment_rows(database_url)
    assert {one.row for one in found} >= {row["id"] for row in keys}
    assert len(found) == len(keys) + 1


async def test_table_reader_skips_a_table_without_key_columns(database_url: str) -> None:
    create = "CREATE TABLE app_environments (code INT NOT NULL PRIMARY KEY, title VARCHAR(20) NOT NULL)"
    await asyncio.to_thread(run, database_url, create)
    await asyncio.to_thread(run, database_url, "INSERT INTO app_environments (code, title) VALUES (1, 'theirs')")
    await migrate(database_url)
    assert await environment_rows(database_url) == []


async def environment_rows(url: str) -> list[EnvironmentRow]:
    reader = SqlTableReader.open(url, timeout_seconds=20)
    try:
        return [one async for one in reader.environments()]
    finally:
        await reader.close()


async def test_foreign_table_without_key_columns_is_not_written(database_url: str) -> None:
    """The start logs it once; deployments succeed all the same."""
    create = "CREATE TABLE app_environments (code INT NOT NULL PRIMARY KEY, title VARCHAR(20) NOT NULL)"
    await asyncio.to_thread(run, database_url, create)
    await asyncio.to_thread(run, database_url, "INSERT INTO app_environments (code, title) VALUES (1, 'theirs')")
    await migrate(database_url)
    with structlog.testing.capture_logs() as logs:
        async with opened(database_url) as store:
            builder = await approved(store)
            for _ in range(2):
                assert isinstance(await process(builder.deploy("succeeded"), store), Applied)
    assert [log["event"] for log in logs] == ["environment_pointers.disabled"]
    found = await asyncio.to_thread(run, database_url, f"SELECT code, title, {POINTERS} FROM app_environments")
    assert found == [(1, "theirs", None, None, None)]
    assert len(await rows(database_url, "release_deployments")) == 2


@pytest.mark.parametrize("change", ["dropped", "without a key column"])
async def test_probe_reports_a_dropped_app_environments(store: SqlStore, database_url: str, change: str) -> None:
    """Without the probe, events would be retried for ever while /readyz reports the worker as ready."""
    await store.ping()
    sql = "DROP TABLE app_environments"
    if change != "dropped":
        sql = "ALTER TABLE app_environments RENAME COLUMN deployment_track_id TO track"
        if database_url.startswith("mssql"):
            sql = "EXEC sp_rename 'app_environments.deployment_track_id', 'track', 'COLUMN'"
    await asyncio.to_thread(run, database_url, sql)
    with pytest.raises(ConfigurationError, match="app_environments" if change == "dropped" else "deployment_track_id"):
        await store.ping()
    async with opened(database_url, check=False) as newcomer:
        if change == "dropped":
            with pytest.raises(
                ConfigurationError, match="the table app_environments, which the migrations create, is missing"
            ):
                await newcomer.check()
        else:  # it leaves the table alone, and so does its probe
            await newcomer.check()
            await newcomer.ping()
