"""A system that an earlier version filled, before releases had versions: it is migrated, verified and worked on."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from uuid import uuid4

import pytest
from confluent_kafka import Message
from sqlalchemy import make_url

from tests.conformance.producers import ToSend, headers_of, send
from tests.conformance.stores import migrate
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System, new_topics, partitions_of
from tests.end_to_end.verify_reports import verify_report
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics
from worker.db import migration

ADDED = ("release_version", "release")
TRACE = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
ON_SQLITE = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)


async def work(system: System) -> None:
    with system.worker() as worker:
        await system.caught_up(worker)
        assert await worker.stop() == 0


async def forget_versions(system: System) -> None:
    """Leave the database as revision 0.0.223 had it."""
    with closing(sqlite3.connect(str(make_url(system.database_url).database))) as database, database:
        for id_, text in database.execute("SELECT id, activity_data FROM release_activity_logs").fetchall():
            database.execute("UPDATE release_activity_logs SET activity_data = ? WHERE id = ?", (_earlier(text), id_))
    await asyncio.to_thread(migration.downgrade, system.database_url, "0.0.223")


def _earlier(text: str | bytes) -> str:
    kept = {name: value for name, value in json.loads(text).items() if name not in {*ADDED, *TRACE}}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def _as_published_earlier(message: Message) -> ToSend:
    key, value = message.key(), message.value()
    assert isinstance(key, bytes)
    assert isinstance(value, bytes)
    headers = tuple(pair for pair in headers_of(message) if pair[0].removeprefix("ce_") not in TRACE)
    return ToSend(key=key, value=_earlier(value).encode(), headers=headers, partition=message.partition() or 0)


@pytest.fixture
async def earlier(system: System) -> AsyncIterator[System]:
    """The same system with status topics of its own, which are still empty."""
    names = new_topics()
    topics = replace(
        system.topics,
        deployment_status=names.deployment_status,
        release_status=names.release_status,
        deployment_state="",  # off, as an earlier version had none
    )
    partitions = {name: partitions_of(topics)[name] for name in (topics.deployment_status, topics.release_status)}
    await create_topics(system.bootstrap_servers, partitions)
    yield replace(system, topics=topics)
    await asyncio.to_thread(delete_topics, system.bootstrap_servers, list(partitions))


@ON_SQLITE
async def test_system_of_an_earlier_version_is_sound_after_the_migration(system: System, earlier: System) -> None:
    """Its status events are published again with nulls; what changes afterwards has the versions that follow."""
    builder = ReleaseRecords()
    with_trace = builder.deploy("started")
    with_trace = replace(with_trace, headers=(*with_trace.headers, ("ce_traceparent", TRACE["traceparent"].encode())))
    await system.send([*builder.approved(), with_trace, builder.deploy("succeeded")])
    await work(system)
    await forget_versions(system)
    for old, new in (
        (system.topics.deployment_status, earlier.topics.deployment_status),
        (system.topics.release_status, earlier.topics.release_status),
    ):
        records = [_as_published_earlier(message) for message in await system.read(old)]
        await asyncio.to_thread(send, system.bootstrap_servers, new, records)
    await migrate(system.database_url)
    assert (await verify_report(earlier))["findings"] == []
    await earlier.send([builder.deploy("rolled_back")])
    replay = replace(earlier, group_id=f"group.{uuid4().hex}")
    await work(replay)
    assert (await verify_report(replay))["findings"] == []
    rows = await replay.rows()
    assert [row["version"] for row in rows["release_versions"]] == [5]
    published = [json.loads(message.value() or b"") for message in await replay.read(replay.topics.deployment_status)]
    versions = [[data.get("release_version", "none"), data["status"]] for data in published]
    assert versions == [
        ["none", "IN_PROGRESS"],
        ["none", "SUCCESS"],
        [None, "IN_PROGRESS"],
        [None, "SUCCESS"],
        [5, "ROLLED_BACK"],
    ]
