"""The subscribers of docs/how-to/subscribe.md end with the database's picture, in each language."""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from tests.conformance.deadlines import until
from tests.conformance.stores import migrate
from tests.conformance.table_contents import Contents
from tests.end_to_end.demo_day import day_of
from tests.end_to_end.subscriber_programs import EXAMPLES, LANGUAGES, ROOT, SubscriberProcess
from tests.end_to_end.system import System, create_system_topics, new_topics, partitions_of
from tests.end_to_end.test_state_topic import publish_states
from tests.end_to_end.test_subscriber import repeat_some
from tests.end_to_end.worker_process import WorkerProcess
from tests.oracle.content import ReleaseRows
from tests.testkit.apache_kafka import ApacheKafka
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics

SEED = 2027
_RELEASES = ("release_activity_logs", "release_deployments", "release_versions", "release_apim_base_revisions")


@pytest.fixture
async def system(apache_kafka: ApacheKafka, tmp_path: Path) -> AsyncIterator[System]:
    """Apache Kafka and SQLite."""
    apache_kafka.ensure_running()
    topics = new_topics()
    await create_system_topics(apache_kafka.bootstrap_servers, topics)
    database_url = f"sqlite+aiosqlite:///{tmp_path / 'rudder.sqlite3'}"
    await migrate(database_url)
    yield System(
        bootstrap_servers=apache_kafka.bootstrap_servers, database_url=database_url, folder=tmp_path, topics=topics
    )
    await asyncio.to_thread(delete_topics, apache_kafka.bootstrap_servers, list(partitions_of(topics)))


def picture_of(rows: Contents) -> dict[str, tuple[str, str]]:
    """Each deployment, and the one that each environment counts with."""
    releases: dict[str, ReleaseRows] = defaultdict(ReleaseRows)
    found = {}
    for row in rows["release_deployments"]:
        found[f"deployment {row['id']}"] = (str(row["id"]), str(row["status"]))
        key = (row["environment_id"], row["config_revision"], row["attempt"])
        releases[str(row["release_mgt_id"])].deployments[key] = row
    for release_id, release in releases.items():
        for environment_id in release.environment_ids():
            current = release.counting_attempt(environment_id)
            if current is not None:
                name = f"environment {release_id}/{environment_id}"
                found[name] = (str(current["id"]), str(current["status"]))
    return found


def without_cancelled(picture: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """An environment that has only cancelled attempts counts with none; its state is one of these."""
    environments = {name for name, (_, status) in picture.items() if status == "CANCELLED" and name.startswith("env")}
    return {name: what for name, what in picture.items() if name not in environments}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_subscriber_ends_with_the_picture_of_the_database(system: System, language: str) -> None:
    """It starts late, is stopped while events arrive, and reads repeats and a replay when it is started again."""
    command = await asyncio.to_thread(LANGUAGES[language])
    lost_day = f"lost-day.{uuid4().hex}"
    await create_topics(system.bootstrap_servers, {lost_day: 2})
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": system.bootstrap_servers,
        "STATE_TOPIC": system.topics.deployment_state,
        "STATUS_TOPICS": f"{system.topics.deployment_status},{lost_day}",
    }
    day = day_of(SEED, releases=20)
    middle = len(day.daytime) // 2
    with system.worker(RUDDER_BREAKER_EVENTS="0") as worker:
        await system.send(day.daytime[:middle])
        await system.caught_up(worker)
        with SubscriberProcess(command, environment, system.folder, name="first") as subscriber:
            await _has_picture(subscriber, system)
            known = len(subscriber.changes)
            await system.send(day.daytime[middle:])
            await until(lambda: len(subscriber.changes) > known, what="it follows")
        await system.caught_up(worker)
        await system.send(day.evening)
        await system.caught_up(worker)
        assert await worker.stop() == 0
    for topic in (system.topics.deployment_status, system.topics.deployment_state):
        assert await repeat_some(system, topic) > 0
    again = replace(system, group_id=f"group.{uuid4().hex}")  # reads the whole input a second time
    with again.worker() as worker:
        await again.caught_up(worker)
        assert await worker.stop() == 0
    await _run(system, "replay", "--all", "--publish-to", lost_day, "--execute")
    assert await system.read(lost_day)
    with SubscriberProcess(command, environment, system.folder, name="second") as subscriber:
        await _has_picture(subscriber, system)
        _never_rewinds(subscriber)
        deleted = await asyncio.to_thread(_delete_release, system)
        await publish_states(system, "--execute")
        await until(
            lambda: not any(deleted in name for name in subscriber.picture if name.startswith("environment")),
            what=lambda: f"it forgets {deleted}: {subscriber.errors}",
        )
    await asyncio.to_thread(delete_topics, system.bootstrap_servers, [lost_day])


async def _has_picture(subscriber: SubscriberProcess, system: System) -> None:
    expected = picture_of(await system.rows())
    assert expected
    await until(
        lambda: without_cancelled(subscriber.picture) == without_cancelled(expected),
        what=lambda: f"it has the database's picture: {_differences(subscriber.picture, expected)} {subscriber.errors}",
    )


def _differences(found: dict[str, tuple[str, str]], expected: dict[str, tuple[str, str]]) -> list[str]:
    names = sorted(found.keys() | expected.keys())
    return [
        f"{name}: {found.get(name)}, not {expected.get(name)}"
        for name in names
        if found.get(name) != expected.get(name)
    ]


def _never_rewinds(subscriber: SubscriberProcess) -> None:
    versions: dict[str, int] = {}
    for change in subscriber.changes:
        assert change["version"] > versions.get(change["name"], -1), change
        versions[change["name"]] = change["version"]


def _delete_release(system: System) -> str:
    """As another application may; its id."""
    with closing(sqlite3.connect(str(make_url(system.database_url).database))) as database, database:
        [release_id] = database.execute("SELECT release_mgt_id FROM release_deployments LIMIT 1").fetchone()
        for table in _RELEASES:
            database.execute(f"DELETE FROM {table} WHERE release_mgt_id = ?", (release_id,))
        database.execute("DELETE FROM releases WHERE id = ?", (release_id,))
    return str(release_id)


async def _run(system: System, *arguments: str) -> None:
    name = arguments[0]
    with WorkerProcess(*arguments, settings=system.settings, folder=system.folder, name=name) as process:
        assert await process.ended() == 0, process.output()


def test_python_requirements_are_the_workers() -> None:
    """The example runs in the environment of the tests, so that it is tested with what it asks for."""
    pins = _pins(ROOT / "requirements" / "runtime.txt")
    assert _pins(EXAMPLES / "python" / "requirements.txt") <= pins


def _pins(path: Path) -> set[str]:
    return {line.split()[0] for line in path.read_text("utf-8").splitlines() if "==" in line}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/*")), ids=lambda path: path.name)
def test_examples_name_no_host_of_a_registry(path: Path) -> None:
    if path.is_file():
        assert "resolved" not in path.read_text("utf-8")
        assert "registry." not in path.read_text("utf-8")
