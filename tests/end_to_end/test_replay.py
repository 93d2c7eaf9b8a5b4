"""`rudder-worker replay` on a real broker and a real database, beside a live worker and after a restored copy."""

import asyncio
import json
import shlex
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Message
from sqlalchemy.exc import OperationalError, ProgrammingError

from tests.conformance.deadlines import until
from tests.conformance.producers import headers_of
from tests.conformance.stores import migrate
from tests.conformance.table_contents import contents, insert_environments, rows
from tests.end_to_end.demo_day import Day, day_of
from tests.end_to_end.system import System
from tests.end_to_end.verify_reports import run_verify
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.postgres import PostgresServer
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics
from worker.db.migration import upgrade

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


async def test_lost_day_is_published_to_one_topic(system: System) -> None:
    """The same records in the same order per release; nothing in the normal topics, and the group is as it was."""
    day = day_of(SEED, releases=15)
    await processed(system, day)
    before, first, committed = await system.rows(), await published(system), await system.committed_offsets()
    topic = f"lost-day.{uuid4().hex}"
    await create_topics(system.bootstrap_servers, {topic: 2})
    try:
        found = await run_replay(system, "--all", "--publish-to", topic, "--execute")
        again = await system.read(topic)
    finally:
        await asyncio.to_thread(delete_topics, system.bootstrap_servers, [topic])
    assert found["report"]["published"] == {topic: sum(map(len, first))} == {topic: len(again)}
    assert found["plan"]["counts"]["status_events"] == len(first[0]) + len(first[1])
    assert found["plan"]["counts"]["dead_letters"] == len(first[2])
    for type_, records in (("deployment", first[0]), ("release", first[1])):
        own = [one for one in again if f"dev.rudder.{type_}.status_changed".encode() in type_of(one)]
        assert by_key(own) == by_key(records)
    letters = [one for one in map(letter, again) if one is not None]
    assert sorted(letters) == sorted(one for one in map(letter, first[2]) if one is not None)
    assert list(map(len, await published(system))) == list(map(len, first))
    assert (await system.rows(), await system.committed_offsets()) == (before, committed)


def type_of(message: Message) -> bytes:
    return dict(headers_of(message)).get("ce_type") or b""


def by_key(messages: list[Message]) -> dict[bytes | str | None, list[tuple[Any, ...]]]:
    found: dict[bytes | str | None, list[tuple[Any, ...]]] = {}
    for message in messages:
        found.setdefault(message.key(), []).append(content(message))
    return found


def letter(message: Message) -> tuple[Any, ...] | None:
    """A dead letter without the headers that name the process and its attempts; None: it is none."""
    headers = dict(headers_of(message))
    if "rudder-reason" not in headers:
        return None
    kept = sorted(
        (name, value or b"") for name, value in headers.items() if name not in {"rudder-worker", "rudder-attempts"}
    )
    return message.key() or b"", message.value() or b"", kept


async def test_replay_beside_a_live_worker_disturbs_nothing(system: System) -> None:
    """The worker keeps its partitions, and the topics and the tables stay sound."""
    day = day_of(SEED, releases=40)
    await insert_environments(system.database_url, SEED)
    half = len(day.daytime) // 2
    with system.worker(RUDDER_BREAKER_EVENTS="0", RUDDER_LOG_LEVEL="info") as worker:
        await system.send(day.daytime[:half])
        await system.caught_up(worker)
        moves = worker.stderr.count("partitions.")
        with replaying(system, "--all", "--publish", "--rate", "300/s", "--execute") as process:
            await system.send(day.daytime[half:])
            await system.send(day.evening)
            assert await process.ended() == 0, process.output()
            found = json.loads(process.stdout)
        await system.caught_up(worker)
        assert found["report"]["outcomes"].keys() == {"duplicate"}
        assert worker.stderr.count("partitions.") == moves
        assert await worker.stop() == 0
    assert (await run_verify(system))["ok"]


