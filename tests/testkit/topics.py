"""Topics of one test: made to order by the fixture `topics`, deleted when the test is done."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient


class MakeTopic(Protocol):
    async def __call__(
        self, *, partitions: int = 1, name_hint: str = "topic", configs: Mapping[str, str] | None = None
    ) -> str:
        """Creates a topic of a name never used before, ready for use, and returns the name."""


def delete_topics(bootstrap_servers: str, names: list[str]) -> None:
    """The embedded broker writes all it holds to disk over and over: what is done with should go. A courtesy, no more:
    a broker that a test left dead, or a topic that a test deleted, is no failure here.
    """
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    for deleted in client.delete_topics(names, request_timeout=5).values():
        with suppress(KafkaException):
            deleted.result(10)
