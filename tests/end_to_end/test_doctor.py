"""`rudder-worker doctor` on real servers: a sound system has no fault, and each fault is named."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import URL

from tests.conformance.stores import migrate
from tests.conformance.table_contents import insert_rows
from tests.conformance.test_grants import grant, login
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics
from worker.db.privileges import Role
from worker.demo.broker import free_port

__all__ = ["login"]

APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
EMBEDDED = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)


@pytest.fixture
def database_url(pair: tuple[str, str]) -> str:
    """What `login` makes a role for."""
    return pair[1]


async def doctor(system: System, *arguments: str, code: int, **settings: str) -> dict[str, list[dict[str, Any]]]:
    """The findings of each check."""
    (system.folder / "doctor.out").unlink(missing_ok=True)
    given, whole = system.settings | settings, ("doctor", "--json", *arguments)
    with WorkerProcess(*whole, settings=given, folder=system.folder, name="doctor") as process:
        assert await process.ended() == code, process.output()
        assert "Traceback" not in process.stderr
        found: dict[str, list[dict[str, Any]]] = {}
        for finding in json.loads(process.stdout)["findings"]:
            found.setdefault(finding["check"], []).append(finding)
        return found


def levels(found: dict[str, list[dict[str, Any]]]) -> dict[str, set[str]]:
    return {check: {finding["level"] for finding in findings} for check, findings in found.items()}


@APACHE
async def test_sound_system_has_no_fault(system: System, login: URL) -> None:
    """With a login that only reads, while a worker runs; what cannot be measured says so."""
    await asyncio.to_thread(grant, system.database_url, login, Role.READER)
    reading = replace(system, database_url=login.render_as_string(hide_password=False))
    with system.worker() as worker:
        await system.send([ReleaseRecords().deploy("started")])  # rejected, so a dead letter is open
        await system.caught_up(worker)
        found = levels(await doctor(reading, code=0))
        assert await worker.stop() == 0
    other = f"sqlite+aiosqlite:///{system.folder / 'other.db'}"
    await migrate(other)
    behind = (await doctor(system, code=1, RUDDER_DATABASE_URL=other))["database behind"]
    assert [finding["level"] for finding in behind] == ["fault"]
    assert "is not in the database" in behind[0]["text"]
    assert {check for check, given in found.items() if "fault" in given} == set()
    assert {check for check, given in found.items() if given == {"not checked"}} == {
        "clock of the broker",
        "broker version",
        "member versions",
    }
    for check in (
        "versions",
        "schema",
        "clock of the database",
        "broker",
        "cleanup policy",
        "members",
        "lag",
        "breaker",
        "database behind",
    ):
        assert found[check] == {"ok"}, check
    assert found["dead letters"] == {"ok"}  # the tests' topics keep records forever
    assert found["retention"] == {"ok"}


@APACHE
async def test_each_fault_is_named(system: System) -> None:
    """A compacted input topic, a missing output topic, an open breaker, too short a retention, no worker."""
    compacted, missing = f"compacted.{uuid4().hex}", f"missing.{uuid4().hex}"
    await create_topics(
        system.bootstrap_servers, {compacted: 1}, {"cleanup.policy": "compact,delete", "retention.ms": "3600000"}
    )
    opening = {
        "id": uuid4(),
        "group_id": system.group_id,
        "opened_at": datetime(2026, 3, 1, tzinfo=UTC),
        "opened_by": "worker-1",
        "window_events": 100,
        "rejected_events": 60,
        "reasons": '{"invalid_data":60}',
        "sources": '{"/ci":60}',
        **{f"{end}_{name}": value for end in ("first", "last") for name, value in POSITION.items()},
    }
    await insert_rows(system.database_url, "worker_breakers", [opening])
    try:
        found = await doctor(
            system, code=1, RUDDER_INPUT_TOPICS=compacted, RUDDER_DEAD_LETTER_TOPIC=missing, RUDDER_LOG_LEVEL="info"
        )
        with system.worker(RUDDER_INPUT_TOPICS=compacted) as worker:
            await worker.until(lambda: "compaction deletes" in worker.stderr, what="run warns of the compaction")
    finally:
        await asyncio.to_thread(delete_topics, system.bootstrap_servers, [compacted])
    [cleanup, *_] = found["cleanup policy"]
    assert (cleanup["level"], cleanup["action"]) == ("fault", "set cleanup.policy=delete")
    assert compacted in cleanup["text"]
    assert any(missing in finding["text"] and finding["level"] == "fault" for finding in found["topics"])
    assert [finding["level"] for finding in found["breaker"]] == ["fault"]
    assert any("1.0 hours" in finding["text"] for finding in found["retention"])
    assert levels(found)["members"] == {"warning"}, found["members"]


POSITION = {"topic": "events", "partition": 0, "offset": 7}


@EMBEDDED
async def test_what_cannot_be_reached_is_named(system: System) -> None:
    """The other checks are made; those that need it say so."""
    nowhere = f"127.0.0.1:{free_port()}"
    found = await doctor(system, code=1, RUDDER_KAFKA_BOOTSTRAP_SERVERS=nowhere)
    assert nowhere in found["broker"][0]["text"]
    assert found["lag"] == [
        {"check": "lag", "level": "not checked", "text": "the check of the broker failed", "action": None}
    ]
    assert levels(found)["schema"] == {"ok"}
    found = await doctor(system, code=1, RUDDER_DATABASE_URL="sqlite+aiosqlite:///no.db")
    assert levels(found)["database"] == {"fault"}
    assert "fault" not in levels(found)["topics"]
    assert not (system.folder / "no.db").exists()
    (system.folder / "empty.db").touch()
    found = await doctor(system, code=1, RUDDER_DATABASE_URL="sqlite+aiosqlite:///empty.db")
    assert levels(found)["schema"] == {"fault"}
    with WorkerProcess(
        "doctor", settings=system.settings | {"RUDDER_DATABASE_URL": "oracle://x/y"}, folder=system.folder, name="wrong"
    ) as process:
        assert await process.ended() == 2, process.output()
