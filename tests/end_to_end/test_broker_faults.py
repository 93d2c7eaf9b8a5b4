"""A worker at a broker that answers with errors: missing topics, members with incompatible settings."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from tests.conformance.batches import batch_of_zeros, put_batch
from tests.conformance.deadlines import until
from tests.conformance.groups import members_of
from tests.conformance.producers import ToSend, headers_of
from tests.conformance.stores import migrate
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System, create_system_topics, new_topics, partitions_of
from tests.end_to_end.verify_reports import verify_report
from tests.end_to_end.worker_process import WorkerProcess
from tests.error_lines import error_lines
from tests.testkit.apache_kafka import ApacheKafka
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics


@pytest.fixture
async def system(apache_kafka: ApacheKafka, tmp_path: Path) -> AsyncIterator[System]:
    """Apache Kafka, with the broker's own limits, and SQLite."""
    apache_kafka.ensure_running()
    topics = new_topics()
    await create_system_topics(apache_kafka.bootstrap_servers, topics)
    database_url = f"sqlite+aiosqlite:///{tmp_path / 'rudder.sqlite3'}"
    await migrate(database_url)
    yield System(
        bootstrap_servers=apache_kafka.bootstrap_servers, database_url=database_url, folder=tmp_path, topics=topics
    )
    await asyncio.to_thread(delete_topics, apache_kafka.bootstrap_servers, list(partitions_of(topics)))


def named(bootstrap_servers: str) -> set[str]:
    return set(AdminClient({"bootstrap.servers": bootstrap_servers}).list_topics(timeout=10).topics)


async def not_ready_for(worker: WorkerProcess, words: str) -> None:
    async def said() -> bool:
        assert worker.exit_code is None, worker.output()
        if await worker.status("/readyz") != 503:
            return False
        return words in (await worker.get("/readyz")).text

    await until(said, what=lambda: f"/readyz says {words}: {worker.output()}")


@pytest.mark.parametrize("codec", ["zstd", "none"])
async def test_oversized_dead_letter_blocks_nothing(system: System, codec: str) -> None:
    """The dead letter would exceed its topic's limit: it is compressed, or sent without the value."""
    builder = ReleaseRecords()
    large = b" " * 2_097_152 if codec == "zstd" else b"{" + os.urandom(1_048_400)
    bad = ToSend(value=large, key=b"key", headers=(("a", b"b"),), partition=0)
    settings = {"RUDDER_EVENT_BYTES_MAX": "4000000", "RUDDER_LOG_LEVEL": "info"}
    with system.worker(**settings) as worker:
        await worker.until(lambda: "topic.advice" in worker.stderr, what="the limit is named")
        await system.send([bad], compression=codec)
        await system.send([replace(record, partition=0) for record in builder.approved()])
        await system.caught_up(worker)
        assert "producer.replaced" not in worker.stderr
        assert await worker.stop() == 0
    assert f"max.message.bytes of topic {system.topics.dead_letters} (RUDDER_DEAD_LETTER_TOPIC)" in worker.stderr
    [letter] = await system.read(system.topics.dead_letters)
    headers = dict(headers_of(letter))
    assert (letter.key(), headers["a"], headers["rudder-offset"]) == (b"key", b"b", b"0")
    if codec == "zstd":
        assert letter.value() == large
    else:
        assert letter.value() is None
        assert headers["rudder-value-omitted"] == b"1048401"
        assert '"limit_bytes": 1048588' in worker.stderr


async def test_batch_that_decompresses_to_gigabytes_is_rejected(system: System) -> None:
    """In a worker that may have 512 MB, with a batch of 419 MB that has 19 KB on disk. What is behind it is handled,
    and verify, which reads the same topic, agrees.
    """
    records, builder = 40, ReleaseRecords()
    raw = batch_of_zeros("zstd", records=records, value_bytes=10_480_000)
    await put_batch(system.bootstrap_servers, system.topics.events, raw, records=records)
    await system.send([replace(record, partition=0) for record in builder.approved()])
    command = (sys.executable, "-m", "tests.end_to_end.memory_limited_worker")
    with system.worker(command=command, RUDDER_BREAKER_EVENTS="0") as worker:
        await system.caught_up(worker)
        assert await worker.stop() == 0
    rejections = (await system.rows())["release_event_rejections"]
    assert sorted(row["topic_offset"] for row in rejections) == list(range(records))
    assert {row["reason"] for row in rejections} == {"too_large"}
    assert "the batch of offsets 0 to 39" in str(rejections[0]["detail"])
    assert len((await system.rows())["releases"]) == 1
    assert len(await system.read(system.topics.dead_letters)) == records
    assert (await verify_report(system))["findings"] == []


