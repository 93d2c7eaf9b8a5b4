"""A replay on a world in memory: the topics, the tables and the store, and what was published."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from schemas.event import ReleaseReference
from schemas.record import Record
from tests.properties.oracle_scenarios import BYTES_MAX, COMPONENT, OUTGOING, POINTED, TRACKS
from tests.properties.world import World
from tests.properties.world_rows import deployment_row, release_row
from tests.unit.pipeline.scripted import SimulatedClock
from worker.pipeline.backoff import Backoff
from worker.pipeline.breaker import Breaker
from worker.pipeline.delivery import Delivery
from worker.pipeline.dependency_monitor import DependencyMonitor, DependencyMonitors
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.publish import PublishStep
from worker.pipeline.retry import Retries, RetryPolicy
from worker.pipeline.transaction import read
from worker.ports import OutgoingRecord, Partition, Publisher, Transaction
from worker.replay.execution import CountingPublisher, Handling, NoRecords, Replay, Report
from worker.replay.plan import Planner, Publishing, ReplayPlan
from worker.replay.scope import Scope
from worker.rules.decide import decide
from worker.rules.errors import Unavailable
from worker.rules.message import Message
from worker.rules.query import Query
from worker.rules.rows import Activity, Rejection
from worker.rules.state import Outcome, State
from worker.service.no_tracing import NoTracing
from worker.stored_rows import EnvironmentRow, ReleaseRows
from worker.telemetry import Metrics

TOPIC = "in"


class WorldTopics:
    """`worker.replay.reading.Records`: the given records; the group has committed all of them."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.partitions: dict[Partition, list[Record]] = {}
        for record in records:
            self.partitions.setdefault(Partition(record.topic, record.partition), []).append(record)
        self.faults = 0
        """How many more reads fail after each first record."""

    async def begins(self, topics: Sequence[str]) -> dict[Partition, int]:
        return {partition: 0 for partition in self.partitions if partition.topic in topics}

    async def ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        return {at: records[-1].offset + 1 for at, records in self.partitions.items() if at.topic in topics}

    async def committed(self, topics: Sequence[str]) -> dict[Partition, int]:
        return await self.ends(topics)

    async def offsets_at(self, topics: Sequence[str], timestamp_ms: int) -> dict[Partition, int]:
        ends = await self.ends(topics)
        for partition in ends:
            later = [one.offset for one in self.partitions[partition] if one.timestamp_ms >= timestamp_ms]
            ends[partition] = min(later, default=ends[partition])
        return ends

    async def cluster_id(self) -> str:
        return "world"

    async def records_by_time(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        queues = [
            [record for record in self.partitions[partition] if record.offset in offsets]
            for partition, offsets in sorted(ranges.items())
        ]
        heap = [(queue[0].timestamp_ms, number) for number, queue in enumerate(queues) if queue]
        heapq.heapify(heap)
        while heap:
            _, number = heapq.heappop(heap)
            yield queues[number].pop(0)
            if queues[number]:
                heapq.heappush(heap, (queues[number][0].timestamp_ms, number))
            if self.faults:
                self.faults -= 1
                raise Unavailable("the broker does not answer")


class WorldTables:
    """`worker.replay.reading.Tables` over a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def identity(self) -> UUID:
        return UUID(int=1)

    async def rows_of(self, release_ids: Sequence[UUID]) -> list[ReleaseRows]:
        world = self._world
        return [
            ReleaseRows(
                release=release_row(world.releases[id_]),
                version=world.versions.get(id_),
                deployments=tuple(deployment_row(row) for row in world.deployments.values() if row.release_id == id_),
                base_revisions=tuple(
                    {"release_mgt_id": id_, "endpoint_name": one.endpoint_name, "api_id": one.api_id}
                    | {"revision_id": one.revision_id, "access_mode": one.access_mode}
                    for one in world.releases[id_].inserted.base_revisions
                ),
                activities=tuple(one for one in world.activities.values() if one.release_id == id_),
            )
            for id_ in release_ids
            if id_ in world.releases
        ]

    async def rejections_of(self, event_ids: Sequence[UUID]) -> dict[UUID, Rejection]:
        return {id_: self._world.rejections[id_] for id_ in event_ids if id_ in self._world.rejections}

    async def logged(self, event_ids: Sequence[UUID]) -> set[UUID]:
        return {id_ for id_ in event_ids if id_ in self._world.activities}

    async def activities_of(self, event_ids: Sequence[UUID]) -> dict[UUID, Activity]:
        return {id_: self._world.activities[id_] for id_ in event_ids if id_ in self._world.activities}

    async def activity_types(self, ids: Sequence[UUID]) -> dict[UUID, str]:
        return {id_: one.activity_type for id_, one in (await self.activities_of(ids)).items()}

    async def numbers(self, release_date: date, component_id: UUID) -> dict[str, int]:
        raise AssertionError("no event of this world is foreign")

    async def find_releases(self, references: Sequence[ReleaseReference]) -> list[UUID | None]:
        raise AssertionError("no event of this world is foreign")

    async def same_number(self, release_date: date, release_number: int, component_id: UUID) -> dict[UUID, str]:
        return {
            id_: row.release.deployment_track_id
            for id_, row in self._world.releases.items()
            if (row.release.release_date, row.release.release_number, row.release.component_id)
            == (release_date, release_number, component_id)
        }

    async def deployed(self, ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, datetime | None]]:
        rows = {id_: self._world.deployments[id_] for id_ in ids if id_ in self._world.deployments}
        return {id_: (row.release_id, row.deployment.deployed_at) for id_, row in rows.items()}

    async def environments(self) -> AsyncIterator[EnvironmentRow]:
        for environment in POINTED:
            for track in TRACKS:
                move = self._world.pointers.get((environment, UUID(COMPONENT), track))
                yield EnvironmentRow(
                    row=None,
                    environment=environment,
                    component=COMPONENT,
                    track=track,
                    release=None if move is None else str(move.release_id),
                    attempt=None if move is None else str(move.deployment_id),
                    name=None if move is None else move.deployment_name,
                )


class WorldStore:
    """`worker.ports.Store` over a world. It needs the message to load, so `decide` is its decider."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.faults: list[Exception] = []

    async def load(self, queries: Sequence[Query]) -> Sequence[State]:
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop()
        return [State() for _ in queries]

    def decide(self, state: State, message: Message) -> Outcome:
        del state
        return decide(self._world.load(message), message)

    async def write(self, transactions: Sequence[Transaction], *, patient: bool = True) -> Sequence[Exception | None]:
        for transaction in transactions:
            self._world.write_changes(transaction.changes)
        return [None] * len(transactions)

    async def ping(self) -> None:
        pass


class Published:
    """`worker.ports.Publisher` that keeps what it gets."""

    def __init__(self) -> None:
        self.records: list[OutgoingRecord] = []

    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        await asyncio.sleep(0)
        self.records += outgoing

    async def ping(self) -> None:
        pass


async def never_ends() -> None:
    await asyncio.Event().wait()


def read_record(record: Record) -> Message:
    return read(record, event_bytes_max=BYTES_MAX)


def read_message(record: Record) -> Message | None:
    return None if record.is_tombstone else read_record(record)


def world_after(records: Iterable[Record]) -> tuple[World, list[OutgoingRecord]]:
    """The world in which a worker has handled the records, and what it published."""
    world = World(environments=POINTED)
    published: list[OutgoingRecord] = []
    for record in records:
        if not record.is_tombstone:
            message = read_record(record)
            published += OUTGOING.of(world.take(message), message, attempts=1)
    return world, published


async def planned(
    world: World, topics: WorldTopics, scope: Scope, *, publishing: Publishing | None = None
) -> ReplayPlan:
    planner = Planner(topics, WorldTables(world), read=read_message, decider=decide)
    return await planner.plan(scope, input_topics=[TOPIC], publishing=publishing or Publishing())


async def executed(
    world: World,
    topics: WorldTopics,
    plan: ReplayPlan,
    *,
    publisher: Publisher | None = None,
    store: WorldStore | None = None,
    outgoing: OutgoingRecords = OUTGOING,
    stop: asyncio.Event | None = None,
    outage_seconds_max: float = 30.0,
    rate: float | None = None,
    concurrency: int = 4,
) -> Report:
    replay = replay_of(
        world,
        topics,
        plan,
        publisher=publisher,
        store=store,
        outgoing=outgoing,
        outage_seconds_max=outage_seconds_max,
        rate=rate,
        concurrency=concurrency,
    )
    return await replay.run(stop or asyncio.Event())


def replay_of(
    world: World,
    topics: WorldTopics,
    plan: ReplayPlan,
    *,
    publisher: Publisher | None = None,
    store: WorldStore | None = None,
    outgoing: OutgoingRecords = OUTGOING,
    outage_seconds_max: float = 30.0,
    rate: float | None = None,
    concurrency: int = 4,
    clock: SimulatedClock | None = None,
) -> Replay:
    store, clock, metrics = store or WorldStore(world), clock or SimulatedClock(), Metrics()
    backoff = Backoff(initial_seconds=0.25, max_seconds=1.0)
    policy = RetryPolicy(backoff=backoff, attempts_max=3)
    counted = CountingPublisher(publisher)
    if publisher is None:
        outgoing = NoRecords(topics=outgoing.topics, content_mode="binary", source="urn:test", worker="test")

    def monitor(name: str, probe: WorldStore | CountingPublisher) -> DependencyMonitor:
        return DependencyMonitor(name, probe.ping, backoff=backoff, patience_seconds=5.0, clock=clock, metrics=metrics)

    monitors = DependencyMonitors(database=monitor("database", store), broker=monitor("broker", counted))
    handling = Handling(
        run_batches=never_ends,
        read=read_message,
        delivery=Delivery(
            store=store,
            publisher=counted,
            outgoing=outgoing,
            policy=policy,
            monitors=monitors,
            breaker=Breaker(events=0, rejected_share_max=0.0),
            decider=store.decide,
            tracer=NoTracing(),
            clock=clock,
            metrics=metrics,
        ),
        publish_step=PublishStep(
            publisher=counted,
            outgoing=outgoing,
            retries=Retries(policy, clock=clock, metrics=metrics),
            monitor=monitors.broker,
            attempts_max=3,
        ),
        publisher=counted,
        monitors=monitors,
        concurrency=concurrency,
    )
    return Replay(
        plan,
        topics,
        WorldTables(world),
        handling,
        rate=rate,
        outage_seconds_max=outage_seconds_max,
        clock=clock,
    )
