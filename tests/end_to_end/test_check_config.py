"""`check-config --connect` tries what the settings name, on real servers, and writes nothing."""

import json
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import make_url

from tests.end_to_end.system import System
from tests.end_to_end.worker_process import WorkerProcess
from worker.demo.broker import free_port

pytestmark = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)


async def connections(system: System, code: int, **settings: str) -> dict[str, str | None]:
    """The problem of each connection; None: it has none."""
    (system.folder / "check.out").unlink(missing_ok=True)
    given = system.settings | settings
    with WorkerProcess("check-config", "--connect", "--json", settings=given, folder=system.folder, name="check") as it:
        assert await it.ended() == code, it.output()
        assert "Traceback" not in it.stderr
        assert all(line.startswith("rudder-worker: warning: ") for line in it.stderr.splitlines()), it.stderr
        return {one["name"]: one["problem"] for one in json.loads(it.stdout)["connections"]}


async def test_valid_settings_have_no_problem(system: System) -> None:
    assert await connections(system, 0) == dict.fromkeys(("database", "broker", "topics", "group"))


async def test_each_problem_is_one_line_and_the_exit_code_is_1(system: System) -> None:
    """One command names them all; what depends on a broker is not tried without it."""
    missing = f"{system.topics.events}.none"
    found = await connections(system, 1, RUDDER_INPUT_TOPICS=missing, RUDDER_DATABASE_URL="sqlite+aiosqlite:///no.db")
    assert "run `rudder-worker migrate` first" in str(found["database"])
    assert all(word in str(found["topics"]) for word in (missing, "RUDDER_INPUT_TOPICS"))
    assert (found["broker"], found["group"]) == (None, None)
    nowhere = f"127.0.0.1:{free_port()}"
    found = await connections(system, 1, RUDDER_KAFKA_BOOTSTRAP_SERVERS=nowhere)
    assert nowhere in str(found["broker"])
    assert found["topics"] == found["group"] == "not checked, because the check of the broker failed"
    assert found["database"] is None


async def test_nothing_is_written(system: System) -> None:
    await connections(system, 0)
    with closing(sqlite3.connect(str(make_url(system.database_url).database))) as database:
        assert database.execute("SELECT count(*) FROM releases").fetchone() == (0,)
    assert not await system.committed_records()