async def test_missing_input_topic_ends_the_start_with_its_name(system: System) -> None:
    """The log and /readyz name the topic during the wait; the worker does not create it."""
    missing = f"events.{uuid4().hex}"
    settings = {"RUDDER_INPUT_TOPICS": f"{system.topics.events},{missing}", "RUDDER_STARTUP_TIMEOUT_SECONDS": "5"}
    with system.worker(**settings) as worker:
        await not_ready_for(worker, f"topic {missing} (RUDDER_INPUT_TOPICS) does not exist: create it")
        assert "silent" not in (await worker.get("/readyz")).text
        assert await worker.ended() == 2, worker.output()
    [line] = error_lines(worker.stderr)
    assert line.startswith("rudder-worker: topics: not available after 5 s: ")
    assert missing in line
    assert missing not in await asyncio.to_thread(named, system.bootstrap_servers)


async def test_input_topic_created_during_the_start_is_read(system: System) -> None:
    """The worker reads a topic that an operator creates during the start, without a restart."""
    late = f"events.{uuid4().hex}"
    system = replace(system, topics=replace(system.topics, events=late))
    try:
        with system.worker() as worker:
            await worker.until(lambda: f"topic {late}" in worker.stderr, what="it is named")
            await create_topics(system.bootstrap_servers, {late: 1})
            await worker.ready()
            assert await worker.stop() == 0
    finally:
        await asyncio.to_thread(delete_topics, system.bootstrap_servers, [late])


@pytest.mark.parametrize("deleted", [False, True], ids=["at the start", "while it runs"])
async def test_missing_output_topic_is_named_until_it_exists(system: System, deleted: bool) -> None:
    """The log and /readyz name the topic; events that do not need it go on, and the worker does not create it."""
    topic = f"deployment-status.{uuid4().hex}"
    system = replace(system, topics=replace(system.topics, deployment_status=topic))
    words = f"topic {topic} (RUDDER_DEPLOYMENT_STATUS_TOPIC) does not exist: create it"
    builder = ReleaseRecords()
    if deleted:
        await create_topics(system.bootstrap_servers, {topic: 1})
    try:
        with system.worker() as worker:
            if deleted:
                await worker.ready()
                await asyncio.to_thread(delete_topics, system.bootstrap_servers, [topic])
            await not_ready_for(worker, words)
            assert words in worker.stderr
            await system.send([replace(record, partition=0) for record in builder.approved()])
            await system.caught_up(worker)
            assert topic not in await asyncio.to_thread(named, system.bootstrap_servers)
            await create_topics(system.bootstrap_servers, {topic: 1})
            await system.send([replace(builder.deploy("started"), partition=0)])
            await system.caught_up(worker)
            await worker.ready()
            assert await worker.stop() == 0
        assert len(await system.read(topic)) == 1
    finally:
        await asyncio.to_thread(delete_topics, system.bootstrap_servers, [topic])


async def test_second_worker_with_one_instance_id_ends_the_first(system: System) -> None:
    """The first ends with a line that names the setting; the second goes on, with one assignment only."""
    settings = {"RUDDER_GROUP_INSTANCE_ID": "one", "RUDDER_LOG_LEVEL": "info"}
    builder = ReleaseRecords()
    with system.worker("first", **settings) as first:
        await first.ready()
        with system.worker("second", **settings) as second:
            assert await first.ended() == 2, first.output()
            await second.ready()
            await system.send(builder.approved())
            await system.caught_up(second)
            assert second.stderr.count("partitions.assigned") == 1
            assert await second.stop() == 0
    [line] = error_lines(first.stderr)
    assert "RUDDER_GROUP_INSTANCE_ID=one" in line


async def test_silent_static_member_joins_again(system: System) -> None:
    """No other member took over its instance id, so a silent member joins again instead of ending with an error."""
    settings = {"RUDDER_GROUP_INSTANCE_ID": "one", "RUDDER_SESSION_TIMEOUT_SECONDS": "2"}
    with system.worker(**settings) as worker:
        await worker.ready()
        [known_as] = await members_of(system.bootstrap_servers, system.group_id)
        worker.send_signal(signal.SIGSTOP)

        async def forgotten() -> bool:
            return known_as not in await members_of(system.bootstrap_servers, system.group_id)

        await until(forgotten, what="its session is over")
        worker.send_signal(signal.SIGCONT)
        await system.send(ReleaseRecords().approved())
        await system.caught_up(worker)
        assert await worker.stop() == 0


async def test_different_assignment_strategy_ends_the_start(system: System) -> None:
    """The line names both settings."""
    with system.worker("first", RUDDER_PARTITION_ASSIGNMENT_STRATEGY="range") as first:
        await first.ready()
        with system.worker("second", RUDDER_PARTITION_ASSIGNMENT_STRATEGY="sticky") as second:
            assert await second.ended() == 2, second.output()
        assert await first.stop() == 0
    [line] = error_lines(second.stderr)
    assert "RUDDER_PARTITION_ASSIGNMENT_STRATEGY=sticky" in line
    assert system.group_id in line
