"""Scripted edges: they fail as a broker or a database may fail, which a real one does not do on demand."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from uuid import UUID, uuid5

from schemas.envelope import write_binary
from schemas.record import Record
from schemas.times import parse_time
from worker.pipeline.backoff import Backoff
from worker.pipeline.breaker import Breaker
from worker.pipeline.delivery import Delivery
from worker.pipeline.dependency_monitor import DependencyMonitor, DependencyMonitors
from worker.pipeline.outgoing import OutgoingRecords, Topics
from worker.pipeline.retry import RetryPolicy
from worker.pipeline.state_order import StateOrder
from worker.ports import OutgoingRecord, Partition, Store, Transaction
from worker.rules.query import Query
from worker.rules.state import Changes, State
from worker.service.no_tracing import NoTracing
from worker.telemetry import Metrics

TOPICS = Topics(deployment_status="deployments", release_status="releases", dead_letters="dead-letters")
NAMESPACE = UUID("00000000-0000-5000-8000-000000000000")


class SimulatedClock:
    """Time passes only by waiting, and waiting takes no real time."""

    def __init__(self) -> None:
        self.now_seconds = 1000.0
        self.waits_seconds: list[float] = []

    def monotonic_seconds(self) -> float:
        return self.now_seconds

    def unix_seconds(self) -> float:
        return self.now_seconds

    def chance(self) -> float:
        return 0.5

    async def wait(self, event: asyncio.Event, *, timeout_seconds: float) -> bool:
        await asyncio.sleep(0)
        if not event.is_set():
            self.waits_seconds.append(timeout_seconds)
            self.now_seconds += timeout_seconds
            await asyncio.sleep(0)
        return event.is_set()


def _offset(changes: Changes) -> int:
    if changes.rejection is not None:
        return changes.rejection.offset
    offset = json.loads(changes.activities[0].activity_data)["record"]["offset"]
    assert isinstance(offset, int)
    return offset


class ScriptedStore:
    """A store without releases. `faults`: raised by the next transactions, one each; None lets one pass. `down`: the
    error of every call, the probe included.
    """

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = deque(faults)
        self.down: Exception | None = None
        self.pings = 0
        self.state = State()
        self.begun = 0
        self.written: list[Changes] = []

    @property
    def offsets(self) -> list[int]:
        """Those of the records that were written, in order."""
        return [_offset(changes) for changes in self.written]

    async def load(self, queries: Sequence[Query]) -> Sequence[State]:
        return [await self.load_one(query) for query in queries]

    async def load_one(self, query: Query) -> State:
        del query
        self.begun += 1
        fault = self.down or (self.faults.popleft() if self.faults else None)
        if fault is not None:
            raise fault
        return self.state

    async def write(self, transactions: Sequence[Transaction], *, patient: bool = True) -> Sequence[Exception | None]:
        self.written += [transaction.changes for transaction in transactions]
        return [None] * len(transactions)

    async def ping(self) -> None:
        self.pings += 1
        await asyncio.sleep(0)
        if self.down is not None:
            raise self.down


class ScriptedPublisher:
    """Acknowledges everything, once `acknowledging` is set and `faults` are used up."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = deque(faults)
        self.acknowledging = asyncio.Event()
        self.acknowledging.set()
        self.down: Exception | None = None
        self.pings = 0
        self.published: list[OutgoingRecord] = []

    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        await self.acknowledging.wait()
        if self.faults:
            raise self.faults.popleft()
        self.published += outgoing

    async def ping(self) -> None:
        self.pings += 1
        await asyncio.sleep(0)
        if self.down is not None:
            raise self.down


