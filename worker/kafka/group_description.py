"""A consumer group as its coordinator describes it. Nothing is joined."""

import asyncio
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, for_code

from worker.kafka.connection import Connection, at_start
from worker.ports import GroupDescription, GroupMember
from worker.rules.errors import ConfigurationError, Unavailable

_COORDINATOR_SECONDS = 10.0
_COORDINATOR_PAUSE_SECONDS = 0.2


async def described_group(connection: Connection, group_id: str) -> GroupDescription:
    """The group and its members.

    Raises:
        Unavailable: no broker answers.
        ConfigurationError: a broker refuses the credentials, or the description of the group.
    """
    admin = AIOKafkaAdminClient(**connection.arguments())
    try:
        await admin.start()
    except KafkaError as error:
        await admin.close()
        raise at_start(error, connection) from error
    try:
        response = await _described(admin, group_id)
    except KafkaError as error:
        raise Unavailable(f"group {group_id} is not described by Kafka: {error!r}") from error
    finally:
        await admin.close()
    [(code, _, state, _, _, members, *_)] = response.groups
    if code == GroupAuthorizationFailedError.errno:
        raise ConfigurationError(f"this login lacks the privilege Describe on group {group_id} (RUDDER_GROUP_ID)")
    if code:
        raise Unavailable(f"group {group_id} is not described by Kafka: {for_code(code).__name__}")
    return GroupDescription(
        group_id=group_id,
        state=state,
        members=tuple(GroupMember(client_id=client_id, host=host) for _, client_id, host, *_ in members),
    )


async def _described(admin: AIOKafkaAdminClient, group_id: str) -> Any:
    """Repeated for a while: the first request about any group makes a new cluster create its offsets topic, and a
    coordinator loads its groups after it was elected.
    """
    loop = asyncio.get_running_loop()
    give_up_at_seconds = loop.time() + _COORDINATOR_SECONDS
    while True:
        late = loop.time() > give_up_at_seconds
        try:
            [response] = await admin.describe_consumer_groups([group_id])
            if late or not for_code(response.groups[0][0]).retriable:
                return response
        except KafkaError as error:
            if late or not error.retriable:
                raise
        await asyncio.sleep(_COORDINATOR_PAUSE_SECONDS)
