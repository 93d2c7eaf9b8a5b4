"""Topics made to order on a broker that does not make them by itself: for the demo and the tests.

In production topics are the platform's to create; the worker itself never does.
"""

import asyncio
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

_TOPIC_ALREADY_EXISTS = 36
_PAUSE_SECONDS = 0.02
# Brokers drop records by the timestamp that the publisher gave: after seven days by default, which for a record with
# an old timestamp is at once (the embedded broker looks every few seconds, Apache Kafka every five minutes).
_CONFIGS = {"retention.ms": "-1"}


class TopicsNotCreated(Exception):
    """The broker refused a topic, or did not make it ready in time."""


async def create_topics(
    bootstrap_servers: str,
    partitions_by_name: Mapping[str, int],
    configs: Mapping[str, str] | None = None,
    *,
    timeout_seconds: float = 30.0,
) -> None:
    """Creates the topics that do not exist, all with the same `configs`, and returns when every partition has a leader.

    Without a `retention.ms` among the configs, records are kept for ever, however old their timestamps.

    A topic that exists stays as it is. It waits for the leaders since a client that asks too early remembers for
    minutes that there is no such topic. TopicsNotCreated; the client's own errors when no broker answers.
    """
    if not partitions_by_name:
        return
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        async with asyncio.timeout(timeout_seconds):
            await admin.start()
            await _create(admin, partitions_by_name, {**_CONFIGS, **(configs or {})})
            while await _without_leaders(admin, partitions_by_name):
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError as error:
        raise TopicsNotCreated(
            f"not ready within {timeout_seconds} s: {', '.join(sorted(partitions_by_name))}"
        ) from error
    finally:
        await admin.close()


async def _create(
    admin: AIOKafkaAdminClient, partitions_by_name: Mapping[str, int], configs: Mapping[str, str]
) -> None:
    response = await admin.create_topics(
        [
            NewTopic(name=name, num_partitions=partitions, replication_factor=1, topic_configs=dict(configs))
            for name, partitions in partitions_by_name.items()
        ]
    )
    for name, code, *message in response.topic_errors:
        if code not in (0, _TOPIC_ALREADY_EXISTS):
            raise TopicsNotCreated(f"{name}: error {code}: {' '.join(str(part) for part in message)}")


async def _without_leaders(admin: AIOKafkaAdminClient, partitions_by_name: Mapping[str, int]) -> list[str]:
    described = await admin.describe_topics(list(partitions_by_name))
    ready = {
        topic["topic"]
        for topic in described
        if topic["error_code"] == 0
        and topic["partitions"]
        and all(partition["error_code"] == 0 and partition["leader"] >= 0 for partition in topic["partitions"])
    }
    return sorted(partitions_by_name.keys() - ready)
