"""Values at their limits are read back unchanged, and a foreign or outdated database is refused in one line."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import make_url

from tests.conformance.catalog import run
from tests.conformance.release_messages import MOMENT, ReleaseMessages, message
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import row, rows
from worker.db.revisions import head_revision
from worker.db.store import SqlStore
from worker.pipeline.transaction import process, read
from worker.rules.errors import ConfigurationError
from worker.rules.state import Applied, Rejected

# 255 UTF-16 units each, as nvarchar(255) counts them: astral characters are two.
WIDEST = ("x" * 255, "ü" * 255, "𝄞" * 127 + "x", "漢" * 254 + " ", "'\";--%_\\" + "é" * 247)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    await migrate(database_url)
    async with opened(database_url) as store:
        yield store


@pytest.mark.parametrize("widest", WIDEST, ids=["ascii", "two bytes", "astral", "trailing blank", "quotes"])
async def test_text_as_wide_as_its_column_is_read_back(store: SqlStore, database_url: str, widest: str) -> None:
    """Covers every text column of a release and of a deployment."""
    builder = ReleaseMessages(organization_id=widest)
    texts = dict.fromkeys(("deployment_track_id", "created_by", "commit_hash", "image_tag"), widest)
    revision = dict.fromkeys(("endpoint_name", "api_id", "revision_id", "access_mode"), widest)
    block = {**builder.fields, **texts, "apim_base_revisions": [revision]}
    event = builder.deploy("succeeded", environment_id=widest, actor=widest, release=block)
    assert isinstance(await process(event, store), Applied)
    release = await row(database_url, "releases")
    assert {name: release[name] for name in texts} == texts
    assert release["organization_id"] == widest
    deployment = await row(database_url, "release_deployments")
    assert (deployment["environment_id"], deployment["deployed_by"]) == (widest, widest)
    base_revision = await row(database_url, "release_apim_base_revisions")
    assert base_revision == {"release_mgt_id": builder.release_id, **revision}
    again = builder.deploy("rolled_back", environment_id=widest)
    assert isinstance(await process(again, store), Applied)


async def test_long_text_of_any_script_is_read_back(store: SqlStore, database_url: str) -> None:
    """A hundred thousand characters, astral ones and line ends among them; JSON keeps its keys' order."""
    prose = "Größe 修正 නිකුතුව 👍 \t\r\n\\ \" ' \u2028 \x7f" * 3_000
    metadata: dict[str, Any] = {"ß": prose, "z": [1, -0.5, 1e300, None, True, {}], "a": {"👩‍👩‍👧": "𝄞"}, "": ""}
    builder = ReleaseMessages()
    created = builder.created(description=prose, metadata=metadata)
    assert isinstance(await process(created, store), Applied)
    release = await row(database_url, "releases")
    assert release["description"] == prose
    assert release["metadata"] == json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("microseconds", [0, 1, 3_333, 999_999])
async def test_time_keeps_its_microseconds(store: SqlStore, database_url: str, microseconds: int) -> None:
    moment = MOMENT.replace(microsecond=microseconds)
    builder = ReleaseMessages()
    await process_all(builder.approved(), store)
    await process(builder.deploy("succeeded", at=moment + timedelta(days=1)), store)
    deployment = await row(database_url, "release_deployments")
    assert {deployment[name] for name in ("created_at", "updated_at", "deployed_at")} == {moment + timedelta(days=1)}


async def test_first_and_last_time_are_read_back(store: SqlStore, database_url: str) -> None:
    """The years 1 and 9998, the first and the last that events may have."""
    first, last = ReleaseMessages(), ReleaseMessages()
    earliest = MOMENT.replace(year=1, month=1, day=1)
    latest = MOMENT.replace(year=9998, month=12, day=31, hour=23, microsecond=999_999)
    await process(first.event("release.created", first.fields, at=earliest), store)
    assert (await row(database_url, "releases"))["created_at"] == earliest
    ahead = last.event("release.created", last.fields, at=latest)
    await process(read(ahead.record, event_bytes_max=1_048_576, event_ahead_max_seconds=0), store)
    assert {release["created_at"] for release in await rows(database_url, "releases")} == {earliest, latest}


