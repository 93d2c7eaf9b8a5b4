"""Only a member of the group commits, and only under the generation in which the commit began.

Three traits of aiokafka's commit, each of which can take the group's offsets back:

- A member that the group has dropped commits without a generation. Kafka takes that for a client that needs no group,
  and obeys while the group is empty: the offsets of a successor that has left are lost.
- A commit that fails is sent again under whatever generation the member has by then. Its partitions may be another
  member's, whose offsets are taken back.
- The request is shielded: cancelling the commit leaves it under way. It can be sent after the next commit, and its late
  answer can reset the generation that the member has by then.

And a static member that another has replaced is told so only where it asks by its instance id: see `install`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import BrokerResponseError, IllegalGenerationError, UnknownMemberIdError, kafka_errors
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import JoinGroupRequest

_NO_GENERATION = OffsetCommitRequest.DEFAULT_GENERATION_ID


class Membership:
    """Of a started consumer with a group. aiokafka offers no seam for it: whoever asks before it commits may be dropped
    before it does.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._coordinator = consumer._coordinator  # noqa: SLF001
        self._send = self._coordinator._do_commit_offsets  # noqa: SLF001
        self._coordinator._do_commit_offsets = self._send_as_member  # noqa: SLF001
        self._generation = _NO_GENERATION
        self._sending: asyncio.Task[Any] | None = None
        self._committing = asyncio.Lock()

    @property
    def dropped(self) -> bool:
        """Whether the group does not know this member: before its first join, or after the group has dropped it."""
        return bool(self._coordinator.generation == _NO_GENERATION)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """One after the other. When it has ended, cancelled or not, no request of it is under way in this client.

        Raises:
            KafkaError: as aiokafka's; CommitFailedError where the group is, or has come to be, at another generation.
        """
        async with self._committing:
            self._generation = self._coordinator.generation
            try:
                await self._consumer.commit(dict(offsets))
            finally:
                sending, self._sending = self._sending, None
                if sending is not None:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)

    async def _send_as_member(self, assignment: Any, offsets: Mapping[TopicPartition, Any]) -> None:
        if self._coordinator.generation == _NO_GENERATION:
            raise UnknownMemberIdError(self._coordinator.group_id)
        if self._coordinator.generation != self._generation:
            raise IllegalGenerationError(self._coordinator.group_id)
        self._sending = asyncio.current_task()
        await self._send(assignment, offsets)


class FencedInstanceIdError(BrokerResponseError):  # type: ignore[misc]  # aiokafka is untyped
    errno = 82
    message = "FENCED_INSTANCE_ID"
    description = "Another member of the group has the same group.instance.id."


def install() -> None:
    """Have every static member of this process end when another takes its place.

    aiokafka's heartbeats and commits name no `group.instance.id`, so that a broker answers UNKNOWN_MEMBER_ID to one
    that was replaced. aiokafka then joins as a new member, and takes its place back: two workers with one id replace
    each other for ever. This one joins first under the member id that it had; the broker then tells a member that was
    replaced (FENCED_INSTANCE_ID) from one that was silent for too long (UNKNOWN_MEMBER_ID), which joins as a new one.
    """
    kafka_errors[FencedInstanceIdError.errno] = FencedInstanceIdError
    GroupCoordinator.reset_generation = _reset_generation
    GroupCoordinator._send_req = _send_request  # noqa: SLF001


def is_fenced(consumer: AIOKafkaConsumer) -> bool:
    """Whether another member has taken this one's place under its `group.instance.id`."""
    return getattr(getattr(consumer, "_coordinator", None), "_is_fenced", False)


_reset = GroupCoordinator.reset_generation
_send = GroupCoordinator._send_req  # noqa: SLF001


def _reset_generation(self: Any) -> None:
    if self._group_instance_id is not None and self.member_id:
        self._earlier_member_id = self.member_id
    _reset(self)


async def _send_request(self: Any, request: Any) -> Any:
    earlier = getattr(self, "_earlier_member_id", None)
    if isinstance(request, JoinGroupRequest) and not request._member_id and earlier is not None:  # noqa: SLF001
        request._member_id = earlier  # noqa: SLF001
    response = await _send(self, request)
    code = getattr(response, "error_code", 0)
    if isinstance(request, JoinGroupRequest):
        self._earlier_member_id = None
    if code == FencedInstanceIdError.errno:
        self._is_fenced = True
    return response
