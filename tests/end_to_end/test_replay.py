"""`rudder-worker replay` on a real broker and a real database, beside a live worker and after a restored copy."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Message

from tests.conformance.producers import headers_of
from tests.conformance.table_contents import insert_environments, rows
from tests.end_to_end.demo_day import Day, day_of
from tests.end_to_end.system import System
from tests.end_to_end.verify_reports import run_verify
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.postgres import PostgresServer

SEED = 14
ON_SQLITE = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)


@pytest.fixture
def other_url(request: pytest.FixtureRequest, pair: tuple[str, str], tmp_path: Path) -> Iterator[str]:
    """Another empty database of the same kind, without tables."""
    if pair[1].startswith("sqlite"):
        yield f"sqlite+aiosqlite:///{tmp_path / 'other.sqlite3'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"test_{uuid4().hex}"
    yield server.create_database(name)
    server.ensure_running()
    server.drop_database(name)


async def run_replay(system: System, *arguments: str, code: int = 0, **settings: str) -> dict[str, Any]:
    """The JSON that the command prints."""
    process = replaying(system, *arguments, **settings)
    with process:
        assert await process.ended() == code, process.output()
        found = json.loads(process.stdout)
    assert isinstance(found, dict)
    return found


def replaying(system: System, *arguments: str, name: str = "replay", **settings: str) -> WorkerProcess:
    for stream in ("out", "err"):
        (system.folder / f"{name}.{stream}").unlink(missing_ok=True)
    return WorkerProcess(
        "replay", "--json", *arguments, settings=system.settings | settings, folder=system.folder, name=name
    )


async def processed(system: System, day: Day) -> None:
    """A day, handled by a worker; it has rejected events and duplicates."""
    await insert_environments(system.database_url, SEED)
    with system.worker(RUDDER_BREAKER_EVENTS="0") as worker:
        await system.send(day.daytime)
        await system.caught_up(worker)
        await system.send(day.evening)
        await system.caught_up(worker)
        assert await worker.stop() == 0


async def published(system: System) -> list[list[Message]]:
    topics = system.topics
    return [await system.read(name) for name in (topics.deployment_status, topics.release_status, topics.dead_letters)]


def content(message: Message) -> tuple[Any, ...]:
    return message.key(), message.value(), headers_of(message)


async def test_replay_of_known_events_changes_nothing(system: System) -> None:
    day = day_of(SEED, releases=20)
    await processed(system, day)
    before, records_before = await system.rows(), await published(system)
    committed = await system.committed_offsets()
    since_2000 = ["--topic", system.topics.events, "--from", "2000-01-01T00:00:00Z", "--execute"]
    for arguments in (["--all"], ["--all", "--execute"], since_2000):
        found = await run_replay(system, *arguments)
        assert found["changes_nothing"]
        assert found["plan"]["outcomes"].keys() == {"duplicate"}
    assert found["plan"]["counts"]["records"] == len(day.daytime) + len(day.evening)
    assert await system.rows() == before
    assert list(map(len, await published(system))) == list(map(len, records_before))
    assert await system.committed_offsets() == committed


async def test_restored_database_is_filled_by_a_replay(system: System, other_url: str) -> None:
    """The copy is of the daytime; what came later is planned, replayed as planned, and `verify` has no findings."""
    day = day_of(SEED, releases=30)
    copy = replace(system, database_url=other_url)
    with system.worker(RUDDER_BREAKER_EVENTS="0") as worker:
        await system.send(day.daytime)
        await system.caught_up(worker)
        rebuilt = await run_replay(system, "--into", other_url, "--execute")
        assert sum(rebuilt["report"]["outcomes"].values()) > 0
        await system.send(day.evening)
        await system.caught_up(worker)
        assert await worker.stop() == 0
    expected, records_before = await system.rows(), await published(system)
    assert await copy.rows() != expected

    planned = await run_replay(copy, "--all", "--output", "plan.json")
    assert await copy.rows() != expected
    executed = await run_replay(copy, "--plan", "plan.json", "--execute")
    assert executed["report"]["outcomes"] == planned["plan"]["outcomes"]
    assert executed["report"]["differences_total"] == 0
    assert await copy.rows() == expected
    assert list(map(len, await published(system))) == list(map(len, records_before))
    assert (await run_replay(copy, "--all"))["changes_nothing"]
    assert (await run_verify(copy))["ok"]
    [of_rebuild, of_replay] = sorted(await rows(other_url, "operator_actions"), key=lambda row: row["started_at"])
    assert (of_rebuild["command"], of_rebuild["result"]) == ("replay --into", "completed")
    assert (of_replay["command"], of_replay["result"]) == ("replay", "completed")
    assert of_replay["plan_sha256"] == json.loads((system.folder / "plan.json").read_text())["sha256"]
