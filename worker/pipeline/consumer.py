"""The consumer: it polls records, dispatches them to the executor, and commits offsets of completed ones.

It polls even if the in-flight budget is used up, because the group removes a member that does not poll. Records fetched
and not completed are bounded in number and bytes.

While the breaker is open, the consumer is on standby: it releases its messages and fetches nothing, but stays in the
group. Once the breaker is closed and the released messages have ended, it continues at the first incomplete offset of
each partition.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog

from schemas.adapters.foreign import NoInterest
from schemas.record import Record
from worker.pipeline.batched_store import BatchedStore
from worker.pipeline.breaker import Breaker
from worker.pipeline.chains import ChainDelivery
from worker.pipeline.delivery import Delivery, InFlight
from worker.pipeline.dependency_monitor import DependencyMonitors
from worker.pipeline.executor import Executor, SecondStep
from worker.pipeline.in_flight_budget import InFlightBudget
from worker.pipeline.offset_commits import BlockedCommits, OffsetCommits
from worker.pipeline.partition_state import PartitionState
from worker.pipeline.resolution import ReleaseResolution
from worker.pipeline.state_order import StateOrder
from worker.pipeline.transaction import read
from worker.ports import Clock, ConsumerClient, Partition
from worker.rules.errors import Unavailable
from worker.rules.message import Message, RecordPosition
from worker.telemetry import (
    BREAKER_OPEN,
    COMMIT_BLOCKED_SECONDS,
    COMMIT_LAG_RECORDS,
    NO_INTEREST,
    PARTITIONS_ASSIGNED,
    PARTITIONS_PAUSED,
    TOMBSTONES,
    LogEvent,
    Metrics,
)

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.consumer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The consumer's limits and intervals. Times in seconds, sizes in bytes."""

    concurrency: int
    in_flight_records_max: int
    in_flight_bytes_max: int
    event_bytes_max: int
    event_ahead_max_seconds: int
    commit_interval_seconds: float
    poll_timeout_seconds: float
    drain_timeout_seconds: float
    commit_lag_records_max: int
    """Commit lag of a partition at which it is paused: the offsets behind the incomplete record are in memory."""
    keep_alive_seconds: float
    """Longest time between two polls while the in-flight budget is used up."""


