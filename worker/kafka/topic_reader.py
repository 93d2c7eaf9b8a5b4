"""Topics, whole or in part, read by a client that belongs to no group and writes nothing."""

import asyncio
import heapq
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CorruptRecordException,
    GroupCoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorForGroupError,
)
from aiokafka.structs import OffsetAndMetadata

from schemas.record import Record
from worker.kafka import aiokafka_workarounds, privileges, record_batches
from worker.kafka.connection import Connection, at_start
from worker.kafka.consumer_client import record_of
from worker.ports import Partition
from worker.rules.errors import ConfigurationError, Unavailable

_POLL_TIMEOUT_MS = 500
_RECORDS_MAX = 1_000
_PARTITION_FETCH_BYTES = 256 * 1024
_FETCH_BYTES = 8 * 1024 * 1024
_PARTITIONS_MAX = 32
"""Read at the same time: each may have a fetch in memory, and topics may have thousands."""

_GAP_MAX = 500
"""Records between two wanted ones that are read and skipped."""

_COORDINATOR_SECONDS = 10.0
_COORDINATOR_PAUSE_SECONDS = 0.2

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.kafka")


class KafkaTopicReader:
    """`worker.verify.verification.TopicReader` on aiokafka. `silence_seconds`: how long no record may come."""

    def __init__(
        self,
        connection: Connection,
        *,
        group_id: str,
        silence_seconds: float = 60.0,
        batch_bytes_max: int = record_batches.BATCH_BYTES_MAX,
    ) -> None:
        self._connection = connection
        self._group_id = group_id
        self._silence_seconds = silence_seconds
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        record_batches.limit_batches(batch_bytes_max)

    async def start(self) -> None:
        """Connect.

        Raises:
            Unavailable: no broker answers.
            ConfigurationError: a broker refuses the credentials.
        """
        self._admin = AIOKafkaAdminClient(**self._connection.arguments())
        self._consumer = AIOKafkaConsumer(
            **self._connection.arguments(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # what retention deletes while it is read is passed over
            isolation_level="read_committed",
            max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
            fetch_max_bytes=_FETCH_BYTES,
        )
        try:
            await self._admin.start()
            await self._consumer.start()
        except KafkaError as error:
            raise at_start(error, self._connection) from error

    async def stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if consumer is not None:
            await aiokafka_workarounds.close(consumer, name="consumer")
        if admin is not None:
            await aiokafka_workarounds.close(admin, name="admin client")

    async def committed(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        with self._translated(f"the commits of group {self._group_id}"):
            found = await self._commits()
        return {
            Partition(*partition): commit.offset
            for partition, commit in found.items()
            if partition.topic in topics and commit.offset >= 0
        }

    async def _commits(self) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """Repeated for a while: the first request about any group makes a new cluster create its offsets topic."""
        loop = asyncio.get_running_loop()
        give_up_at_seconds = loop.time() + _COORDINATOR_SECONDS
        while True:
            try:
                found: Mapping[TopicPartition, OffsetAndMetadata]
                found = await self._of_admin().list_consumer_group_offsets(self._group_id)
            except (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError):
                if loop.time() > give_up_at_seconds:
                    raise
                await asyncio.sleep(_COORDINATOR_PAUSE_SECONDS)
            else:
                return found

    async def check_privileges(self) -> Sequence[str]:
        """Which privilege on the group could not be checked.

        Raises:
            ConfigurationError: the worker may not join the group.
        """
        with self._translated(f"the privileges on group {self._group_id}"):
            return await privileges.group_advice(self._of_admin(), self._group_id)

    async def members(self) -> int:
        """How many members the group has now.

        Raises:
            Unavailable: no broker answers.
            ConfigurationError: the group may not be described.
        """
        with self._translated(f"the members of group {self._group_id}"):
            return await privileges.group_members(self._of_admin(), self._group_id)

    async def begins(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        partitions = await self._partitions(topics)
        with self._translated("the first offsets of the topics"):
            found = await self._of_consumer().beginning_offsets(partitions) if partitions else {}
        return {Partition(*partition): offset for partition, offset in found.items()}

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        partitions = await self._partitions(topics)
        with self._translated("the end offsets of the topics"):
            found = await self._of_consumer().end_offsets(partitions) if partitions else {}
        return {Partition(*partition): offset for partition, offset in found.items()}

    async def cluster_id(self) -> str:
        """The id of the Kafka cluster."""
        with self._translated("the cluster's id"):
            described: dict[str, str] = await self._of_admin().describe_cluster()
            return described["cluster_id"]

    async def offsets_at(self, topics: Sequence[str], timestamp_ms: int) -> Mapping[Partition, int]:
        """Of each partition the first offset with this timestamp or a later one; the log end where there is none."""
        partitions = await self._partitions(topics)
        with self._translated("offsets by time"):
            found = await self._of_consumer().offsets_for_times(dict.fromkeys(partitions, timestamp_ms))
        ends = await self.ends(topics)
        return {
            Partition(*partition): ends[Partition(*partition)] if at is None else at.offset
            for partition, at in found.items()
        }

    async def records(self, ends: Mapping[Partition, int]) -> AsyncIterator[Record]:
        begins = await self.begins(sorted({partition.topic for partition in ends}))
        ranges = {partition: range(begins.get(partition, 0), end) for partition, end in ends.items()}
        async for record in self._read(ranges):
            yield record

    async def records_at(self, positions: Iterable[tuple[str, int, int]]) -> AsyncIterator[Record]:
        """The records at these positions (topic, partition, offset) that still exist, each partition's in order."""
        wanted: dict[Partition, set[int]] = defaultdict(set)
        for topic, partition, offset in positions:
            wanted[Partition(topic, partition)].add(offset)
        ranges = {partition: _clustered(offsets) for partition, offsets in wanted.items()}
        while ranges:
            some = {partition: queue.pop(0) for partition, queue in ranges.items()}
            async for record in self.records_between(some):
                if record.offset in wanted[Partition(record.topic, record.partition)]:
                    yield record
            ranges = {partition: queue for partition, queue in ranges.items() if queue}

    async def records_between(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        """The records that still exist of each partition, with an offset in its range, each partition's in order.
        Offsets behind the log end, and partitions that do not exist, have none.
        """
        async for record in self._read(await self._existing(ranges)):
            yield record

    async def records_by_time(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        """As `records_between`, across partitions in the order of the timestamps. The same ranges give the same order.
        A fetch of each partition is in memory.
        """
        waiting: dict[TopicPartition, deque[Record]] = {}
        heap: list[tuple[int, TopicPartition]] = []  # of each partition the first waiting record
        async for batches, open_partitions in self._batches(
            await self._existing(ranges), wanted=lambda open_: [one for one in open_ if not waiting.get(one)]
        ):
            for partition, batch in batches.items():
                queue = waiting.setdefault(partition, deque())
                if batch and not queue:
                    heapq.heappush(heap, (batch[0].timestamp_ms, partition))
                queue.extend(batch)
            while heap and all(waiting.get(one) for one in open_partitions):
                _, partition = heapq.heappop(heap)
                queue = waiting[partition]
                yield queue.popleft()
                if queue:
                    heapq.heappush(heap, (queue[0].timestamp_ms, partition))

    async def _existing(self, ranges: Mapping[Partition, range]) -> Mapping[Partition, range]:
        topics = sorted({partition.topic for partition in ranges})
        begins, ends = await self.begins(topics), await self.ends(topics)
        return {
            partition: range(max(offsets.start, begins[partition]), min(offsets.stop, ends[partition]))
            for partition, offsets in ranges.items()
            if partition in begins and partition in ends
        }

    async def _read(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        partitions = sorted(partition for partition, offsets in ranges.items() if offsets)
        for first in range(0, len(partitions), _PARTITIONS_MAX):
            some = partitions[first : first + _PARTITIONS_MAX]
            async for record in self._together({partition: ranges[partition] for partition in some}):
                yield record

    async def _together(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        async for batches, _ in self._batches(ranges, wanted=list):
            for batch in batches.values():
                for record in batch:
                    yield record

    async def _batches(
        self,
        ranges: Mapping[Partition, range],
        *,
        wanted: Callable[[Collection[TopicPartition]], list[TopicPartition]],
    ) -> AsyncIterator[tuple[Mapping[TopicPartition, Sequence[Record]], Collection[TopicPartition]]]:
        """Records by partition, and the partitions that have not been read to their end. `wanted`: which of these to
        poll next.
        """
        consumer = self._of_consumer()
        open_ends = {TopicPartition(*partition): offsets.stop for partition, offsets in ranges.items() if offsets}
        with self._translated("records"):
            consumer.assign(list(open_ends))
            for partition in open_ends:
                consumer.seek(partition, ranges[Partition(*partition)].start)
        loop = asyncio.get_running_loop()
        heard_at_seconds = loop.time()
        while open_ends:
            polled = wanted(open_ends)
            with self._translated("records"):
                record_batches.begin_poll()
                try:
                    batches = await consumer.getmany(*polled, timeout_ms=_POLL_TIMEOUT_MS, max_records=_RECORDS_MAX)
                except CorruptRecordException:
                    continue  # fetched again; if that does not help, its records are handed out as unreadable
                if batches:
                    heard_at_seconds = loop.time()
                for partition in polled:
                    # The position, not the last record: a transaction's marker may stand at the end.
                    if await consumer.position(partition) >= open_ends[partition]:
                        del open_ends[partition]
                        consumer.pause(partition)
            found = {
                partition: [record_of(record) for record in batch if record.offset in ranges[Partition(*partition)]]
                for partition, batch in batches.items()
            }
            if open_ends and loop.time() - heard_at_seconds > self._silence_seconds:
                topics = ", ".join(sorted({partition.topic for partition in open_ends}))
                raise Unavailable(
                    f"no record of {topics} came for {self._silence_seconds:.0f} s, before the end was reached"
                )
            polled_at_seconds = loop.time()
            yield found, open_ends.keys()
            heard_at_seconds += loop.time() - polled_at_seconds  # a slow caller is no silence

    async def _partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """Of all topics, as a request that names one could create it."""
        with self._translated("the topics"):
            described = [topic for topic in await self._of_admin().describe_topics() if topic["topic"] in topics]
            if described:
                await aiokafka_workarounds.add_topics(self._of_consumer(), [topic["topic"] for topic in described])
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        ]

    def _of_consumer(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RuntimeError("the reader is not started")
        return self._consumer

    def _of_admin(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            raise RuntimeError("the reader is not started")
        return self._admin

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (KafkaError, TimeoutError) as error:
            at = self._connection.bootstrap_servers
            passing = isinstance(error, TimeoutError) or error.retriable
            raise (Unavailable if passing else ConfigurationError)(
                f"{what} cannot be read from Kafka at {at}: {error!r}"
            ) from error


def _clustered(offsets: Iterable[int]) -> list[range]:
    """Ranges that contain the offsets; reading over a small gap is faster than another seek."""
    ranges: list[range] = []
    for offset in sorted(offsets):
        if ranges and offset < ranges[-1].stop + _GAP_MAX:
            ranges[-1] = range(ranges[-1].start, offset + 1)
        else:
            ranges.append(range(offset, offset + 1))
    return ranges
