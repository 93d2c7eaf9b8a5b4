"""The state topic beside the database: filled, checked and repaired."""

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Message
from sqlalchemy.engine import make_url

from tests.conformance.producers import ToSend, headers_of, send
from tests.conformance.table_contents import rows
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.verify_reports import verify_report
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.topic_creation import create_topics

ON_SQLITE = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)


async def publish_states(system: System, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The JSON that `rudder-worker state publish` prints."""
    name = "state"
    (system.folder / f"{name}.out").unlink(missing_ok=True)
    with WorkerProcess(
        "state", "publish", "--json", *arguments, settings=system.settings, folder=system.folder, name=name
    ) as process:
        assert await process.ended() == code, process.output()
        found = json.loads(process.stdout)
    assert isinstance(found, dict)
    return found


async def deployed(system: System) -> ReleaseRecords:
    """A release with two environments, three attempts in one of them; the last one is cancelled."""
    builder = ReleaseRecords()
    await system.send(
        [
            *builder.approved(),
            builder.deploy("started"),
            builder.deploy("requested"),
            builder.deploy("succeeded"),
            builder.deploy("requested"),
            builder.deploy("cancelled"),
            builder.deploy("failed", environment_id="other"),
        ]
    )
    await work(system)
    return builder


async def work(system: System) -> None:
    with system.worker() as worker:
        await system.caught_up(worker)
        assert await worker.stop() == 0


async def states(system: System) -> dict[str, Message]:
    """The last record of each key."""
    return {_key(message): message for message in await system.read(system.topics.deployment_state)}


def content(message: Message) -> tuple[Any, ...]:
    return message.value(), headers_of(message)


def _key(message: Message) -> str:
    key = message.key()
    assert isinstance(key, bytes)
    return key.decode()


def _copy(message: Message) -> ToSend:
    value, key = message.value(), message.key()
    assert isinstance(key, bytes)
    assert value is None or isinstance(value, bytes)
    return ToSend(key=key, value=value, headers=headers_of(message), partition=message.partition() or 0)


async def test_each_change_has_a_state_and_the_last_one_stays(system: System) -> None:
    builder = await deployed(system)
    records = await system.read(system.topics.deployment_state)
    found = [(data["environment_id"], data["attempt"], data["status"]) for data in map(_data, records)]
    assert [one for one in found if one[0] == "production"] == [
        ("production", 1, "IN_PROGRESS"),
        ("production", 2, "PENDING"),
        ("production", 2, "SUCCESS"),
        ("production", 3, "PENDING"),
        ("production", 2, "SUCCESS"),
    ]
    assert [one for one in found if one[0] == "other"] == [("other", 1, "FAILED")]
    assert (await states(system)).keys() == {f"{builder.release_id}/{name}" for name in ("production", "other")}
    assert (await verify_report(system))["findings"] == []


def _data(message: Message) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(message.value() or b"")
    return data


@ON_SQLITE
async def test_new_topic_gets_the_states_that_the_worker_published(system: System) -> None:
    """Byte for byte, and nothing where nothing is missing. The command is recorded."""
    await deployed(system)
    before = await states(system)
    assert (await publish_states(system))["counts"] == {
        "environments": 2,
        "missing": 0,
        "outdated": 0,
        "without_deployment": 0,
    }
    fresh = replace(system, topics=replace(system.topics, deployment_state=f"states.{uuid4().hex}"))
    await create_topics(fresh.bootstrap_servers, {fresh.topics.deployment_state: 3}, {"cleanup.policy": "compact"})
    planned = await publish_states(fresh)
    assert (planned["executed"], planned["counts"]["missing"], await states(fresh)) == (False, 2, {})
    assert {finding["kind"] for finding in (await verify_report(fresh))["findings"]} == {"lost"}
    await publish_states(fresh, "--execute")
    assert {key: content(message) for key, message in (await states(fresh)).items()} == {
        key: content(message) for key, message in before.items()
    }
    assert (await verify_report(fresh))["findings"] == []
    [action] = await rows(system.database_url, "operator_actions")
    assert (action["command"], action["result"], json.loads(action["counts"])["published"]) == (
        "state publish",
        "completed",
        2,
    )


@ON_SQLITE
async def test_wrong_states_are_found_and_repaired(system: System) -> None:
    builder = await deployed(system)
    topic, good = system.topics.deployment_state, await states(system)
    key = f"{builder.release_id}/production"
    [older, *_] = [message for message in await system.read(topic) if _key(message) == key]
    forged = {**_data(good[key]), "status": "FAILED"}
    unknown = f"{uuid4()}/other"
    wrong = {
        "out_of_order": [_copy(older)],
        "lost": [replace(_copy(good[key]), value=None)],
        "contradictory": [replace(_copy(good[key]), value=json.dumps(forged).encode())],
        "invented": [replace(_copy(good[key]), key=unknown.encode())],
    }
    for kind, records in wrong.items():
        await asyncio.to_thread(send, system.bootstrap_servers, topic, records)
        report = await verify_report(system)
        assert [finding["kind"] for finding in report["findings"]] == [kind], report["findings"]
        await publish_states(system, "--execute")
        assert (await verify_report(system))["findings"] == []
        assert content((await states(system))[key]) == content(good[key])
    assert (await states(system))[unknown].value() is None


@ON_SQLITE
async def test_deleted_release_gets_tombstones(system: System) -> None:
    builder = await deployed(system)
    with closing(sqlite3.connect(str(make_url(system.database_url).database))) as database, database:
        for table in ("release_activity_logs", "release_deployments", "release_versions"):
            database.execute(f"DELETE FROM {table}")
        database.execute("DELETE FROM releases")
    found = await publish_states(system, "--execute")
    assert found["counts"]["without_deployment"] == 2
    assert {message.value() for message in (await states(system)).values()} == {None}
    again = await publish_states(system, "--execute")
    assert again["counts"]["without_deployment"] == 0
    assert str(builder.release_id) in found["keys"][0]["key"]


@ON_SQLITE
async def test_replay_publishes_no_states(system: System) -> None:
    """A worker may publish a later one meanwhile, and what comes last stays."""
    await deployed(system)
    before = len(await system.read(system.topics.deployment_state))
    arguments = ("replay", "--all", "--publish", "--execute")
    with WorkerProcess(*arguments, settings=system.settings, folder=system.folder, name="replay") as process:
        assert await process.ended() == 0, process.output()
    assert len(await system.read(system.topics.deployment_state)) == before
    assert len(await system.read(system.topics.deployment_status)) > 2 * before


@ON_SQLITE
async def test_topic_of_states_can_be_off(system: System) -> None:
    off = replace(system, topics=replace(system.topics, deployment_state=""))
    await deployed(off)
    assert await states(system) == {}
    assert (await verify_report(off))["findings"] == []
    with WorkerProcess("state", "publish", settings=off.settings, folder=off.folder, name="off") as process:
        assert await process.ended() == 2
        assert "RUDDER_DEPLOYMENT_STATE_TOPIC is empty" in process.stderr