class Consumer:
    """A service: `run` it until `stop` is set."""

    def __init__(
        self,
        *,
        client: ConsumerClient,
        delivery: Delivery,
        monitors: DependencyMonitors,
        breaker: Breaker,
        bounds: Bounds,
        clock: Clock,
        metrics: Metrics,
        holds_assigned: bool = False,
        batched_store: BatchedStore | None = None,
        resolution: ReleaseResolution | None = None,
        reader: Callable[[Record], Message | NoInterest] | None = None,
        state_order: StateOrder | None = None,
    ) -> None:
        """`holds_assigned`: no record of an assigned partition is begun before `admit`. `batched_store`: that of the
        delivery, if it has one; it runs while the consumer does. `resolution`: finds the releases of foreign events.
        `reader`: decodes a record; default: events of ours, with the bounds. `state_order`: None: no states are
        published.
        """
        self._client = client
        self._monitors = monitors
        self._batched_store = batched_store
        self._resolution = resolution
        self._read = reader or partial(
            read, event_bytes_max=bounds.event_bytes_max, event_ahead_max_seconds=bounds.event_ahead_max_seconds
        )
        self._breaker = breaker
        self._delivery = delivery
        self._bounds = bounds
        self._clock = clock
        self._metrics = metrics
        self._budget = InFlightBudget(
            records_max=bounds.in_flight_records_max,
            bytes_max=bounds.in_flight_bytes_max,
            metrics=metrics,
            on_quota_freed=self._resume_paused,
        )
        self._state_order = state_order
        self._commits = OffsetCommits(client, broker=monitors.broker, metrics=metrics, state_order=state_order)
        self._blocked_commits = BlockedCommits(monitors, clock=clock, metrics=metrics)
        self._partition_states: dict[Partition, PartitionState] = {}
        self._undrained: list[PartitionState] = []  # released while messages were processed
        self._standby_offsets: dict[Partition, int] = {}  # on standby: the first incomplete offset
        self._openings_handled = 0  # of the breaker: the consumer was on standby and has resumed
        self._assigned_partitions: set[Partition] = set()
        self._holds_assigned = holds_assigned
        self._unchecked: dict[Partition, object] = {}
        self._checks_again = False
        self._last_completed: dict[Partition, UUID] = {}
        self.unchecked_added = asyncio.Event()
        """Set when partitions are held that were not before."""
        self._committed_at_seconds = self._polled_at_seconds = 0.0
        self._commit_task: asyncio.Task[None] | None = None
        self._paused: frozenset[Partition] = frozenset()
        metrics.read_at_scrape(PARTITIONS_PAUSED, lambda: len(self._paused))
        metrics.read_at_scrape(COMMIT_LAG_RECORDS, self._commit_lag_max)
        metrics.read_at_scrape(BREAKER_OPEN, lambda: float(breaker.is_open))
        self.beat_seconds: float | None = None
        """Monotonic time of the loop's last iteration; None before the first, and during the drain."""
        self.joined = False
        """Whether the group has completed an assignment with this member at least once, possibly of no partition."""

    def _commit_lag_max(self) -> int:
        return max((state.commit_lag for state in self._partition_states.values()), default=0)

    async def join(self) -> None:
        """Join the group.

        Raises:
            Unavailable, ConfigurationError: as `ConsumerClient.start`.
        """
        await self._client.start(on_assigned=self._assigned, on_revoked=self._revoked)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; then finish messages in flight, commit, and leave the group."""
        try:
            async with asyncio.TaskGroup() as group:
                executor = self._executor(group)
                batching = None
                # Not before: the start waits for the dependencies itself. Not after: they are closed.
                probing = group.create_task(self._monitors.run(), name="probe dependencies")
                if self._batched_store is not None:
                    batching = group.create_task(self._batched_store.run(), name="batches of the store")
                resolving = self._start_resolution(group, executor)
                while not stop.is_set():
                    await self.run_once(executor, stop, group)
                self.beat_seconds = None
                await self._release(self._partition_states.keys(), also_drained=self._undrained)
                executor.cancel()
                probing.cancel()
                for task in (batching, resolving):
                    if task is not None:
                        task.cancel()
        finally:
            await self._client.stop()
            if self._state_order is not None:
                self._state_order.release()  # after a failure; a stop has done that

    def _executor(self, group: asyncio.TaskGroup) -> Executor[InFlight]:
        def run(chain: Sequence[InFlight]) -> Awaitable[SecondStep | None]:
            return chains.run(chain)

        executor = Executor(group, run, concurrency=self._bounds.concurrency)
        chains = ChainDelivery(
            delivery=self._delivery,
            slot=executor.slot,
            complete=self._complete,
            release=lambda one: self._budget.release(one.message.record, one.lease.usage),
            chain_ended=(lambda: None) if self._resolution is None else self._resolution.message_ended,
        )
        return executor

    def _start_resolution(self, group: asyncio.TaskGroup, executor: Executor[InFlight]) -> asyncio.Task[None] | None:
        if self._resolution is None:
            return None
        running = self._resolution.run(partial(self._submit, executor), executor.is_running)
        return group.create_task(running, name="find releases")

    async def run_once(self, executor: Executor[InFlight], stop: asyncio.Event, group: asyncio.TaskGroup) -> None:
        """Poll once, dispatch the records, and begin a commit if the interval is over."""
        self.beat_seconds = self._clock.monotonic_seconds()
        # Also if it has closed since: messages that were dropped meanwhile must be fetched again.
        if self._standing_by:
            await self._stand_by(stop)
            return
        for record in await self._poll(stop):
            self._dispatch(record, executor)
        now_seconds = self._clock.monotonic_seconds()
        if now_seconds - self._committed_at_seconds >= self._bounds.commit_interval_seconds:
            self._committed_at_seconds = now_seconds
            self._commit_beside_polling(group)

    def _commit_beside_polling(self, group: asyncio.TaskGroup) -> None:
        """Commit in a task: records that arrive meanwhile do not wait for the answer to the commit."""
        if self._commit_task is None or self._commit_task.done():
            self._commit_task = group.create_task(self._commit_and_check(), name="commit offsets")

    async def _commit_and_check(self) -> None:
        await self._commit_all()
        self._blocked_commits.check(self._partition_states)

    @property
    def _standing_by(self) -> bool:
        return self._breaker.openings > self._openings_handled or self._checks_again

    async def _stand_by(self, stop: asyncio.Event) -> None:
        """Start nothing, commit and drop completed partitions, and poll without fetching.

        Records of an earlier poll are not processed either: they are not committed, so they are delivered again.
        Incomplete messages are not waited for, since the broker may be unavailable. A partition whose commit failed is
        kept, and committed in the next iteration.
        """
        self._paused = frozenset()
        self._metrics.set(COMMIT_BLOCKED_SECONDS, 0.0)
        for partition_state in self._partition_states.values():
            partition_state.ended.set()
        await self._commit_all()
        for partition_state in tuple(self._partition_states.values()):
            if not partition_state.running and partition_state.to_commit() is None:
                if partition_state.first_incomplete is not None:
                    self._keep_offset(partition_state.partition, partition_state.first_incomplete)
                self._drop(partition_state)
        if not self._breaker.is_open and not self._partition_states:
            self._resume()
        elif not await self._clock.wait(stop, timeout_seconds=self._bounds.poll_timeout_seconds):
            with suppress(Unavailable):
                for record in await self._client.poll(timeout_seconds=self._bounds.poll_timeout_seconds, records_max=0):
                    self._keep_offset(Partition(record.topic, record.partition), record.offset)

    def _resume(self) -> None:
        """Continue at the first incomplete offsets; no message of before the standby is left."""
        self._openings_handled = self._breaker.openings
        for partition in self._assigned_partitions:
            self._partition_states[partition] = PartitionState(partition)
        if self._checks_again:
            self._checks_again = False
            self._hold(self._assigned_partitions)
        self._seek([partition for partition in self._standby_offsets if partition not in self._unchecked])

    def _seek(self, partitions: Iterable[Partition]) -> None:
        """Continue these partitions at their standby offsets, if there are any."""
        sought = {one: self._standby_offsets.pop(one) for one in partitions if one in self._standby_offsets}
        if sought:
            self._client.seek(sought)

    def _hold(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._unchecked[partition] = object()
        self.unchecked_added.set()

    @property
    def unchecked(self) -> Mapping[Partition, object]:
        """The partitions that are held, each with the token of its assignment."""
        return dict(self._unchecked)

    @property
    def last_completed(self) -> Mapping[Partition, UUID]:
        """The id of the message that was completed last, of each assigned partition."""
        return self._last_completed

    def admit(self, partition: Partition, token: object) -> None:
        """Begin the records of a held partition, unless it was revoked since."""
        if self._unchecked.get(partition) is token:
            del self._unchecked[partition]
            if not self._standing_by:
                self._seek([partition])

    async def rewind(self, partition: Partition, token: object, offset: int) -> bool:
        """Commit an earlier offset of a held partition, and begin there; False: it was revoked since.

        Raises:
            Unavailable, PartitionsLost: as `ConsumerClient.commit`; the partition stays held.
        """
        async with self._commits.lock:  # a revocation waits for this commit
            if self._unchecked.get(partition) is not token:
                return False
            await self._client.commit({partition: offset})
        self._keep_offset(partition, offset)
        self.admit(partition, token)
        return True

    def check_again(self) -> None:
        """Hold all partitions until they are checked: drop what is not begun, and wait for what is."""
        if not self._holds_assigned:
            return
        for partition_state in self._partition_states.values():
            partition_state.ended.set()
        self._last_completed.clear()
        self._checks_again = True

    def _keep_offset(self, partition: Partition, offset: int) -> None:
        self._standby_offsets[partition] = min(offset, self._standby_offsets.get(partition, offset))

    def first_incomplete(self, partition: Partition) -> int | None:
        """The lowest offset of a fetched, incomplete record; None: there is none."""
        partition_state = self._partition_states.get(partition)
        in_flight = None if partition_state is None else partition_state.first_incomplete
        standby = self._standby_offsets.get(partition)
        return min((offset for offset in (in_flight, standby) if offset is not None), default=None)

    async def _poll(self, stop: asyncio.Event) -> Sequence[Record]:
        timeout_seconds = self._bounds.poll_timeout_seconds
        self._budget.freed.clear()
        self._paused = self._not_fetched()
        if not self._budget.below_low_watermark or self._all_paused():
            await self._clock.wait(self._budget.freed, timeout_seconds=timeout_seconds)
            self._paused = self._not_fetched()
        records_max = 0 if self._all_paused() else self._budget.records(partitions=len(self._partition_states))
        now_seconds = self._clock.monotonic_seconds()
        if not records_max and now_seconds - self._polled_at_seconds < self._bounds.keep_alive_seconds:
            return ()
        self._polled_at_seconds = now_seconds
        try:
            records = await self._client.poll(
                timeout_seconds=timeout_seconds, records_max=records_max, paused=self._paused
            )
        except Unavailable:
            self._monitors.broker.suspect()
            await self._clock.wait(stop, timeout_seconds=timeout_seconds)
            return ()
        return records

    def _resume_paused(self) -> None:
        """During a poll: it would last until its timeout if the other partitions have no records."""
        still_paused = self._not_fetched()
        if resumed := self._paused - still_paused:
            self._paused = still_paused
            self._client.resume(resumed)

    def _not_fetched(self) -> frozenset[Partition]:
        return frozenset(filter(self._over_quota, self._partition_states)) | self._unchecked.keys()

    def _over_quota(self, partition: Partition) -> bool:
        """Whether the partition's share of the in-flight budget or its commit lag is at the limit."""
        partition_state = self._partition_states[partition]
        lags = partition_state.commit_lag >= self._bounds.commit_lag_records_max
        return lags or self._budget.over_quota(partition_state.usage, partitions=len(self._partition_states))

    def _all_paused(self) -> bool:
        return bool(self._paused) and len(self._paused) == len(self._partition_states)

    def _dispatch(self, record: Record, executor: Executor[InFlight]) -> None:
        partition = Partition(record.topic, record.partition)
        if self._holds_assigned and (partition in self._unchecked or partition not in self._assigned_partitions):
            self._keep_offset(partition, record.offset)  # fetched before it was held, or before the group's callback
            return
        # The first records may arrive before the group's callback; dropping them would lose them.
        partition_state = self._partition_states.get(partition)
        if partition_state is None:
            partition_state = self._partition_states[partition] = PartitionState(partition)
        if record.offset < partition_state.next_offset:
            # The broker's log was truncated: these records are not the ones in flight.
            released = partition_state.ended.is_set()
            partition_state.ended.set()
            partition_state = self._partition_states[partition] = PartitionState(partition)
            if released:
                partition_state.ended.set()
        partition_state.start(record.offset)
        if record.is_tombstone:
            partition_state.complete(record.offset)
            self._metrics.count(TOMBSTONES)
            return
        message = self._read(record)
        if isinstance(message, NoInterest):
            partition_state.complete(record.offset)
            self._metrics.count(NO_INTEREST, message.format, message.kind)
            return
        self._budget.acquire(record, partition_state.usage)
        counted = self._breaker.expect(RecordPosition(record.topic, record.partition, record.offset))
        in_flight = InFlight(message=message, lease=partition_state, counted=counted)
        if self._resolution is None:
            self._submit(executor, in_flight)
        else:
            self._resolution.add(in_flight, partial(self._submit, executor))

    @staticmethod
    def _submit(executor: Executor[InFlight], in_flight: InFlight) -> None:
        message = in_flight.message
        alone = message.redrive or message.corrects is not None
        executor.submit(message.ordering_key, in_flight, identity=message.id, claims=message.claims, alone=alone)

    def _complete(self, in_flight: InFlight) -> None:
        partition_state, message = in_flight.lease, in_flight.message
        partition_state.complete(message.record.offset)
        if not partition_state.ended.is_set():
            self._last_completed[partition_state.partition] = message.id
        if self._state_order is not None and (release_id := message.release_id) is not None:
            if self._partition_states.get(partition_state.partition) is partition_state:
                self._state_order.published(release_id)
            else:
                self._state_order.published_late(release_id)

    async def _assigned(self, partitions: Iterable[Partition]) -> None:
        partitions = tuple(partitions)
        for partition in partitions:
            self._assigned_partitions.add(partition)
            self._partition_states.setdefault(partition, PartitionState(partition))
        if self._holds_assigned:
            self._hold(partitions)
        self.joined = True
        self._metrics.set(PARTITIONS_ASSIGNED, len(self._assigned_partitions))
        _log.info(LogEvent.PARTITIONS_ASSIGNED, partitions=_names(self._assigned_partitions))

    async def _revoked(self, partitions: Iterable[Partition]) -> None:
        gone = tuple(partitions)
        revoked = [partition for partition in gone if partition in self._partition_states]
        self._assigned_partitions.difference_update(gone)
        for partition in gone:
            self._unchecked.pop(partition, None)
        await self._release(revoked)
        for partition in gone:
            self._standby_offsets.pop(partition, None)
            self._last_completed.pop(partition, None)
        self._metrics.set(PARTITIONS_ASSIGNED, len(self._assigned_partitions))
        _log.info(LogEvent.PARTITIONS_REVOKED, partitions=_names(revoked))

    async def _release(self, partitions: Iterable[Partition], *, also_drained: Iterable[PartitionState] = ()) -> None:
        """Start no message of these partitions, wait for those in flight, commit, and drop the partitions.
        `also_drained`: released before; what they publish is waited for, too.
        """
        released = [self._partition_states[partition] for partition in partitions]
        for partition_state in released:
            partition_state.ended.set()
        try:
            async with asyncio.timeout(self._bounds.drain_timeout_seconds):
                for partition_state in (*released, *also_drained):
                    await partition_state.drained()
        except TimeoutError:
            # These messages may complete: their versions and ids prevent a second effect. They are not committed here.
            _log.warning(LogEvent.DRAIN_TIMED_OUT, running=sum(partition_state.running for partition_state in released))
        try:
            # Even during an outage of the broker: there is no later attempt, and the commit has a timeout.
            async with self._commits.lock:
                # A stop and a revocation may release the same partition; the second has nothing to commit.
                await self._commits.commit(
                    [one for one in released if self._partition_states.get(one.partition) is one]
                )
        finally:
            for partition_state in released:
                self._drop(partition_state)
            if self._state_order is not None:
                self._state_order.release()
            self._undrained = [one for one in (*self._undrained, *released) if one.running > 0]

    def _drop(self, partition_state: PartitionState) -> None:
        if self._partition_states.get(partition_state.partition) is partition_state:
            del self._partition_states[partition_state.partition]
            self._blocked_commits.drop(partition_state.partition)

    async def _commit_all(self) -> None:
        """Commit every partition; not while a revocation commits, nor during an outage of the broker, where the commit
        would delay polls until its timeout.
        """
        if not self._commits.lock.locked() and not self._monitors.broker.in_outage:
            async with self._commits.lock:
                await self._commits.commit(self._partition_states.values())


def _names(partitions: Iterable[Partition]) -> list[str]:
    return sorted(f"{topic}/{partition}" for topic, partition in partitions)