async def test_killed_and_interrupted_rebuild_is_continued(system: System, other_url: str) -> None:
    """SIGKILL, then SIGTERM, then to the end: `verify --against` finds no difference."""
    day = day_of(SEED, releases=25)
    with system.worker(RUDDER_BREAKER_EVENTS="0") as worker:
        await system.send([*day.daytime, *day.evening])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    copy = replace(system, database_url=other_url)
    with replaying(system, "--into", other_url, "--rate", "40/s", "--execute") as process:
        await until_releases(copy, 3, process)
        process.kill()
    some = len((await copy.rows())["releases"])
    with replaying(system, "--into", other_url, "--rate", "40/s", "--execute") as process:
        await until_releases(copy, some + 1, process)
        process.send_signal(signal.SIGTERM)
        assert await process.ended() == 130, process.output()
        interrupted = json.loads(process.stdout)["report"]
        assert "to continue: rudder-worker replay --into URL" in process.stderr
    assert interrupted["interrupted"]
    assert interrupted["remaining"]
    differing = await compared(system, other_url, code=1)
    assert differing["differences_total"] > 0
    await run_replay(system, "--into", other_url, "--execute")
    assert (await compared(system, other_url))["ok"]
    assert await copy.rows() == await system.rows()
    refused = await refusal(system, "--into", other_url, "--execute")
    assert "the database has rows; rebuild an empty one" in refused


async def test_interrupted_replay_continues_by_its_own_command(system: System, other_url: str) -> None:
    day = day_of(SEED, releases=25)
    with system.worker(RUDDER_BREAKER_EVENTS="0") as worker:
        await system.send([*day.daytime, *day.evening])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    await migrate(other_url)
    copy = replace(system, database_url=other_url)
    by_offsets = await interrupted(copy, "--all", "--rate", "40/s", "--execute")
    assert "--offsets" in by_offsets
    scope = [part for part in by_offsets if part not in {"--rate", "40/s", "--execute"}]
    await run_replay(copy, *scope, "--output", "plan.json")
    by_plan = await interrupted(copy, "--plan", "plan.json", "--rate", "40/s", "--execute")
    assert "--continue-at" in by_plan
    found = await run_replay(copy, *(part for part in by_plan if part not in {"--rate", "40/s"}))
    assert found["report"]["differences_total"] == 0
    assert await copy.rows() == await system.rows()


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
async def test_replay_waits_for_an_unavailable_database(
    system: System, other_url: str, postgres_server: PostgresServer
) -> None:
    day = day_of(SEED, releases=25)
    with system.worker(RUDDER_BREAKER_EVENTS="0") as worker:
        await system.send([*day.daytime, *day.evening])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    await migrate(other_url)
    copy = replace(system, database_url=other_url)
    with replaying(copy, "--all", "--rate", "40/s", "--execute") as process:
        await until_releases(copy, 2, process)
        postgres_server.kill()
        await process.until(lambda: "dependency.unavailable" in process.stderr, what="the outage is detected")
        postgres_server.start()
        assert await process.ended() == 0, process.output()
        assert json.loads(process.stdout)["report"]["differences_total"] == 0
    assert await copy.rows() == await system.rows()


