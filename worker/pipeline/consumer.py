"""The service that moves records from the group into lanes, and offsets back.

It polls all the time, whether there is room or not: a member that does not poll is thrown out of its group. What it
has fetched and not finished is bounded in records and bytes; offsets are committed only behind finished work.

When the breaker opens it stands by: what it had is given up, nothing is fetched any more, and it stays in the group. A
member that left would hand its partitions to others, who would go on where it stopped.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from schemas.record import Record
from worker.pipeline.breaker import Breaker, Counted, Position
from worker.pipeline.delivery import Delivery
from worker.pipeline.dependency_monitor import DependencyMonitors
from worker.pipeline.executor import Executor
from worker.pipeline.in_flight_budget import InFlightBudget
from worker.pipeline.partition_state import PartitionState
from worker.pipeline.transaction import read
from worker.ports import Clock, ConsumerClient, Partition, PartitionsLost
from worker.rules.errors import LeaseLost, Unavailable
from worker.rules.message import Claim, Message
from worker.telemetry import (
    COMMIT_BLOCKED_SECONDS,
    COMMIT_LAG_RECORDS,
    COMMITS,
    PARTITIONS_ASSIGNED,
    PARTITIONS_PAUSED,
    TOMBSTONES,
    LogEvent,
    Metrics,
)

_HELD_BACK_TOLD_AFTER_SECONDS = 30.0
"""Longer than a busy database takes for a message; a retry that takes so long is worth a line."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.consumer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The consumer's settings. Times in seconds, sizes in bytes."""

    concurrency: int
    in_flight_records_max: int
    in_flight_bytes_max: int
    event_bytes_max: int
    event_ahead_max_seconds: int
    commit_interval_seconds: float
    poll_timeout_seconds: float
    drain_timeout_seconds: float
    commit_lag_records_max: int
    """How many records may be behind one that is not done, in its partition: their offsets are remembered."""
    keep_alive_seconds: float
    """After how long, at the next turn of the loop, it polls although there is no room for what that could bring."""


