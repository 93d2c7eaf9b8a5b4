"""The consumer group's member: aiokafka behind `worker.ports.Source`.

Auto-commit is off; what may be committed is for the offset tracker to say. Only committed records are read, so what a
publisher's transaction took back is never seen.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    CorruptRecordException,
    GroupAuthorizationFailedError,
    IllegalStateError,
    InconsistentGroupProtocolError,
    KafkaError,
    KafkaTimeoutError,
    KafkaUnavailableError,
)

from schemas.record import Record, Unreadable
from worker.kafka import aiokafka_workarounds, log_bounds, record_batches
from worker.kafka.aiokafka_workarounds import Membership
from worker.kafka.connection import Connection, at_start
from worker.kafka.refusals import RIGHT_ERRORS
from worker.ports import LogEnd, Partition, PartitionsLost
from worker.rules.errors import ConfigurationError, FatalClientError, Unavailable
from worker.telemetry import Metrics

OnRebalance = Callable[[Iterable[Partition]], Awaitable[None]]

ASSIGNORS = MappingProxyType(
    {
        "range": RangePartitionAssignor,
        "roundrobin": RoundRobinPartitionAssignor,
        "sticky": StickyPartitionAssignor,
    }
)

_PARTITION_FETCH_BYTES = 64 * 1024
_FETCH_BYTES = 1024 * 1024
"""An answer is in memory several times while it is read. This is about a thousand events, as many as are in flight;
with answers of 4 MB a worker took 11 MB more."""

_FETCH_WAIT_MS = 250
"""A partition that was not read for 100 ms may wait this long, see `aiokafka_workarounds.set_fetch_wait`. By default it
is half a second; each fetch costs an idle worker about a millisecond."""

_FETCH_WAIT_PAUSED_MS = 20
_PAUSED_SHORTLY_SECONDS = 1.0
"""A partition that was paused for less continues after at most `_FETCH_WAIT_PAUSED_MS`."""

_REBALANCE_PATIENCE_SECONDS = 0.5

_PASSING = (CorruptRecordException, KafkaTimeoutError, KafkaUnavailableError)
"""A batch with a wrong checksum is fetched again; if that does not help, its records are handed out as unreadable."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.kafka")