@ON_SQLITE
async def test_plan_is_executed_where_it_was_made_or_not(system: System, tmp_path: Path) -> None:
    await processed(system, day_of(SEED, releases=5))
    await run_replay(system, "--all", "--output", "plan.json")
    plan = tmp_path / "plan.json"
    other = replace(system, database_url=f"sqlite+aiosqlite:///{tmp_path / 'other.sqlite3'}")
    await asyncio.to_thread(upgrade, other.database_url)  # a copy of the template would have its identity
    assert "belongs to another database" in await refusal(other, "--plan", "plan.json", "--execute")
    assert "belongs to another group" in await refusal(
        replace(system, group_id="other"), "--plan", "plan.json", "--execute"
    )
    (tmp_path / "edited.json").write_text(plan.read_text().replace('"publish": false', '"publish": true'))
    assert "was changed after it was written" in await refusal(system, "--plan", "edited.json", "--execute")
    assert "exists; name another file" in await refusal(system, "--all", "--output", "plan.json")
    assert "is not in the plan" in await refusal(system, "--plan", "plan.json", "--continue-at", "other/0@1")
    assert "does not exist" in await refusal(system, "--all", "--publish-to", "no-such-topic", "--execute")
    letters, events = system.topics.dead_letters, system.topics.events
    assert "is an output topic of the worker" in await refusal(system, "--topic", letters)
    assert "is an output topic of the worker" in await refusal(system, "--offsets", f"{letters}/0@0")
    assert "is an output topic; use --publish" in await refusal(system, "--all", "--publish-to", letters)
    assert "is an input topic" in await refusal(system, "--all", "--publish-to", events)
    for arguments, problem in BAD_SCOPES:
        assert problem in await refusal(system, *arguments)
    topics = [system.topics.events]
    await asyncio.to_thread(delete_topics, system.bootstrap_servers, topics)
    await create_topics(system.bootstrap_servers, dict.fromkeys(topics, 4))
    assert "make a new plan" in await refusal(system, "--plan", "plan.json", "--execute")
    assert await rows(system.database_url, "operator_actions") == []


BAD_SCOPES = [
    ([], "name what to replay"),
    (["--all", "--release", str(uuid4())], "--all replays everything"),
    (["--topic", "no-such-topic"], "topic no-such-topic does not exist"),
    (["--from", "2026-11-27T10:00:00"], "has no time zone"),
    (["--from", "2999-01-01T00:00:00Z"], "no records in the scope"),
    (["--offsets", "events"], "write TOPIC/PARTITION@FIRST-LAST"),
    (["--rate", "fast", "--all"], "write a number of events a second"),
    (["--all", "--publish", "--publish-to", "topic"], "cannot be used together"),
    (["--all", "--into", "sqlite+aiosqlite:///x.db"], "--into reads all records"),
    (["--into", "mysql://x/y"], "--into begins with mysql"),
    (["--all", "--continue-at", "x/0@1"], "--continue-at requires --plan"),
    (["--all", "--plan", "plan.json"], "--plan has the scope"),
    (["--plan", "missing.json"], "cannot be read"),
]


async def refusal(system: System, *arguments: str) -> str:
    """The one line of a command that does nothing."""
    with replaying(system, *arguments, name="refused") as process:
        assert await process.ended() == 2, process.output()
        assert process.stdout == ""
        [line] = process.stderr.splitlines()
    return line


async def until_releases(system: System, number: int, process: WorkerProcess) -> None:
    """Wait until the database has so many releases."""

    async def found() -> bool:
        assert process.exit_code is None, process.output()
        with suppress(OperationalError, ProgrammingError):  # the tables are being created
            return len((await contents(system.database_url, "releases"))["releases"]) >= number
        return False

    await until(found, what=lambda: f"{number} releases: {process.output()}")


async def interrupted(system: System, *arguments: str) -> list[str]:
    """The arguments of the command that continues a replay, which is stopped after two new releases."""
    count = len((await system.rows())["releases"])
    with replaying(system, *arguments) as process:
        await until_releases(system, count + 2, process)
        process.send_signal(signal.SIGTERM)
        assert await process.ended() == 130, process.output()
        command = shlex.split(json.loads(process.stdout)["report"]["continue"])
    assert command[:2] == ["rudder-worker", "replay"]
    return command[2:]


async def compared(system: System, url: str, *, code: int = 0) -> dict[str, Any]:
    (system.folder / "against.out").unlink(missing_ok=True)
    arguments = ("verify", "--against", url, "--json")
    with WorkerProcess(*arguments, settings=system.settings, folder=system.folder, name="against") as process:
        assert await process.ended() == code, process.output()
        found = json.loads(process.stdout)
    assert isinstance(found, dict)
    return found
