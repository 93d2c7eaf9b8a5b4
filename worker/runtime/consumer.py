"""The service that moves records from the group into lanes, and offsets back.

It polls all the time, whether there is room or not: a member that does not poll is thrown out of its group. What it
has fetched and not finished is bounded in records and bytes; offsets are committed only behind finished work.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from schemas.record import Record
from worker.domain.errors import Abandoned, Unavailable
from worker.domain.message import Message
from worker.handling.process import read
from worker.ports import Clock, Partition, PartitionsLost, Source
from worker.runtime.assignment import Assignment
from worker.runtime.delivery import Delivery
from worker.runtime.lanes import Lanes
from worker.runtime.room import Room
from worker.telemetry import COMMITS, PARTITIONS_ASSIGNED, LogEvent, Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.consumer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The consumer's settings. Times in seconds, sizes in bytes."""

    concurrency: int
    in_flight_records_max: int
    in_flight_bytes_max: int
    event_bytes_max: int
    commit_interval_seconds: float
    poll_timeout_seconds: float
    drain_timeout_seconds: float
    trail_records_max: int
    """How many records may be behind one that is not done, in its partition: their offsets are remembered."""
    keep_alive_seconds: float
    """How long, at the most, between two polls when there is no room for what they could bring."""


class Consumer:
    """A service: `run` it until `stop` is set."""

    def __init__(self, *, source: Source, delivery: Delivery, bounds: Bounds, clock: Clock, metrics: Metrics) -> None:
        self._source = source
        self._delivery = delivery
        self._bounds = bounds
        self._clock = clock
        self._metrics = metrics
        self._room = Room(
            records_max=bounds.in_flight_records_max, bytes_max=bounds.in_flight_bytes_max, metrics=metrics
        )
        self._assignments: dict[Partition, Assignment] = {}
        self._identities: dict[UUID, asyncio.Event] = {}  # of what is in flight: set when the last of it is done
        self._committed_at_seconds = self._polled_at_seconds = 0.0
        self._awaiting = False
        self.beat_seconds: float | None = None
        """When the loop last came round, on the monotonic clock; None before it began."""
        self.joined = False
        """Whether the group has told this member which partitions it has; they may be none."""

    async def join(self) -> None:
        """Join the group.

        Raises:
            Unavailable, Misconfigured: as `Source.start`.
        """
        await self._source.start(on_assigned=self._assigned, on_revoked=self._revoked)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; then finish what is being worked on, commit it and leave the group."""
        try:
            async with asyncio.TaskGroup() as group:
                lanes = Lanes(group, concurrency=self._bounds.concurrency)
                while not stop.is_set():
                    await self.run_once(lanes, stop)
                await self._give_up(self._assignments.keys())
                lanes.cancel()
        finally:
            await self._source.stop()

    async def run_once(self, lanes: Lanes, stop: asyncio.Event) -> None:
        """Poll once, hand out what came, commit if it is time."""
        self.beat_seconds = self._clock.monotonic_seconds()
        for record in await self._poll(stop):
            self._dispatch(record, lanes)
        if self._clock.monotonic_seconds() - self._committed_at_seconds >= self._bounds.commit_interval_seconds:
            await self._commit(self._assignments.values())

    async def _poll(self, stop: asyncio.Event) -> Sequence[Record]:
        timeout_seconds = self._bounds.poll_timeout_seconds
        if not self._room.records:
            await self._clock.wait(self._room.event, timeout_seconds=timeout_seconds)
        elif self._trails():
            await self._clock.wait(stop, timeout_seconds=timeout_seconds)
        records_max = 0 if self._trails() else self._room.records
        now_seconds = self._clock.monotonic_seconds()
        if not records_max and now_seconds - self._polled_at_seconds < self._bounds.keep_alive_seconds:
            return ()
        self._polled_at_seconds = now_seconds
        try:
            records = await self._source.poll(timeout_seconds=timeout_seconds, records_max=records_max)
        except Unavailable as error:
            if not self._awaiting:
                _log.warning(LogEvent.DEPENDENCY_AWAITED, dependency="broker", cause=str(error))
            self._awaiting = True
            await self._clock.wait(stop, timeout_seconds=timeout_seconds)
            return ()
        self._awaiting = False
        return records

    def _trails(self) -> bool:
        """Whether one record holds back so many that no more may be fetched: back-pressure, not memory."""
        trail_records_max = self._bounds.trail_records_max
        return any(assignment.trail >= trail_records_max for assignment in self._assignments.values())

    def _dispatch(self, record: Record, lanes: Lanes) -> None:
        partition = Partition(record.topic, record.partition)
        # The first record may come before the group's callback does; dropping it would lose it.
        assignment = self._assignments.setdefault(partition, Assignment(partition))
        if record.offset < assignment.next_offset:
            # The broker went back: what it says now is another log than the one that was under way.
            assignment.ended.set()
            assignment = self._assignments[partition] = Assignment(partition)
        assignment.start(record.offset)
        self._room.take(record)
        message = read(record, event_bytes_max=self._bounds.event_bytes_max)
        # Two records with one identity may name different releases; the first of them must be judged first all the
        # same. A record waits only for one that was dispatched before it, so no two can wait for each other.
        earlier, done = self._identities.get(message.id), asyncio.Event()
        self._identities[message.id] = done
        lanes.submit(message.lane, lambda: self._deliver(message, assignment, lanes, earlier, done))

    async def _deliver(
        self,
        message: Message,
        assignment: Assignment,
        lanes: Lanes,
        earlier: asyncio.Event | None,
        done: asyncio.Event,
    ) -> None:
        try:
            if earlier is not None:
                await earlier.wait()
            await self._delivery.deliver(message, assignment, lanes.place)
        except Abandoned:
            _log.debug(
                LogEvent.MESSAGE_ABANDONED,
                topic=message.record.topic,
                partition=message.record.partition,
                offset=message.record.offset,
            )
        else:
            assignment.done(message.record.offset)
        finally:
            done.set()
            if self._identities.get(message.id) is done:
                del self._identities[message.id]
            self._room.give_back(message.record)

    async def _assigned(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._assignments.setdefault(partition, Assignment(partition))
        self.joined = True
        self._metrics.set(PARTITIONS_ASSIGNED, len(self._assignments))
        _log.info(LogEvent.PARTITIONS_ASSIGNED, partitions=_names(self._assignments))

    async def _revoked(self, partitions: Iterable[Partition]) -> None:
        revoked = [partition for partition in partitions if partition in self._assignments]
        self.joined = False
        await self._give_up(revoked)
        self._metrics.set(PARTITIONS_ASSIGNED, len(self._assignments))
        _log.info(LogEvent.PARTITIONS_REVOKED, partitions=_names(revoked))

    async def _give_up(self, partitions: Iterable[Partition]) -> None:
        """Begin nothing more of these partitions, wait for what is being worked on, commit it, forget them."""
        given_up = [self._assignments[partition] for partition in partitions]
        for assignment in given_up:
            assignment.ended.set()
        try:
            async with asyncio.timeout(self._bounds.drain_timeout_seconds):
                for assignment in given_up:
                    await assignment.drained()
        except TimeoutError:
            # What still runs may finish: its guards and ids make that harmless. It is never committed from here.
            _log.warning(LogEvent.DRAIN_TIMED_OUT, running=sum(assignment.running for assignment in given_up))
        try:
            await self._commit(given_up)
        finally:
            for assignment in given_up:
                self._assignments.pop(assignment.partition, None)

    async def _commit(self, assignments: Iterable[Assignment]) -> None:
        self._committed_at_seconds = self._clock.monotonic_seconds()
        ready = [(assignment, offset) for assignment in assignments if (offset := assignment.to_commit()) is not None]
        if not ready:
            return
        try:
            await self._source.commit({assignment.partition: offset for assignment, offset in ready})
        except (Unavailable, PartitionsLost) as error:
            # Lost partitions come back with a new assignment, or go to a member that finds duplicates: no harm done.
            self._metrics.count(COMMITS, type(error).__name__)
            _log.warning(LogEvent.OFFSETS_COMMIT_FAILED, cause=str(error), partitions=len(ready))
            return
        self._metrics.count(COMMITS, "done")
        for assignment, offset in ready:
            assignment.committed(offset)


def _names(partitions: Iterable[Partition]) -> list[str]:
    return sorted(f"{topic}/{partition}" for topic, partition in partitions)