@pytest.mark.parametrize("bits", [0, 1, 2**128 - 1, 0x00112233445566778899AABBCCDDEEFF])
async def test_uuid_is_read_back(store: SqlStore, database_url: str, bits: int) -> None:
    """SQL Server stores the bytes in another order; the value that is read is the same."""
    builder = ReleaseMessages(release_id=UUID(int=bits), component_id=UUID(int=bits))
    await process(builder.created(), store)
    release = await row(database_url, "releases")
    assert (release["id"], release["component_id"]) == (UUID(int=bits), UUID(int=bits))


async def test_largest_numbers_are_read_back(store: SqlStore, database_url: str) -> None:
    """The attempt is a bigint; the others are ints."""
    largest = 2**31 - 1
    builder = ReleaseMessages(number=largest)
    await process_all(builder.approved(), store)
    names = ("config_revision", "config_mapping_revision", "schema_based_config_revision")
    data: dict[str, Any] = dict.fromkeys(names, largest)
    assert isinstance(await process(builder.deploy("started", **data), store), Applied)
    deployment = await row(database_url, "release_deployments")
    assert [deployment[name] for name in names] == [largest] * 3
    assert isinstance(await process(builder.deploy("started", attempt=2**63 - 1), store), Rejected)


async def test_rejection_of_the_longest_texts_is_stored(store: SqlStore, database_url: str) -> None:
    """The detail fits its column, however many problems the event has."""
    source, event_id = "s" * 1024, "𝄞" * 127 + "x"
    names = ("project_id", "component_id", "deployment_track_id", "release_date", "release_number", "created_by")
    value = json.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": "dev.rudder.release.created.v1",
            "data": {name: {"漢" * 200: [[]]} for name in names} | {"metadata": "𝄞" * 5_000},
        }
    ).encode()
    assert isinstance(await process(message(value), store), Rejected)
    found = await row(database_url, "release_event_rejections")
    assert (found["event_source"], found["event_id"]) == (source, event_id)
    assert 0 < len(found["detail"]) <= 1000


async def test_database_that_was_never_migrated_is_refused(database_url: str) -> None:
    """The error names the command to run."""
    async with opened(database_url, check=False) as store:
        with pytest.raises(ConfigurationError, match="rudder-worker migrate"):
            await store.check()


async def test_database_at_an_older_revision_is_refused(database_url: str) -> None:
    """Its revision is named, and so is the one that is needed."""
    await migrate(database_url, "0.0.217")
    async with opened(database_url, check=False) as store:
        with pytest.raises(ConfigurationError, match=rf"0\.0\.217.*{head_revision()}.*rudder-worker migrate"):
            await store.check()
        await migrate(database_url)
        await store.check()


async def test_database_at_a_newer_revision_is_accepted(database_url: str) -> None:
    """A rollout migrates first and restarts its workers one by one."""
    await migrate(database_url)
    await asyncio.to_thread(run, database_url, "UPDATE rudder_alembic_version SET version_num = '9.9.999'")
    async with opened(database_url) as store:
        assert isinstance(await process(ReleaseMessages().created(), store), Applied)


async def test_closed_store_leaves_no_connection(database_url: str) -> None:
    """The fixture checks PostgreSQL; SQLite deletes its write-ahead log with the last connection."""
    await migrate(database_url)
    async with opened(database_url) as store:
        await store.ping()
        await process_all(ReleaseMessages().approved(), store)
    if database_url.startswith("sqlite"):
        path = Path(str(make_url(database_url).database))
        assert [file.name for file in path.parent.iterdir()] == [path.name]
