"""Only a member of the group commits. aiokafka has one commit as well that its group has forgotten, and that then says
so by naming no generation: Kafka takes this for a client that needs no group, and obeys while the group is empty.

So a worker that stalled, and whose successor has committed more and has left, would take the group's offsets back.
"""

from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnknownMemberIdError
from aiokafka.protocol.commit import OffsetCommitRequest


def commit_as_a_member_only(consumer: AIOKafkaConsumer) -> None:
    """Have a commit of this started consumer, of a group, fail as Kafka would have it fail if others were in the group.
    aiokafka offers no seam for it: whoever asks before it commits may be forgotten before it does.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    commit = coordinator._do_commit_offsets  # noqa: SLF001

    async def do_commit_offsets(assignment: Any, offsets: Mapping[TopicPartition, Any]) -> None:
        if coordinator.generation == OffsetCommitRequest.DEFAULT_GENERATION_ID:
            raise UnknownMemberIdError(coordinator.group_id)
        await commit(assignment, offsets)

    coordinator._do_commit_offsets = do_commit_offsets  # noqa: SLF001
