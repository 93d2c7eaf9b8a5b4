"""The reader of whole topics: records that do not come end in one error, and its clients close all the same."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError

from tests.conformance.producers import ToSend, send
from tests.conftest import MakeTopic
from worker.kafka.connection import Connection
from worker.kafka.topic_reader import KafkaTopicReader
from worker.ports import Partition
from worker.rules.errors import Unavailable


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
async def test_missing_records_end_in_one_error(bootstrap_servers: str, topics: MakeTopic) -> None:
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


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
async def test_commits_of_a_new_cluster_are_requested_again(
    bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first question makes it create its offsets topic; until that has a leader there is no coordinator."""
    answers: list[Exception | None] = [GroupCoordinatorNotAvailableError(), NotCoordinatorForGroupError(), None]
    upstream = AIOKafkaAdminClient.list_consumer_group_offsets

    async def asked(self: AIOKafkaAdminClient, group_id: str) -> object:
        if (error := answers.pop(0)) is not None:
            raise error
        return await upstream(self, group_id)

    monkeypatch.setattr(AIOKafkaAdminClient, "list_consumer_group_offsets", asked)
    reader = KafkaTopicReader(Connection(bootstrap_servers=bootstrap_servers, client_id="reader"), group_id="none")
    await reader.start()
    try:
        assert await reader.committed(["topic"]) == {}
    finally:
        await reader.stop()
    assert answers == []
