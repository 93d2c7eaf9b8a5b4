"""What a replay reads: records in their order of time, in chunks, and which of their events the database knows."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from schemas.record import Record
from worker.ports import Partition
from worker.prediction import Rows
from worker.replay.scope import Bounds, Scope
from worker.rules.decide import duplicate
from worker.rules.identity import activity_ids
from worker.rules.message import Message
from worker.rules.rows import Activity, Rejection
from worker.rules.state import Duplicate, State
from worker.stored_rows import EnvironmentRow

_CHUNK_RECORDS_MAX = 1_000
_CHUNK_BYTES_MAX = 8 * 1024 * 1024


class Records(Protocol):
    """Topics; read by a client that belongs to no group. Every method raises Unavailable where no broker answers, and
    ConfigurationError where a topic may not be read.
    """

    async def begins(self, topics: Sequence[str]) -> Mapping[Partition, int]: ...

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]: ...

    async def committed(self, topics: Sequence[str]) -> Mapping[Partition, int]: ...

    async def offsets_at(self, topics: Sequence[str], timestamp_ms: int) -> Mapping[Partition, int]: ...

    async def cluster_id(self) -> str: ...

    def records_by_time(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        """The records in these ranges, each partition's in order; across partitions by their timestamps."""
        ...


class Tables(Rows, Protocol):
    """The stored rows. Every method raises Unavailable where the database does not answer."""

    async def identity(self) -> UUID: ...

    async def logged(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these events are in the activity log."""
        ...

    async def activity_types(self, ids: Sequence[UUID]) -> Mapping[UUID, str]:
        """The types of the activities with these ids."""
        ...

    async def deployed(self, ids: Sequence[UUID]) -> Mapping[UUID, tuple[UUID, datetime | None]]:
        """The release and `deployed_at` of these deployments."""
        ...

    def environments(self) -> AsyncIterator[EnvironmentRow]: ...


async def bounds(scope: Scope, records: Records, *, input_topics: Sequence[str]) -> Bounds:
    """The offsets that the scope is pinned with. The ends first: a partition that is added meanwhile is left out, and
    so is every later record.
    """
    topics = scope.topics_to_read(input_topics)
    ends = await records.ends(topics)
    begins = await records.begins(topics)
    return Bounds(
        begins={partition: begin for partition, begin in begins.items() if partition in ends},
        ends=ends,
        committed=await records.committed(input_topics),
        begin_at={} if scope.begin_ms is None else await records.offsets_at(topics, scope.begin_ms),
        end_at={} if scope.end_ms is None else await records.offsets_at(topics, scope.end_ms),
    )


async def chunks(records: AsyncIterator[Record]) -> AsyncIterator[list[Record]]:
    """The records in lists of bounded length and size; one record may exceed the size."""
    chunk: list[Record] = []
    size = 0
    async for record in records:
        chunk.append(record)
        size += len(record.value or b"")
        if len(chunk) >= _CHUNK_RECORDS_MAX or size >= _CHUNK_BYTES_MAX:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


async def logged_types(tables: Tables, messages: Sequence[Message]) -> Mapping[UUID, tuple[str, ...]]:
    """Of each event that is in the activity log the types of its activities, in order."""
    ids = {one.id: _activity_ids(one) for one in messages}
    found = await tables.activity_types([id_ for of_event in ids.values() for id_ in of_event])
    return {
        event: tuple(found[id_] for id_ in of_event if id_ in found)
        for event, of_event in ids.items()
        if event in found
    }


async def logged_activities(tables: Tables, messages: Sequence[Message]) -> Mapping[UUID, tuple[Activity, ...]]:
    """Of each event that is in the activity log its activities, in order."""
    ids = {one.id: _activity_ids(one) for one in messages}
    found = await tables.activities_of([id_ for of_event in ids.values() for id_ in of_event])
    return {
        event: tuple(found[id_] for id_ in of_event if id_ in found)
        for event, of_event in ids.items()
        if event in found
    }


def rejected_before(message: Message, rejections: Mapping[UUID, Rejection]) -> Duplicate | None:
    """The outcome of an event that is not in the activity log, if it is known as rejected; None: it is decided."""
    rejection = rejections.get(message.id)
    return None if rejection is None else duplicate(State(rejection=rejection), message)


def _activity_ids(message: Message) -> tuple[UUID, ...]:
    content = message.content
    if content.source is None or content.id is None:
        return ()
    return activity_ids(source=content.source, event_id=content.id)