class Consumer:
    """A service: `run` it until `stop` is set."""

    def __init__(
        self,
        *,
        source: ConsumerClient,
        delivery: Delivery,
        monitors: DependencyMonitors,
        breaker: Breaker,
        bounds: Bounds,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._source = source
        self._monitors = monitors
        self._breaker = breaker
        self._delivery = delivery
        self._bounds = bounds
        self._clock = clock
        self._metrics = metrics
        self._budget = InFlightBudget(
            records_max=bounds.in_flight_records_max, bytes_max=bounds.in_flight_bytes_max, metrics=metrics
        )
        self._partition_states: dict[Partition, PartitionState] = {}
        self._held_back: dict[Partition, int] = {}
        self._left: dict[Partition, int] = {}  # what an open breaker leaves: the first offset that is not completed
        self._claims: dict[Claim, asyncio.Event] = {}  # of records in flight: set when the last that claims it is done
        self._committed_at_seconds = self._polled_at_seconds = 0.0
        self._committing = asyncio.Lock()
        self._commit_failure: tuple[type, type] | None = None
        self._shut_at_seconds = float("-inf")
        self._paused: frozenset[Partition] = frozenset()
        metrics.read_at_scrape(PARTITIONS_PAUSED, lambda: len(self._paused))
        metrics.read_at_scrape(COMMIT_LAG_RECORDS, self._commit_lag_max)
        self.beat_seconds: float | None = None
        """When the loop last came round, on the monotonic clock; None before it began, and once it drains."""
        self.joined = False
        """Whether the group has assigned partitions to this member at least once; they may be none."""

    def _commit_lag_max(self) -> int:
        return max((state.commit_lag for state in self._partition_states.values()), default=0)

    async def join(self) -> None:
        """Join the group.

        Raises:
            Unavailable, ConfigurationError: as `Source.start`.
        """
        await self._source.start(on_assigned=self._assigned, on_revoked=self._revoked)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; then finish what is being worked on, commit it and leave the group."""
        try:
            async with asyncio.TaskGroup() as group:
                executor = Executor(group, concurrency=self._bounds.concurrency)
                while not stop.is_set():
                    await self.run_once(executor, stop)
                self.beat_seconds = None
                await self._give_up(self._partition_states.keys())
                executor.cancel()
        finally:
            await self._source.stop()

    async def run_once(self, executor: Executor, stop: asyncio.Event) -> None:
        """Poll once, hand out what came, commit if it is time."""
        self.beat_seconds = self._clock.monotonic_seconds()
        if self._breaker.tripped is not None:
            await self._stand_by(stop)
            return
        for record in await self._poll(stop):
            self._dispatch(record, executor)
        now_seconds = self._clock.monotonic_seconds()
        if now_seconds - self._committed_at_seconds >= self._bounds.commit_interval_seconds:
            self._committed_at_seconds = now_seconds
            await self._commit_all()
            self._look_for_what_holds_back()

    async def _stand_by(self, stop: asyncio.Event) -> None:
        """Begin nothing more, commit and forget what is finished, and show the group a sign of life.

        Partitions that come later are not fetched either; nor is what a poll before this one may still bring begun: it
        was not committed, so it comes again. What is not finished, and may not be while a broker is away, is not waited
        for here. A partition whose commit failed is kept, and committed at the next turn.
        """
        self._paused = frozenset()
        self._metrics.set(COMMIT_BLOCKED_SECONDS, 0.0)
        for partition_state in self._partition_states.values():
            partition_state.ended.set()
        await self._commit_all()
        for partition_state in tuple(self._partition_states.values()):
            if not partition_state.running and partition_state.to_commit() is None:
                if partition_state.first_incomplete is not None:
                    self._leave(partition_state.partition, partition_state.first_incomplete)
                self._forget(partition_state)
        if not await self._clock.wait(stop, timeout_seconds=self._bounds.poll_timeout_seconds):
            with contextlib.suppress(Unavailable):
                for record in await self._source.poll(timeout_seconds=self._bounds.poll_timeout_seconds, records_max=0):
                    self._leave(Partition(record.topic, record.partition), record.offset)

    def _leave(self, partition: Partition, offset: int) -> None:
        self._left[partition] = min(offset, self._left.get(partition, offset))

    def first_incomplete(self, partition: Partition) -> int | None:
        """The lowest offset whose record was fetched and is not completed; None if there is none."""
        partition_state = self._partition_states.get(partition)
        under_way = None if partition_state is None else partition_state.first_incomplete
        left = self._left.get(partition)
        return min((offset for offset in (under_way, left) if offset is not None), default=None)

    async def _poll(self, stop: asyncio.Event) -> Sequence[Record]:
        timeout_seconds = self._bounds.poll_timeout_seconds
        self._budget.event.clear()
        self._paused = frozenset(filter(self._over_quota, self._partition_states))
        if not self._budget.below_low_watermark or self._all_paused():
            await self._clock.wait(self._budget.event, timeout_seconds=timeout_seconds)
            self._paused = frozenset(filter(self._over_quota, self._partition_states))
        records_max = 0 if self._all_paused() else self._budget.records(partitions=len(self._partition_states))
        now_seconds = self._clock.monotonic_seconds()
        if not records_max and now_seconds - self._polled_at_seconds < self._bounds.keep_alive_seconds:
            return ()
        self._polled_at_seconds = now_seconds
        try:
            records = await self._source.poll(
                timeout_seconds=timeout_seconds, records_max=records_max, paused=self._paused
            )
        except Unavailable:
            self._monitors.broker.suspect()
            await self._clock.wait(stop, timeout_seconds=timeout_seconds)
            return ()
        return records

    def _over_quota(self, partition: Partition) -> bool:
        """Whether so much of it is not done, or behind one that is not, that no more may be fetched of it."""
        partition_state = self._partition_states[partition]
        lags = partition_state.commit_lag >= self._bounds.commit_lag_records_max
        return lags or self._budget.over_quota(partition_state.usage, partitions=len(self._partition_states))

    def _all_paused(self) -> bool:
        return bool(self._paused) and len(self._paused) == len(self._partition_states)

    def _look_for_what_holds_back(self) -> None:
        now_seconds = self._clock.monotonic_seconds()
        if self._monitors.blocked:
            self._shut_at_seconds = now_seconds
        # What an outage holds back was told with the outage, and needs a while after it.
        explained = now_seconds - self._shut_at_seconds < _HELD_BACK_TOLD_AFTER_SECONDS
        held_seconds = {a.partition: a.blocked_seconds(now_seconds) for a in self._partition_states.values()}
        self._metrics.set(COMMIT_BLOCKED_SECONDS, max(held_seconds.values(), default=0.0))
        for partition, partition_state in self._partition_states.items():
            offset = partition_state.first_incomplete
            told = self._held_back.get(partition)
            if told is not None and told != offset:
                del self._held_back[partition]
                _log.info(LogEvent.COMMIT_UNBLOCKED, **partition._asdict(), offset=told)
            late = held_seconds[partition] >= _HELD_BACK_TOLD_AFTER_SECONDS
            if offset is not None and told != offset and late and not explained:
                self._held_back[partition] = offset
                _log.warning(
                    LogEvent.COMMIT_BLOCKED,
                    **partition._asdict(),
                    offset=offset,
                    records_behind=partition_state.commit_lag - 1,
                    held_seconds=round(held_seconds[partition], 1),
                )

    def _dispatch(self, record: Record, executor: Executor) -> None:
        partition = Partition(record.topic, record.partition)
        # The first record may come before the group's callback does; dropping it would lose it.
        partition_state = self._partition_states.get(partition)
        if partition_state is None:
            partition_state = self._partition_states[partition] = PartitionState(partition)
        if record.offset < partition_state.next_offset:
            # The broker went back: what it says now is another log than the one that was under way.
            given_up = partition_state.ended.is_set()
            partition_state.ended.set()
            partition_state = self._partition_states[partition] = PartitionState(partition)
            if given_up:
                partition_state.ended.set()
        partition_state.start(record.offset)
        if record.is_tombstone:
            partition_state.done(record.offset)
            self._metrics.count(TOMBSTONES)
            return
        self._budget.take(record, partition_state.usage)
        message = read(
            record,
            event_bytes_max=self._bounds.event_bytes_max,
            event_ahead_max_seconds=self._bounds.event_ahead_max_seconds,
        )
        counted = self._breaker.expect(Position(record.topic, record.partition, record.offset))
        # Records of different releases may claim one identity or one release number: they are decided in the order of
        # their offsets. A record waits only for records that were dispatched before it, so no two wait for each other.
        done = asyncio.Event()
        earlier = [event for claim in message.claims if (event := self._claims.get(claim)) is not None]
        self._claims.update(dict.fromkeys(message.claims, done))
        executor.submit(
            message.ordering_key, lambda: self._deliver(message, partition_state, executor, counted, earlier, done)
        )

    async def _deliver(
        self,
        message: Message,
        partition_state: PartitionState,
        executor: Executor,
        counted: Counted,
        earlier: Sequence[asyncio.Event],
        done: asyncio.Event,
    ) -> None:
        try:
            for one in earlier:
                await one.wait()
            await self._delivery.deliver(message, partition_state, executor.slot, counted)
        except LeaseLost:
            _log.debug(
                LogEvent.MESSAGE_LEASE_LOST,
                topic=message.record.topic,
                partition=message.record.partition,
                offset=message.record.offset,
            )
        else:
            partition_state.done(message.record.offset)
        finally:
            done.set()
            for claim in message.claims:
                if self._claims.get(claim) is done:
                    del self._claims[claim]
            self._budget.give_back(message.record, partition_state.usage)

    async def _assigned(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._partition_states.setdefault(partition, PartitionState(partition))
        self.joined = True
        self._metrics.set(PARTITIONS_ASSIGNED, len(self._partition_states))
        _log.info(LogEvent.PARTITIONS_ASSIGNED, partitions=_names(self._partition_states))

    async def _revoked(self, partitions: Iterable[Partition]) -> None:
        gone = tuple(partitions)
        revoked = [partition for partition in gone if partition in self._partition_states]
        await self._give_up(revoked)
        for partition in gone:
            self._left.pop(partition, None)
        self._metrics.set(PARTITIONS_ASSIGNED, len(self._partition_states))
        _log.info(LogEvent.PARTITIONS_REVOKED, partitions=_names(revoked))

    async def _give_up(self, partitions: Iterable[Partition]) -> None:
        """Begin nothing more of these partitions, wait for what is being worked on, commit it, forget them."""
        given_up = [self._partition_states[partition] for partition in partitions]
        for partition_state in given_up:
            partition_state.ended.set()
        try:
            async with asyncio.timeout(self._bounds.drain_timeout_seconds):
                for partition_state in given_up:
                    await partition_state.drained()
        except TimeoutError:
            # What still runs may finish: its guards and ids make that harmless. It is never committed from here.
            _log.warning(LogEvent.DRAIN_TIMED_OUT, running=sum(partition_state.running for partition_state in given_up))
        try:
            async with (
                self._committing
            ):  # even if the broker seems to be away: it is the last chance, and has a timeout
                # A stop and a revocation may give up the same partition; the second has nothing to commit of it.
                await self._commit([one for one in given_up if self._partition_states.get(one.partition) is one])
        finally:
            for partition_state in given_up:
                self._forget(partition_state)

    def _forget(self, partition_state: PartitionState) -> None:
        if self._partition_states.get(partition_state.partition) is partition_state:
            del self._partition_states[partition_state.partition]
            self._held_back.pop(partition_state.partition, None)

    async def _commit_all(self) -> None:
        """Commit every partition, but while a revocation commits, or the broker is known to be away: nothing would be
        polled until that commit has timed out.
        """
        if not self._committing.locked() and not self._monitors.broker.in_outage:
            async with self._committing:
                await self._commit(self._partition_states.values())

    async def _commit(self, partition_states: Iterable[PartitionState]) -> None:
        """Commit what is finished. Callers hold `_committing`: one commit at a time, so that no older one is under way
        when a partition has been given up.
        """
        ready = [
            (partition_state, offset)
            for partition_state in partition_states
            if (offset := partition_state.to_commit()) is not None
        ]
        if not ready:
            return
        try:
            await self._source.commit({partition_state.partition: offset for partition_state, offset in ready})
        except (Unavailable, PartitionsLost) as error:
            # Lost partitions come back with a new assignment, or go to a member that finds duplicates: no harm done.
            self._metrics.count(COMMITS, type(error).__name__)
            failure = type(error), type(error.__cause__)
            if failure != self._commit_failure:
                _log.warning(LogEvent.COMMIT_FAILED, cause=str(error), partitions=len(ready))
            self._commit_failure = failure
            if isinstance(error, Unavailable):
                self._monitors.broker.suspect()
            return
        self._commit_failure = None
        self._metrics.count(COMMITS, "done")
        for partition_state, offset in ready:
            partition_state.committed(offset)


def _names(partitions: Iterable[Partition]) -> list[str]:
    return sorted(f"{topic}/{partition}" for topic, partition in partitions)
