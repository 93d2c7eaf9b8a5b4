"""One release from its first event to its status events, through real processes, in every content mode."""

import asyncio
import json
import shutil
import subprocess
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest

from tests.conformance.table_contents import Contents
from tests.end_to_end.release_records import MOMENT, ORGANIZATION, SOURCE, Form, ReleaseRecords, data_of, parsed
from tests.end_to_end.system import System

RELEASE_PATH = [
    (None, "DRAFT"),
    ("DRAFT", "IN_REVIEW"),
    ("IN_REVIEW", "APPROVED"),
    ("APPROVED", "DEPLOYING"),
    ("DEPLOYING", "DEPLOYED"),
]
DEPLOYMENT_PATH = [(None, "PENDING"), ("PENDING", "IN_PROGRESS"), ("IN_PROGRESS", "SUCCESS")]


def minute(number: int) -> datetime:
    return MOMENT + timedelta(minutes=number)


async def assert_rows(system: System, builder: ReleaseRecords) -> Contents:
    """The rows of a deployed release match the contract."""
    rows = await system.rows()
    [release] = [row for row in rows["releases"] if row["id"] == builder.release_id]
    assert (release["status"], release["created_at"], release["updated_at"]) == ("DEPLOYED", minute(1), minute(6))
    [deployment] = [row for row in rows["release_deployments"] if row["release_mgt_id"] == builder.release_id]
    assert (deployment["status"], deployment["attempt"], deployment["deployed_by"]) == ("SUCCESS", 1, "zoë")
    assert (deployment["created_at"], deployment["deployed_at"]) == (minute(4), minute(6))
    assert deployment["api_settings"] == '{"größe":"漢","a":1}'
    assert rows["release_event_rejections"] == []
    return rows


async def assert_status_events(
    system: System, topic: str, rows: Contents, path: list[Any], builders: list[ReleaseRecords]
) -> None:
    """The SDK reads the status events in order, keyed by the release and with the ids of the log entries."""
    activities = {str(row["id"]): row for row in rows["release_activity_logs"]}
    found: dict[str, list[Any]] = {str(builder.release_id): [] for builder in builders}
    for message in await system.read(topic):
        event = parsed(message)
        data = data_of(event)
        assert message.key() == data["release_id"].encode()
        assert event.get_subject() == data["release_id"]
        activity = activities[event.get_id()]
        assert (activity["status"], activity["created_at"]) == (data["status"], event.get_time())
        assert (data["organization_id"], data["cause"]["source"]) == (ORGANIZATION, SOURCE)
        assert data["cause"]["id"] == json.loads(activity["activity_data"])["event"]["id"]
        found[data["release_id"]].append((data["previous_status"], data["status"]))
    assert found == {str(builder.release_id): path for builder in builders}


@pytest.mark.parametrize("content_mode", ["binary", "structured"])
async def test_every_content_mode_is_read_and_answered(system: System, content_mode: str) -> None:
    """Events written by hand and by the SDK, in both modes, give the same rows, and status events of both modes."""
    builders: dict[Form, ReleaseRecords] = {form: ReleaseRecords() for form in get_args(Form)}
    settings = {"api_settings": {"größe": "漢", "a": 1}, "actor": "zoë", "unknown": [1]}
    with system.worker(RUDDER_CONTENT_MODE=content_mode) as worker:
        await worker.ready()
        for form, builder in builders.items():
            records = builder.approved(form=form)
            records += [builder.deploy(step, form=form, **settings) for step in ("requested", "started", "succeeded")]
            await system.send(records)
        await system.caught_up(worker)
        assert await worker.stop() == 0
    for builder in builders.values():
        rows = await assert_rows(system, builder)
    every = list(builders.values())
    await assert_status_events(system, system.topics.release_status, rows, RELEASE_PATH, every)
    await assert_status_events(system, system.topics.deployment_status, rows, DEPLOYMENT_PATH, every)
    assert await system.read(system.topics.dead_letters) == []
    assert len(rows["release_activity_logs"]) == len(builders) * (len(RELEASE_PATH) + len(DEPLOYMENT_PATH))


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
async def test_record_of_kcat_is_read(system: System) -> None:
    """The worker reads events that kcat, a common command-line producer, publishes."""
    kcat = shutil.which("kcat") or shutil.which("kafkacat")
    if kcat is None:
        pytest.skip("kcat is not installed")
    builder = ReleaseRecords()
    with system.worker() as worker:
        for record in [*builder.approved(), builder.deploy("succeeded")]:
            headers = [f"-H{name}={(text or b'').decode()}" for name, text in record.headers]
            command = [kcat, "-P", "-b", system.bootstrap_servers, "-t", system.topics.events, "-k", "key", *headers]
            await asyncio.to_thread(subprocess.run, command, input=record.value, check=True, timeout=60)
        await system.caught_up(worker)
    [release] = (await system.rows())["releases"]
    assert (release["id"], release["status"]) == (builder.release_id, "DEPLOYED")
