"""Only a member of the group commits, and only under the generation in which the commit began.

Three traits of aiokafka's commit, each of which can take the group's offsets back:

- A member that the group has dropped commits without a generation. Kafka takes that for a client that needs no group,
  and obeys while the group is empty: the offsets of a successor that has left are lost.
- A commit that fails is sent again under whatever generation the member has by then. Its partitions may be another
  member's, whose offsets are taken back.
- The request is shielded: cancelling the commit leaves it under way. It can be sent after the next commit, and its late
  answer can reset the generation that the member has by then.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalGenerationError, UnknownMemberIdError
from aiokafka.protocol.commit import OffsetCommitRequest

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
