"""The reader of whole topics: records that do not come end in one error, and its clients close all the same."""

import asyncio

import pytest

from tests.conformance.producers import ToSend, send
from tests.conftest import MakeTopic
from worker.domain.errors import Unavailable
from worker.kafka.connection import Connection
from worker.kafka.topic_reader import KafkaTopicReader
from worker.ports import Partition


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
async def test_records_that_do_not_come_end_in_one_error(bootstrap_servers: str, topics: MakeTopic) -> None:
    """As those of a partition whose leader no longer answers; here, of an offset that nothing was written to."""
    topic = await topics()
    await asyncio.to_thread(send, bootstrap_servers, topic, [ToSend(value=b"{}", key=b"k")])
    connection = Connection(bootstrap_servers=bootstrap_servers, client_id="reader")
    reader = KafkaTopicReader(connection, group_id="none", silence_seconds=0.0)
    await reader.start()
    try:
        ends = await reader.ends([topic])
        beyond: dict[Partition, int] = {at: end + 1 for at, end in ends.items() if end}
        with pytest.raises(Unavailable, match=topic):
            _ = [record async for record in reader.records(beyond)]
    finally:
        await reader.stop()
    await reader.stop()  # a second time is harmless
