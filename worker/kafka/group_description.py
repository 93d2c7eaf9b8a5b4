"""A consumer group as its coordinator describes it. Nothing is joined."""

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, for_code

from worker.kafka.connection import Connection, at_start
from worker.ports import GroupDescription, GroupMember
from worker.rules.errors import ConfigurationError, Unavailable


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
        [response] = await admin.describe_consumer_groups([group_id])
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
