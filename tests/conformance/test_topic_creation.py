"""No client creates a topic by asking for it, although the broker would: topics are the operator's."""

import asyncio
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from tests.testkit.topics import MakeTopic
from tests.unit.cli.command_line import rudder_worker
from tests.unit.schemas.records import structured
from worker.kafka.connection import Connection
from worker.kafka.publisher import KafkaPublisher
from worker.ports import OutgoingRecord
from worker.rules.errors import Unavailable

EVENT = structured()


async def topic_exists(bootstrap_servers: str, topic: str) -> bool:
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    return topic in (await asyncio.to_thread(client.list_topics, timeout=10)).topics


async def test_misspelt_topic_of_publish_is_one_line(bootstrap_servers: str, topics: MakeTopic, tmp_path: Path) -> None:
    topic = await topics(name_hint="input")
    missing = f"{topic}s"
    ended = await asyncio.to_thread(
        rudder_worker,
        "publish",
        "--topic",
        missing,
        folder=tmp_path,
        environment={"RUDDER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers, "RUDDER_INPUT_TOPICS": topic},
        stdin=EVENT.value or b"",
    )
    assert (ended.code, ended.out) == (1, "")
    hint = f"(did you mean {topic}?)"
    assert ended.problem == f"topic {missing} does not exist at {bootstrap_servers} {hint}; nothing was sent"
    assert not await topic_exists(bootstrap_servers, missing)


async def test_sending_to_a_missing_topic_does_not_create_it(bootstrap_servers: str, topics: MakeTopic) -> None:
    """The producer asks for it again and again."""
    missing = f"{await topics(name_hint='input')}.missing"
    connection = Connection(bootstrap_servers=bootstrap_servers, client_id="test", request_timeout_seconds=1.0)
    publisher = KafkaPublisher(connection)
    await publisher.start()
    try:
        assert not await publisher.has_topic(missing)
        with pytest.raises(Unavailable, match=missing):
            await publisher.publish([OutgoingRecord(topic=missing, key=b"k", value=b"v", headers=())])
    finally:
        await publisher.stop()
    assert not await topic_exists(bootstrap_servers, missing)
