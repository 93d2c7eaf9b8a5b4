"""The recount's consumer reads every partition from its first record to its last."""

import pytest
from aiokafka import AIOKafkaProducer

from worker.demo.topic_reader import read_topic

pytest.importorskip("noida_db", reason="the embedded broker is not installed")


async def test_topic_is_read_whole_and_in_order() -> None:
    """Keys, values and headers as they were sent; an empty topic is empty."""
    from worker.demo.broker import EmbeddedBroker
    from worker.demo.topics import create_topics

    async with EmbeddedBroker() as broker:
        servers = broker.bootstrap_servers
        await create_topics(servers, {"full": 3, "empty": 1})
        async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
            for number in range(30):
                await producer.send_and_wait(
                    "full", str(number).encode(), key=b"k", headers=[("h", b"1")], partition=number % 3
                )
        found = await read_topic(bootstrap_servers=servers, topic="full")
        assert await read_topic(bootstrap_servers=servers, topic="empty") == ()
    assert [record.place for record in found] == [f"full/{part}/{offset}" for part in range(3) for offset in range(10)]
    assert [record.value for record in found[:2]] == [b"0", b"3"]
    assert {(record.key, record.headers) for record in found} == {(b"k", (("h", b"1"),))}
