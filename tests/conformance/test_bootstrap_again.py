"""A broker that comes back under another address, while the old one is closed or silent: the clients find it again."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from tests.conformance.deadlines import until
from tests.conformance.members import connection, member
from tests.conformance.producers import ToSend, send
from tests.testkit.availability import started
from tests.testkit.faulty_proxy import FaultyProxy
from tests.testkit.kafka_jars import KafkaUnavailable
from tests.testkit.proxied_kafka import ProxiedKafka
from tests.testkit.topic_creation import create_topics
from worker.kafka import aiokafka_workarounds
from worker.kafka.publisher import KafkaPublisher
from worker.ports import OutgoingRecord, Partition
from worker.rules.errors import Unavailable


@pytest.fixture(scope="module")
def kafka() -> Iterator[ProxiedKafka]:
    with started("apache", ProxiedKafka, missing=KafkaUnavailable) as server:
        yield server


@pytest.mark.parametrize("old_address", ["closed", "silent"])
async def test_clients_bootstrap_again_when_all_brokers_are_replaced(
    kafka: ProxiedKafka, old_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consumer, producer and probe, each within a minute: as a new Kubernetes node or a moved load balancer has it.

    `silent`: connections stay open, new ones are accepted, and nothing is answered. No request times out in this test.
    """
    for name in ("_KNOWN_BROKERS_SECONDS", "_UNANSWERED_SECONDS", "_CONNECT_SECONDS"):
        monkeypatch.setattr(aiokafka_workarounds, name, 1.0)
    topic = f"events.{uuid4().hex}"
    await create_topics(kafka.bootstrap_servers, {topic: 1})
    [way] = kafka.ways
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(FaultyProxy.running(way.behind))
        at_front = f"127.0.0.1:{front.port}"
        old = AsyncExitStack()
        at_old = await old.enter_async_context(FaultyProxy.running(way.behind, port=way.port))
        stack.push_async_callback(old.aclose)
        publisher = KafkaPublisher(connection(at_front, request_timeout_seconds=600.0))
        await publisher.start()
        stack.push_async_callback(publisher.stop)
        one = await stack.enter_async_context(member(at_front, topic, request_timeout_seconds=600.0))
        await asyncio.to_thread(send, kafka.bootstrap_servers, topic, [ToSend(value=b"0")])
        await one.take(1)
        if old_address == "silent":
            old.enter_context(at_old.silent())
        await asyncio.to_thread(kafka.kill)
        if old_address == "closed":
            await old.aclose()
        front.cut()
        moved = kafka.move(0)
        await stack.enter_async_context(FaultyProxy.running(moved.behind, port=moved.port))
        await asyncio.to_thread(kafka.start)
        await asyncio.to_thread(send, kafka.bootstrap_servers, topic, [ToSend(value=b"1")])

        async def answers() -> bool:
            try:
                async with asyncio.timeout(1.0):
                    await publisher.ping()
            except (Unavailable, TimeoutError):
                return False
            return True

        await until(answers, what="the probe is answered")
        await publisher.publish([OutgoingRecord(topic=topic, key=None, value=b"2", headers=())])
        assert [record.value for record in await one.take(3)] == [b"0", b"1", b"2"]

        async def committed() -> bool:
            await one.poll()
            try:
                await one.source.commit({Partition(topic, 0): 3})
            except Exception:  # noqa: BLE001 - until the group has this member again
                return False
            return True

        await until(committed, what="the member commits")