class ScriptedSource:
    """Returns `records`, and stores the committed offsets."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records = deque(records)
        self.commit_faults: deque[Exception] = deque()
        self.poll_faults: deque[Exception] = deque()
        self.polls: list[int] = []
        self.paused: list[frozenset[Partition]] = []
        self.commits: list[dict[Partition, int]] = []
        self.sought: list[dict[Partition, int]] = []
        self._log: list[Record] = []  # all that was handed out
        self.stopped = self.dropped = False
        self.on_assigned: Callable[[Iterable[Partition]], Awaitable[None]] | None = None
        self.on_revoked: Callable[[Iterable[Partition]], Awaitable[None]] | None = None

    async def start(
        self,
        *,
        on_assigned: Callable[[Iterable[Partition]], Awaitable[None]],
        on_revoked: Callable[[Iterable[Partition]], Awaitable[None]],
    ) -> None:
        self.on_assigned, self.on_revoked = on_assigned, on_revoked

    async def poll(
        self, *, timeout_seconds: float, records_max: int, paused: AbstractSet[Partition] = frozenset()
    ) -> Sequence[Record]:
        await asyncio.sleep(0)
        self.polls.append(records_max)
        self.paused.append(frozenset(paused))
        if self.poll_faults:
            raise self.poll_faults.popleft()
        may = [record for record in self.records if Partition(record.topic, record.partition) not in paused]
        handed_out = may[:records_max]
        for record in handed_out:
            self.records.remove(record)
        self._log += handed_out
        return handed_out

    def resume(self, partitions: Iterable[Partition]) -> None:
        """The next poll has them."""

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """What was handed out from these offsets on comes again, before all others."""
        self.sought.append(dict(offsets))
        again = [
            record
            for record in self._log
            if record.offset >= offsets.get(Partition(record.topic, record.partition), record.offset + 1)
        ]
        self._log = [record for record in self._log if record not in again]
        self.records.extendleft(reversed(again))

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        await asyncio.sleep(0)
        if self.commit_faults:
            raise self.commit_faults.popleft()
        self.commits.append(dict(offsets))

    async def stop(self) -> None:
        self.stopped = True

    @property
    def committed(self) -> dict[Partition, int]:
        return {partition: offset for commit in self.commits for partition, offset in commit.items()}


def the_monitors(
    store: Store, publisher: ScriptedPublisher, clock: SimulatedClock, metrics: Metrics
) -> DependencyMonitors:
    backoff = Backoff(initial_seconds=0.25, max_seconds=1.0)

    def monitor(name: str, ask: Callable[[], Awaitable[None]]) -> DependencyMonitor:
        return DependencyMonitor(name, ask, backoff=backoff, patience_seconds=5.0, clock=clock, metrics=metrics)

    return DependencyMonitors(database=monitor("database", store.ping), broker=monitor("broker", publisher.ping))


@asynccontextmanager
async def probing(monitors: DependencyMonitors) -> AsyncIterator[None]:
    """The monitors probe for the length of a block, as they do while a consumer runs."""
    running = asyncio.ensure_future(monitors.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def make_delivery(
    store: Store,
    publisher: ScriptedPublisher,
    clock: SimulatedClock,
    *,
    monitors: DependencyMonitors | None = None,
    breaker: Breaker | None = None,
    metrics: Metrics | None = None,
    attempts_max: int = 3,
    conflicts_max: int = 4,
    state_order: StateOrder | None = None,
) -> Delivery:
    metrics = metrics or Metrics()
    return Delivery(
        store=store,
        publisher=publisher,
        outgoing=OutgoingRecords(topics=TOPICS, content_mode="binary", source="/test", worker="test"),
        policy=RetryPolicy(
            backoff=Backoff(initial_seconds=1.0, max_seconds=8.0),
            attempts_max=attempts_max,
            conflicts_max=conflicts_max,
        ),
        monitors=monitors or the_monitors(store, publisher, clock, metrics),
        breaker=breaker or Breaker(events=0, rejected_share_max=0.5),
        tracer=NoTracing(),
        clock=clock,
        metrics=metrics,
        state_order=state_order,
    )


def created(release: str, *, offset: int, partition: int = 0, topic: str = "in") -> Record:
    """A valid release.created event; `release` is any name."""
    release_id = uuid5(NAMESPACE, release)
    data = {
        "release_id": str(release_id),
        "organization_id": "acme",
        "project_id": str(NAMESPACE),
        "component_id": str(NAMESPACE),
        "deployment_track_id": release,
        "release_date": "2026-01-02",
        "release_number": 1,
        "created_by": "test",
    }
    value, headers = write_binary(
        source="/test",
        id=f"{release} {topic}/{partition}@{offset}",
        type="dev.rudder.release.created.v1",
        time=parse_time("2026-01-02T03:04:05Z"),
        subject=release,
        data=data,
    )
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=1_772_357_400_000,
        key=None,
        value=value,
        headers=headers,
    )


def garbage(*, offset: int, partition: int = 0, topic: str = "in") -> Record:
    """A record that is rejected."""
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=1_772_357_400_000,
        key=None,
        value=b"no JSON",
        headers=(),
    )
