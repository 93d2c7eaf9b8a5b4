"""The members of a consumer group, as the broker reports them."""

import asyncio
from collections.abc import Mapping

from confluent_kafka.admin import AdminClient

from tests.conformance.producers import WAIT_SECONDS


async def members_of(bootstrap_servers: str, group_id: str) -> Mapping[str, frozenset[int]]:
    """Each member's id with its assigned partitions; an empty mapping for a group without members."""
    return await asyncio.to_thread(_members_of, bootstrap_servers, group_id)


def _members_of(bootstrap_servers: str, group_id: str) -> Mapping[str, frozenset[int]]:
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    group = client.describe_consumer_groups([group_id], request_timeout=WAIT_SECONDS)[group_id].result()
    return {
        member.member_id: frozenset(place.partition for place in member.assignment.topic_partitions)
        for member in group.members
    }