class KafkaConsumerClient:
    """One member. Times in seconds."""

    def __init__(
        self,
        connection: Connection,
        *,
        topics: Sequence[str],
        group_id: str,
        group_instance_id: str | None = None,
        assignor: str = "roundrobin",
        session_timeout_seconds: float = 45.0,
        max_poll_interval_seconds: float = 300.0,
        rebalance_timeout_seconds: float = 60.0,
        commit_timeout_seconds: float = 10.0,
        metadata_max_age_seconds: float = 60.0,
        batch_bytes_max: int = record_batches.BATCH_BYTES_MAX,
        metrics: Metrics | None = None,
    ) -> None:
        self._connection = connection
        self._metrics = metrics or Metrics()
        self._topics = tuple(topics)
        self._assignor = assignor
        self._commit_timeout_seconds = commit_timeout_seconds
        self._arguments = {
            "group_id": group_id,
            "group_instance_id": group_instance_id,
            "partition_assignment_strategy": (ASSIGNORS[assignor],),
            "session_timeout_ms": int(session_timeout_seconds * 1000),
            "heartbeat_interval_ms": int(session_timeout_seconds * 1000 / 10),
            "max_poll_interval_ms": int(max_poll_interval_seconds * 1000),
            "rebalance_timeout_ms": int(rebalance_timeout_seconds * 1000),
            "metadata_max_age_ms": int(metadata_max_age_seconds * 1000),
            "enable_auto_commit": False,
            "auto_offset_reset": "none",  # see `log_bounds.fetch`
            "isolation_level": "read_committed",
            # What is fetched ahead lies in memory and is not counted as in flight. A larger batch comes all the same.
            "max_partition_fetch_bytes": _PARTITION_FETCH_BYTES,
            "fetch_max_bytes": _FETCH_BYTES,
            "fetch_max_wait_ms": _FETCH_WAIT_MS,
        }
        self._consumer: AIOKafkaConsumer | None = None
        self._membership: Membership | None = None
        self._polling: asyncio.Future[list[ConsumerRecord]] | None = None
        self._to_pause: set[TopicPartition] = set()
        self._paused: AbstractSet[TopicPartition] = frozenset()
        self._paused_at_seconds = 0.0
        self._fetch_wait_ms = _FETCH_WAIT_MS
        self._sought: dict[TopicPartition, int] = {}  # by `seek`, while `_polling` is under way
        record_batches.limit_batches(batch_bytes_max)

    async def start(self, *, on_assigned: OnRebalance, on_revoked: OnRebalance) -> None:
        consumer = AIOKafkaConsumer(**self._connection.arguments(), **self._arguments)
        try:
            consumer.subscribe(topics=self._topics, listener=_Listener(on_assigned, self._forgetting(on_revoked)))
            await consumer.start()
            self._membership = Membership(consumer)
            self._consumer = consumer
        except KafkaError as error:
            raise self._fatal(consumer, error) or at_start(error, self._connection) from error
        finally:
            if self._consumer is not consumer:  # it failed, or was cancelled
                await aiokafka_workarounds.close(consumer, name="consumer")

    async def poll(
        self, *, timeout_seconds: float, records_max: int, paused: AbstractSet[Partition] = frozenset()
    ) -> Sequence[Record]:
        consumer = self._started()
        if (fatal := self._fatal(consumer, None)) is not None:
            raise fatal
        if self._polling is None:
            self._to_pause = {TopicPartition(*partition) for partition in paused}
            self._polling = asyncio.ensure_future(self._get(consumer, timeout_seconds, records_max))
        polling = self._polling
        # During a rebalance aiokafka waits for its end, however long that takes. The call is not cancelled: its count
        # of calls under way, by which it knows a consumer that does not poll, would never come down again.
        await asyncio.wait((polling,), timeout=timeout_seconds + _REBALANCE_PATIENCE_SECONDS)
        if not polling.done() or self._polling is not polling:
            return ()
        self._polling = None
        sought, self._sought = self._sought, {}
        self._seek(sought)
        try:
            records = polling.result()
            return [record_of(record) for record in records if _partition_of(record) not in sought]
        except MemoryError as error:
            raise Unavailable("there is not enough memory to read a batch") from error
        except KafkaError as error:
            if (fatal := self._fatal(consumer, error)) is not None:
                raise fatal from error
            if isinstance(error, RIGHT_ERRORS):  # the grant may come; if it does not, the worker ends
                cause = self._connection.refusal(error)
                self._connection.privileges.add(cause)
                if isinstance(error, GroupAuthorizationFailedError):
                    aiokafka_workarounds.join_again(consumer)
                raise Unavailable(cause) from error
            # A member whose group has refused it for good would otherwise poll, live, and do nothing.
            passing = error.retriable or isinstance(error, _PASSING)
            raise (Unavailable if passing else FatalClientError)(f"no records can be fetched: {error}") from error

    def resume(self, partitions: Iterable[Partition]) -> None:
        """As `worker.ports.ConsumerClient` says."""
        resumed = {TopicPartition(*partition) for partition in partitions}
        self._to_pause -= resumed  # of a poll that is about to begin
        consumer = self._started()
        consumer.resume(*consumer.paused() & resumed)

    def _limit_fetch_wait(self, paused: AbstractSet[TopicPartition]) -> None:
        """A fetch that begins while a partition is paused must not delay it for long once it is resumed."""
        now_seconds = asyncio.get_running_loop().time()
        if paused != self._paused:
            self._paused, self._paused_at_seconds = paused, now_seconds
        shortly = bool(paused) and now_seconds - self._paused_at_seconds < _PAUSED_SHORTLY_SECONDS
        wait_ms = _FETCH_WAIT_PAUSED_MS if shortly else _FETCH_WAIT_MS
        if wait_ms != self._fetch_wait_ms:
            aiokafka_workarounds.set_fetch_wait(self._started(), wait_ms)
            self._fetch_wait_ms = wait_ms

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """As `worker.ports.ConsumerClient` says. A poll that is under way may have taken records already; these are
        left out when it ends, and fetched again.
        """
        sought = {TopicPartition(*partition): offset for partition, offset in offsets.items()}
        self._seek(sought)
        if self._polling is not None:
            self._sought |= sought

    def _seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        consumer = self._started()
        assigned = consumer.assignment()
        for partition, offset in offsets.items():
            if partition in assigned:
                consumer.seek(partition, offset)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        if self._membership is None:
            raise RuntimeError("the source is not started")
        try:
            async with asyncio.timeout(self._commit_timeout_seconds):
                await self._membership.commit({TopicPartition(*one): offset for one, offset in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            raise PartitionsLost("the group has moved on without this member") from error
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"offsets cannot be committed: {error!r}") from error

    @property
    def dropped(self) -> bool:
        """As `worker.ports.Membership` says."""
        return self._membership is not None and self._membership.dropped

    async def stop(self) -> None:
        consumer, self._consumer, self._membership = self._consumer, None, None
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
        if consumer is not None:
            await aiokafka_workarounds.close(consumer, name="consumer")

    def _fatal(self, consumer: AIOKafkaConsumer, error: KafkaError | None) -> ConfigurationError | None:
        """What no other attempt can mend, in a line that names the setting."""
        group_id = self._arguments["group_id"]
        if aiokafka_workarounds.is_fenced(consumer):
            return ConfigurationError(
                f"another member of group {group_id} has taken this worker's place: both have "
                f"RUDDER_GROUP_INSTANCE_ID={self._arguments['group_instance_id']}; each worker needs one of its own"
            )
        if isinstance(error, InconsistentGroupProtocolError):
            return ConfigurationError(
                f"the members of group {group_id} (RUDDER_GROUP_ID) have another assignment strategy than this one, "
                f"RUDDER_PARTITION_ASSIGNMENT_STRATEGY={self._assignor}, or are no consumers: give all the same one, "
                f"and stop all before it is changed ({error})"
            )
        return None

    async def _get(self, consumer: AIOKafkaConsumer, timeout_seconds: float, records_max: int) -> list[ConsumerRecord]:
        # A paused partition gives nothing and, unlike one that is not polled, counts as polled. It stays paused until
        # the next poll, as what was fetched ahead of it is thrown away; after a rebalance nothing is paused.
        assigned = consumer.assignment()
        wanted = assigned & self._to_pause if records_max else assigned
        already = consumer.paused()
        consumer.pause(*(wanted - already))
        consumer.resume(*(already & assigned - wanted))
        self._limit_fetch_wait(wanted)
        record_batches.begin_poll()
        timeout_ms = int(timeout_seconds * 1000) if records_max else 0
        return await log_bounds.fetch(consumer, self._metrics, timeout_ms=timeout_ms, max_records=records_max or 1)

    async def log_ends(self) -> Mapping[Partition, LogEnd]:
        """As `worker.ports.LogEnds` says."""
        return {} if self._consumer is None else await log_bounds.log_ends(self._consumer)

    def _forgetting(self, on_revoked: OnRebalance) -> OnRebalance:
        """Before the callback: records fetched and not returned yet may belong to another member soon."""

        async def revoked(partitions: Iterable[Partition]) -> None:
            if self._polling is not None and self._polling.done() and not self._polling.exception():
                self._polling = None
            await on_revoked(partitions)
            self._sought.clear()  # offsets of the earlier assignment

        return revoked

    def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RuntimeError("the source is not started")
        return self._consumer


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Hands a rebalance on. aiokafka logs what a listener raises and goes on, so ours must not raise unnoticed."""

    def __init__(self, on_assigned: OnRebalance, on_revoked: OnRebalance) -> None:
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._on_assigned([Partition(*partition) for partition in assigned])

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._on_revoked([Partition(*partition) for partition in revoked])


def _partition_of(record: ConsumerRecord) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


def record_of(record: ConsumerRecord) -> Record:
    """The library's record as the worker's own."""
    return Record(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=-1 if record.timestamp is None else record.timestamp,  # the first formats have none
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
        unreadable=record.checksum if isinstance(getattr(record, "checksum", None), Unreadable) else None,
    )
