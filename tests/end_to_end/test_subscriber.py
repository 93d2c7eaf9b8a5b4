"""A subscriber that goes by release versions ends with the database's state, whatever is repeated or replayed."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Message

from schemas.times import format_time
from tests.conformance.producers import WAIT_SECONDS, ToSend, headers_of, send
from tests.conformance.table_contents import Contents
from tests.end_to_end.demo_day import day_of
from tests.end_to_end.system import System

SEED = 2026
ON_SQLITE = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)


@dataclass(slots=True)
class Subscriber:
    """Keeps, of each release and each deployment, the event with the highest release version, and nothing else."""

    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the id of the release or the deployment."""
    versions: dict[str, int] = field(default_factory=dict)
    """The highest of each release, over both topics."""
    dropped: int = 0

    def take(self, data: dict[str, Any]) -> None:
        version, release_id = data["release_version"], data["release_id"]
        self.versions[release_id] = max(version, self.versions.get(release_id, version))
        subject = data.get("deployment_id", release_id)
        known = self.events.get(subject)
        if known is None or version > known["release_version"]:
            self.events[subject] = data
        else:
            self.dropped += 1


async def consumed(system: System) -> list[dict[str, Any]]:
    """The data of all status events, as one consumer of both topics receives them."""
    topics = [system.topics.deployment_status, system.topics.release_status]
    count = sum([len(await system.read(topic)) for topic in topics])
    return await asyncio.to_thread(_consume, system.bootstrap_servers, topics, count)


def _consume(bootstrap_servers: str, topics: list[str], count: int) -> list[dict[str, Any]]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"subscriber.{uuid4().hex}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        consumer.subscribe(topics)
        received: list[dict[str, Any]] = []
        while len(received) < count:
            message = consumer.poll(WAIT_SECONDS)
            assert message is not None, f"{len(received)} of {count} records"
            assert message.error() is None, message.error()
            received.append(json.loads(bytes(message.value() or b"")))
        return received
    finally:
        consumer.close()


async def repeat_some(system: System, topic: str) -> int:
    """Publish copies of a third of the topic's records behind them, in no order, as a faulty mirror might."""
    records = await system.read(topic)
    chosen = Random(SEED).sample(records, len(records) // 3)
    await asyncio.to_thread(send, system.bootstrap_servers, topic, [_copy(message) for message in chosen])
    return len(chosen)


def _copy(message: Message) -> ToSend:
    key, value = message.key(), message.value()
    assert isinstance(key, bytes)
    assert isinstance(value, bytes)
    return ToSend(key=key, value=value, headers=headers_of(message), partition=message.partition() or 0)


def state_of(rows: Contents) -> dict[str, tuple[Any, ...]]:
    """What a subscriber should know of each release and each deployment."""
    releases = {
        str(row["id"]): (row["status"], row["commit_hash"], row["image_tag"], str(row["project_id"]))
        for row in rows["releases"]
    }
    deployments = {
        str(row["id"]): (
            row["status"],
            row["attempt"],
            row["deployed_by"],
            None if row["deployed_at"] is None else format_time(row["deployed_at"]),
        )
        for row in rows["release_deployments"]
    }
    return releases | deployments


def state_known(subscriber: Subscriber) -> dict[str, tuple[Any, ...]]:
    known: dict[str, tuple[Any, ...]] = {}
    for subject, data in subscriber.events.items():
        release = data["release"]
        if "deployment_id" in data:
            known[subject] = (data["status"], data["attempt"], data["deployed_by"], data["deployed_at"])
        else:
            known[subject] = (data["status"], release["commit_hash"], release["image_tag"], release["project_id"])
    return known


@ON_SQLITE
async def test_subscriber_ends_with_the_state_of_the_database(system: System) -> None:
    """Single status events come again, and the whole input topic is replayed by another group, before it is read."""
    day = day_of(SEED, releases=40)
    with system.worker() as worker:
        await system.send(day.daytime)
        await system.caught_up(worker)
        await system.send(day.evening)
        await system.caught_up(worker)
        assert await worker.stop() == 0
    repeated = [
        await repeat_some(system, topic) for topic in (system.topics.deployment_status, system.topics.release_status)
    ]
    replay = replace(system, group_id=f"group.{uuid4().hex}")
    with replay.worker() as worker:
        await replay.caught_up(worker)
        assert await worker.stop() == 0
    rows, received = await system.rows(), await consumed(system)
    versions = {str(row["release_mgt_id"]): row["version"] for row in rows["release_versions"]}
    subscriber = Subscriber()
    for data in received:
        subscriber.take(data)
    assert state_known(subscriber) == state_of(rows)
    assert subscriber.versions == versions
    assert subscriber.dropped > sum(repeated) > 0
    # No order of the two topics, or within them, makes a difference.
    Random(SEED).shuffle(received)
    shuffled = Subscriber()
    for data in received:
        shuffled.take(data)
    assert shuffled.events == subscriber.events
