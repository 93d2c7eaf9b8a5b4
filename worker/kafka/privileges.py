"""What the worker may do with its topics and its group (KIP-430). Nothing is written, created or joined."""

from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, IncompatibleBrokerVersion, KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from worker.kafka.aiokafka_workarounds import DescribeGroupsRequestV3
from worker.kafka.publisher import KafkaPublisher
from worker.rules.errors import ConfigurationError, Unavailable

READ, WRITE = "Read", "Write"

_BITS = {READ: 1 << 3, WRITE: 1 << 4}
"""Of the operations' codes in Kafka's protocol."""

_TOPIC_OPERATIONS = (False, False, True)
"""No topic is created, the operations on the cluster are not described, those on the topics are."""

_GROUP_OPERATIONS = (True,)
_NOT_GIVEN = -(2**31)
_TEXT = String("utf-8")


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka is untyped
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(_TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _AuthorizedOperations(Request[_MetadataRequestStruct]):  # type: ignore[misc]
    """Metadata of topics in the first version that has these operations; aiokafka has none so new."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        return request_struct_class(self._topics, *_TOPIC_OPERATIONS)


class _GroupOperations(Request[DescribeGroupsRequestV3]):  # type: ignore[misc]
    API_KEY = 15

    def __init__(self, group_id: str) -> None:
        self._group_id = group_id

    def build(self, request_struct_class: type[DescribeGroupsRequestV3]) -> DescribeGroupsRequestV3:
        return request_struct_class([self._group_id], *_GROUP_OPERATIONS)


async def topic_advice(publisher: KafkaPublisher, operation: str, topics: Mapping[str, str]) -> tuple[str, ...]:
    """What could not be checked, a line each. `topics`: each with the setting that names it.

    Raises:
        ConfigurationError: the worker may not do this with one of them.
    """
    try:
        described = await publisher.request(_AuthorizedOperations(sorted(topics)))
    except (Unavailable, NotImplementedError, KafkaError) as error:
        return (f"the privilege {operation} on the topics was not checked: the broker does not report it ({error})",)
    operations = {topic: found for _, topic, _, _, found in described.topics}
    refused = [topic for topic, found in operations.items() if found != _NOT_GIVEN and not found & _BITS[operation]]
    if refused:
        named = ", ".join(f"{topic} ({topics[topic]})" for topic in refused)
        raise ConfigurationError(f"the worker lacks the privilege {operation} on {named}: grant it")
    unknown = sorted(topic for topic in topics if operations.get(topic, _NOT_GIVEN) == _NOT_GIVEN)
    return tuple(
        f"the privilege {operation} on topic {topic} was not checked: the broker does not report it"
        for topic in unknown
    )


async def group_advice(admin: AIOKafkaAdminClient, group_id: str) -> tuple[str, ...]:
    """What could not be checked.

    Raises:
        ConfigurationError: the worker may not join the group.
        KafkaError: as aiokafka's.
    """
    try:
        code, *_, operations = await _described(admin, group_id)
    except (IncompatibleBrokerVersion, NotImplementedError) as error:
        return (f"the privilege Read on group {group_id} was not checked: the broker does not report it ({error})",)
    if code == GroupAuthorizationFailedError.errno or (operations != _NOT_GIVEN and not operations & _BITS[READ]):
        raise ConfigurationError(f"the worker lacks the privilege Read on group {group_id} (RUDDER_GROUP_ID): grant it")
    if code or operations == _NOT_GIVEN:
        cause = for_code(code).__name__ if code else "the broker does not report it"
        return (f"the privilege Read on group {group_id} was not checked: {cause}",)
    return ()


async def group_members(admin: AIOKafkaAdminClient, group_id: str) -> int:
    """How many members the group has; a group that does not exist has none.

    Raises:
        KafkaError: as aiokafka's.
    """
    code, _, _, _, _, members, _ = await _described(admin, group_id)
    if code:
        raise for_code(code)(f"group {group_id}")
    return len(members)


async def _described(admin: AIOKafkaAdminClient, group_id: str) -> Any:
    coordinator_id = await admin.find_coordinator(group_id)
    described = await admin._client.send(coordinator_id, _GroupOperations(group_id))  # noqa: SLF001
    [group] = described.groups
    return group
