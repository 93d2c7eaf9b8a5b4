"""The execution of a replay: the records of a plan through the worker's own handling, once more.

Known events change nothing. They are found in bulk, and only publish again, where the plan publishes. Others take the
same way as in a worker: the same delivery, in the same order per release and claim. Nothing is committed to Kafka.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from uuid import UUID

from schemas.record import Headers, Record
from worker.pipeline.delivery import Delivery
from worker.pipeline.dependency_monitor import DependencyMonitors
from worker.pipeline.executor import Executor
from worker.pipeline.linked_event import LinkedEvent
from worker.pipeline.offsets import OffsetTracker
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.publish import Decided, PublishStep
from worker.pipeline.resolution import resolved
from worker.ports import Clock, OutgoingRecord, Partition, Publisher
from worker.replay.plan import DUPLICATE, ReplayPlan, code_of
from worker.replay.reading import Records, Tables, chunks, logged_activities, rejected_before
from worker.rules.errors import ConfigurationError, LeaseLost, Unavailable
from worker.rules.message import Message, RecordPosition
from worker.rules.state import Duplicate, Outcome
from worker.service.no_tracing import NoSpan

_IN_FLIGHT_MAX = 1_000
"""Records that are read and not completed, beside one chunk."""

_CHECK_SECONDS = 0.25
_PAUSE_SECONDS = 1.0
_READING = "reading"
"""The name of an outage that only this module sees: of topics and rows that are read."""

_Item = tuple[Message, Duplicate | None, AbstractAsyncContextManager[None]]
"""A message, its outcome where that is known, and the slots of the executor."""
_Executor = Executor[_Item]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An event whose outcome is not the one that the plan predicted."""

    position: RecordPosition
    predicted: str
    outcome: str

    def line(self) -> str:
        return f"{self.position}: predicted {self.predicted}; the outcome was {self.outcome}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`outcomes`: completed events by their code. `differences`: the first of `differences_total`. `remaining`: what
    was not replayed, by partition; empty at the end. `stopped`: why it ended early; None: it did not.
    """

    outcomes: Mapping[str, int]
    published: Mapping[str, int]
    differences: tuple[Difference, ...]
    differences_total: int
    remaining: Mapping[Partition, range]
    stopped: str | None
    interrupted: bool


class NoRecords(OutgoingRecords):
    """Of a replay that publishes nothing."""

    def of(
        self, outcome: Outcome, message: Message, *, attempts: int, trace_headers: Headers = ()
    ) -> tuple[OutgoingRecord, ...]:
        del outcome, message, attempts, trace_headers
        return ()


class CountingPublisher:
    """Counts the acknowledged records by topic. `publisher`: None publishes nothing."""

    def __init__(self, publisher: Publisher | None) -> None:
        self._publisher = publisher
        self.counts: Counter[str] = Counter()

    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        if self._publisher is not None:
            await self._publisher.publish(outgoing)
            self.counts.update(record.topic for record in outgoing)

    async def ping(self) -> None:
        if self._publisher is not None:
            await self._publisher.ping()


class _Lease:
    """`worker.pipeline.retry.Lease` of the whole replay."""

    def __init__(self) -> None:
        self.ended = LinkedEvent()

    def enter(self) -> None:
        pass

    def leave(self) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """The worker's handling of one message. `publish_step` is for known events, which need no transaction.
    `run_batches`: answers the calls of the delivery's store, until cancelled.
    """

    read: Callable[[Record], Message | None]
    delivery: Delivery
    publish_step: PublishStep
    publisher: CountingPublisher
    monitors: DependencyMonitors
    concurrency: int
    run_batches: Callable[[], Coroutine[None, None, None]]


class Replay:
    """One execution. `predicted`: None compares nothing. `rate`: the most events a second. `outage_seconds_max`: how
    long the database or the broker is waited for. `progress`: called with the offsets that have been read, and all.
    """

    def __init__(
        self,
        plan: ReplayPlan,
        records: Records,
        tables: Tables,
        handling: Handling,
        *,
        compare: bool = True,
        rate: float | None = None,
        outage_seconds_max: float,
        differences_max: int = 100,
        clock: Clock,
        progress: Callable[[int, int], None] = lambda _offsets, _all: None,
    ) -> None:
        self._plan = plan
        self._records = records
        self._tables = tables
        self._handling = handling
        self._compare = compare
        self._rate = rate
        self._outage_seconds_max = outage_seconds_max
        self._differences_max = differences_max
        self._clock = clock
        self._progress = progress
        self._lease = _Lease()
        self._trackers = {partition: OffsetTracker() for partition in plan.ranges}
        self._read_up_to = {partition: offsets.start for partition, offsets in plan.ranges.items()}
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT_MAX)
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._outcomes: Counter[str] = Counter()
        self._differences: list[Difference] = []
        self._differences_total = 0
        self._dispatched = 0
        self._began_seconds = 0.0
        self._unavailable_since_seconds: dict[str, float] = {}
        self._stopped: str | None = None
        self._interrupted = False
        self._completed = False

    async def run(self, stop: asyncio.Event) -> Report:
        """Replay until the end, `stop`, or an outage that is too long. Messages in flight are finished."""
        self._began_seconds = self._clock.monotonic_seconds()
        async with asyncio.TaskGroup() as group:
            executor: _Executor = Executor(group, self._handle_each, concurrency=self._handling.concurrency)
            probing = group.create_task(self._handling.monitors.run(), name="probe dependencies")
            batching = group.create_task(self._handling.run_batches(), name="batches of the store")
            ending = group.create_task(self._end_early(stop), name="end the replay early")
            try:
                try:
                    await self._replay(executor)
                    self._completed = True
                except LeaseLost:
                    pass
                except ConfigurationError as error:  # a privilege was taken away, for example
                    self._end(str(error))
                await self._idle.wait()
            finally:
                probing.cancel()
                batching.cancel()
                ending.cancel()
        return Report(
            outcomes=dict(self._outcomes),
            published=dict(self._handling.publisher.counts),
            differences=tuple(self._differences),
            differences_total=self._differences_total,
            remaining=self._remaining(),
            stopped=self._stopped,
            interrupted=self._interrupted,
        )

    async def _end_early(self, stop: asyncio.Event) -> None:
        """End the lease after `stop`, or once a dependency has been unavailable for too long."""
        while not self._lease.ended.is_set():
            if await self._clock.wait(stop, timeout_seconds=_CHECK_SECONDS):
                self._interrupted = True
                self._lease.ended.set()
                return
            for monitor in (self._handling.monitors.database, self._handling.monitors.broker):
                if monitor.available:
                    self._unavailable_since_seconds.pop(monitor.name, None)
                else:
                    problem = await monitor.problem() or "no answer"
                    self._count_outage(monitor.name, f"the {monitor.name} is unavailable: {problem}")

    def _count_outage(self, name: str, problem: str) -> None:
        now_seconds = self._clock.monotonic_seconds()
        since_seconds = self._unavailable_since_seconds.setdefault(name, now_seconds)
        if now_seconds - since_seconds >= self._outage_seconds_max:
            self._end(f"{problem}; stopped after {self._outage_seconds_max:.0f} s")

    def _end(self, problem: str) -> None:
        self._stopped = self._stopped or problem
        self._lease.ended.set()

    async def _replay(self, executor: _Executor) -> None:
        """Raises LeaseLost if it has to end early."""
        while True:
            left = {
                partition: range(first, self._plan.ranges[partition].stop)
                for partition, first in self._read_up_to.items()
                if first < self._plan.ranges[partition].stop
            }
            try:
                async for chunk in chunks(self._records.records_by_time(left)):
                    self._require_lease()
                    await self._dispatch_chunk(chunk, executor)
                    self._unavailable_since_seconds.pop(_READING, None)
            except Unavailable as error:
                await self._pause(error)
            else:
                return

    async def _dispatch_chunk(self, chunk: Sequence[Record], executor: _Executor) -> None:
        messages: dict[RecordPosition, Message] = {}
        for record in chunk:
            message = self._handling.read(record)
            if message is not None and self._plan.filters.match(message):
                messages[RecordPosition.of(record)] = message
        known = await self._known(messages)
        for record in chunk:
            self._require_lease()
            partition = Partition(record.topic, record.partition)
            tracker = self._trackers[partition]
            message_ = messages.get(RecordPosition.of(record))
            if message_ is not None:
                await self._keep_rate()
            tracker.start(record.offset)
            self._read_up_to[partition] = record.offset + 1
            if message_ is None:
                tracker.complete(record.offset)
                continue
            duplicate = known.get(RecordPosition.of(record))
            if duplicate is not None and not self._plan.publishing.enabled:
                self._complete(message_, DUPLICATE)
                continue
            if message_.reference is not None:
                if duplicate is None:
                    message_ = await self._resolved(message_, executor)
                elif duplicate.activities:
                    message_ = message_.resolved(duplicate.activities[0].release_id)
            await self._submit(message_, duplicate, executor)
        read = sum(first - self._plan.ranges[at].start for at, first in self._read_up_to.items())
        self._progress(read, self._plan.offsets)

    async def _resolved(self, message: Message, executor: _Executor) -> Message:
        """With its release. An earlier event with its commit or image may create it."""
        if executor.is_running(message.artifact_claims):
            await self._idle.wait()
        while True:
            try:
                [found] = await resolved([message], self._tables)
            except Unavailable as error:
                await self._pause(error)
            else:
                return found

    async def _known(self, messages: Mapping[RecordPosition, Message]) -> Mapping[RecordPosition, Duplicate]:
        """The outcomes of the records whose events are known; retried during an outage. Of one event, a record can be
        a duplicate and another one a redrive.
        """
        while True:
            try:
                return await self._look_up(messages)
            except Unavailable as error:
                await self._pause(error)

    async def _look_up(self, messages: Mapping[RecordPosition, Message]) -> Mapping[RecordPosition, Duplicate]:
        logged: Mapping[UUID, Duplicate]
        if self._plan.publishing.enabled:
            activities = await logged_activities(self._tables, list(messages.values()))
            logged = {event: Duplicate(activities=of_event) for event, of_event in activities.items()}
        else:
            logged = dict.fromkeys(await self._tables.logged([one.id for one in messages.values()]), Duplicate())
        rejections = await self._tables.rejections_of([one.id for one in messages.values() if one.id not in logged])
        return {
            position: duplicate
            for position, message in messages.items()
            if (duplicate := logged.get(message.id) or rejected_before(message, rejections)) is not None
        }

    async def _submit(self, message: Message, duplicate: Duplicate | None, executor: _Executor) -> None:
        await self._in_flight.acquire()
        self._running += 1
        self._idle.clear()
        executor.submit(message.ordering_key, (message, duplicate, executor.slot), claims=message.claims)

    async def _handle_each(self, items: Sequence[_Item]) -> None:
        for message, duplicate, slot in items:
            await self._handle(message, duplicate, slot)

    async def _handle(
        self, message: Message, duplicate: Duplicate | None, slot: AbstractAsyncContextManager[None]
    ) -> None:
        try:
            self._require_lease()
            if duplicate is not None:
                decided = Decided(message=message, outcome=duplicate, span=NoSpan())
                await self._handling.publish_step.publish(decided, self._lease, attempts=1)
                self._complete(message, DUPLICATE)
            else:
                outcome = await self._handling.delivery.deliver(message, self._lease, slot)
                self._complete(message, code_of(outcome))
        except LeaseLost:
            pass  # the record stays incomplete: the report names it among what remains
        finally:
            self._in_flight.release()
            self._running -= 1
            if not self._running:
                self._idle.set()

    def _complete(self, message: Message, code: str) -> None:
        record = message.record
        position = RecordPosition.of(record)
        self._trackers[Partition(record.topic, record.partition)].complete(record.offset)
        self._outcomes[code] += 1
        predicted = self._plan.predicted.get(position, DUPLICATE)
        if self._compare and predicted != code:
            self._differences_total += 1
            if len(self._differences) < self._differences_max:
                self._differences.append(Difference(position=position, predicted=predicted, outcome=code))

    async def _keep_rate(self) -> None:
        """Wait until the next event is due."""
        self._dispatched += 1
        if self._rate is None:
            if self._dispatched % 100 == 0:
                await asyncio.sleep(0)  # for signals
            return
        due_seconds = self._began_seconds + (self._dispatched - 1) / self._rate
        if (delay_seconds := due_seconds - self._clock.monotonic_seconds()) > 0:
            await self._clock.wait(self._lease.ended, timeout_seconds=delay_seconds)
        self._require_lease()

    async def _pause(self, error: Unavailable) -> None:
        """Wait before the next attempt of a read. Raises LeaseLost after too many."""
        self._count_outage(_READING, str(error))
        await self._clock.wait(self._lease.ended, timeout_seconds=_PAUSE_SECONDS)
        self._require_lease()

    def _require_lease(self) -> None:
        if self._lease.ended.is_set():
            raise LeaseLost

    def _remaining(self) -> Mapping[Partition, range]:
        remaining = {}
        for partition, offsets in self._plan.ranges.items():
            first = self._trackers[partition].first_incomplete
            if first is None:
                first = offsets.stop if self._completed else self._read_up_to[partition]
            if first < offsets.stop:
                remaining[partition] = range(first, offsets.stop)
        return remaining
