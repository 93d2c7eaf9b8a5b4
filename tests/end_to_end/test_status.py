"""`rudder-worker status` beside a real worker: what an operator reads is what pipelines have reported."""

import json
from typing import Any

import pytest

from tests.conformance.producers import headers_of
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.worker_process import WorkerProcess

pytestmark = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)


async def status(system: System, *arguments: str) -> Any:
    """The JSON object that the command prints."""
    name = "-".join(("status", *arguments[:1]))
    (system.folder / f"{name}.out").unlink(missing_ok=True)
    whole = ("status", *arguments, "--json")
    with WorkerProcess(*whole, settings=system.settings, folder=system.folder, name=name) as process:
        assert await process.ended() == 0, process.output()
        return json.loads(process.stdout)


async def text(system: System, *arguments: str) -> str:
    with WorkerProcess("status", *arguments, settings=system.settings, folder=system.folder, name="text") as process:
        assert await process.ended() == 0, process.output()
        return process.stdout


async def test_status_shows_what_the_pipelines_reported(system: System) -> None:
    """A release that runs, one that was rolled back, and one whose event was rejected."""
    first, second = ReleaseRecords(), ReleaseRecords()
    second.component_id, second.count = first.component_id, 60
    with system.worker() as worker:
        await system.send([*first.approved(), *(first.deploy(step) for step in ("requested", "started", "succeeded"))])
        await system.caught_up(worker)
        fields = {**second.fields, "release_number": 2}
        await system.send([second.deploy("succeeded", release=fields), second.deploy("started", attempt=7)])
        await system.caught_up(worker)
        [cell] = (await status(system, "--environment", "production"))["environments"]
        assert cell["running"]["release_id"] == str(second.release_id)
        assert cell["component_id"] == str(first.component_id)
        await system.send([second.deploy("rolled_back")])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    [cell] = (await status(system))["environments"]
    assert cell["running"]["release_id"] == str(first.release_id)
    assert cell["latest"]["status"] == "ROLLED_BACK"
    assert cell["running"]["since"] == cell["latest"]["updated_at"]

    page = await status(system, "releases", "--component", str(first.component_id), "--limit", "1")
    assert (page["count"], page["releases"][0]["release_id"]) == (2, str(second.release_id))
    rest = await status(system, "releases", "--limit", "1", "--after", page["next"])
    assert [one["release_id"] for one in rest["releases"]] == [str(first.release_id)]
    assert rest["next"] is None

    shown = await status(system, "release", str(second.release_id))
    assert [one["status"] for one in shown["attempts"]] == ["ROLLED_BACK"]
    assert [one["reason"] for one in shown["open_dead_letters"]] == ["attempt_gap"]
    published = [record for topic in ("deployment_status", "release_status") for record in await read(system, topic)]
    of_second = {id_ for id_, release_id in published if release_id == str(second.release_id)}
    assert {event["id"] for event in shown["status_events"]} == of_second

    delivery = await status(system, "delivery", "--from", "2000-01-01T00:00:00Z")
    assert delivery["total"]["deployment_frequency"]["n"] == 2
    assert delivery["total"]["change_fail_rate"]["rate"] == 0.5
    assert delivery["total"]["failed_deployment_recovery_time"]["seconds"]["n"] == 1

    assert "20260317-1.1" in await text(system)
    assert "20260317-2" in await text(system, "releases")
    assert "attempt_gap" in await text(system, "release", "20260317-2", "--component", str(second.component_id))
    assert "50.0%" in await text(system, "delivery", "--from", "2000-01-01T00:00:00Z")


async def read(system: System, topic: str) -> list[tuple[str, str]]:
    """The id and the release of each status event in a topic."""
    found = []
    for message in await system.read(getattr(system.topics, topic)):
        headers = dict(headers_of(message))
        key = message.key()
        assert isinstance(key, bytes)
        found.append((str(headers["ce_id"] or b"", "utf-8"), key.decode()))
    return found
