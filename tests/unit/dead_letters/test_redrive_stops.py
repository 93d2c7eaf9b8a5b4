"""When a redrive stops before its end, and what it then leaves."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.properties.oracle_scenarios import Step, record_of
from tests.properties.redrive_world import BYTES_MAX, RedriveWorld
from tests.properties.test_redrive import LATE_RELEASE, NOW_MS, executed, planned, world_of
from worker.dead_letters.redrive import Edges, Redrive, RedriveLimits, rows_of
from worker.dead_letters.workers import GroupWorkers, WorkersState
from worker.ports import Partition
from worker.rules.errors import RecordRefused, Unavailable
from worker.stored_redrives import JournalRow, Settled, State

LIMITS = RedriveLimits(per_second=50, wait_seconds=5)


@dataclass
class Executed:
    stopped: str | None
    rows: tuple[JournalRow, ...]
    world: RedriveWorld
    action_id: UUID

    @property
    def outcomes(self) -> list[Settled | None]:
        return [row.outcome for row in self.rows]


async def execute(
    change: Callable[[Edges, RedriveWorld], Edges] = lambda edges, _: edges,
    *,
    limits: RedriveLimits = LIMITS,
    world: RedriveWorld | None = None,
    stop: asyncio.Event | None = None,
) -> Executed:
    """A redrive of two events of one release that would be applied."""
    world = world or world_of(LATE_RELEASE)
    plan = await planned(world, 0, include_failing=False)
    assert [one.predicted for one in plan.sent] == ["applied", "applied"]
    action_id = uuid4()
    await world.edges().journal.plan(action_id, rows_of(plan))
    redrive = Redrive(action_id, change(world.edges(), world), limits=limits)
    stopped = await redrive.run(await world.edges().journal.rows(action_id), stop or asyncio.Event())
    return Executed(stopped=stopped, rows=redrive.rows, world=world, action_id=action_id)


async def resume(executed: Executed) -> list[Settled | None]:
    executed.world.works = True
    redrive = Redrive(executed.action_id, executed.world.edges(), limits=LIMITS)
    assert await redrive.run(await executed.world.edges().journal.rows(executed.action_id), asyncio.Event()) is None
    return [row.outcome for row in redrive.rows]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (WorkersState(members=0, lag=0, breaker_open=False), "no member"),
        (WorkersState(members=2, lag=10_001, breaker_open=False), "lag is 10,001 records"),
        (WorkersState(members=2, lag=0, breaker_open=True), "breaker is open"),
    ],
)
async def test_workers_that_cannot_decide_stop_a_redrive(state: WorkersState, why: str) -> None:
    class Workers:
        async def state(self) -> WorkersState:
            return state

    ended = await execute(lambda edges, _: replace(edges, workers=Workers()))
    assert ended.stopped is not None
    assert why in ended.stopped
    assert [row.state for row in ended.rows] == [State.PLANNED] * 2
    assert await resume(ended) == [Settled.APPLIED] * 2


async def test_undecided_event_stops_a_redrive() -> None:
    """Nothing more of its release is sent; a resume waits for it."""

    def idle(edges: Edges, world: RedriveWorld) -> Edges:
        class Workers:
            async def state(self) -> WorkersState:
                world.works = False
                return WorkersState(members=1, lag=0, breaker_open=False)

        return replace(edges, workers=Workers())

    ended = await execute(idle)
    assert ended.stopped == "1 sent events were not decided within 5 s (--wait)"
    assert [row.state for row in ended.rows] == [State.SENT, State.PLANNED]
    assert await resume(ended) == [Settled.APPLIED] * 2


async def test_skipped_event_is_settled() -> None:
    """The group's offsets were set to the end: nothing decides the record, so nothing waits for it."""

    def skipping(edges: Edges, world: RedriveWorld) -> Edges:
        class Producer:
            async def produce(self, outgoing_record: Any) -> tuple[int, int]:
                partition, offset = await edges.producer.produce(outgoing_record)
                world.consumed[Partition("in", partition)] = offset + 1
                return partition, offset

        return replace(edges, producer=Producer())

    ended = await execute(skipping)
    assert ended.stopped is None
    assert ended.outcomes == [Settled.SKIPPED] * 2


async def test_event_that_becomes_readable_resolves_its_rejection() -> None:
    """It was too large to have an identity; then the limit was raised. Its redrive corrects the rejection."""
    world = RedriveWorld(now_ms=NOW_MS)
    world.bytes_max = 50
    world.append(record_of(Step(mode="structured"), 0))
    world.work()
    [rejection] = world.open_rejections()
    assert (rejection.reason, rejection.event_id) == ("too_large", None)
    world.bytes_max = BYTES_MAX
    plan = await planned(world, 0, include_failing=False)
    assert [one.predicted for one in plan.sent] == ["applied"]
    [row] = await executed(world, plan, [25], LIMITS)
    assert row.outcome is Settled.APPLIED
    assert world.open_rejections() == []


async def test_unexpected_rejection_stops_a_redrive() -> None:
    """The release's approval was withdrawn between plan and execution: nothing after the first is sent."""
    world = world_of(LATE_RELEASE[:2] + LATE_RELEASE[2:])

    def withdrawn(edges: Edges, world: RedriveWorld) -> Edges:
        world.tables.releases.clear()
        return edges

    ended = await execute(withdrawn, world=world)
    assert ended.stopped is not None
    assert "1 events that were expected to pass were rejected again" in ended.stopped
    assert ended.outcomes == [Settled.REJECTED, None]


async def test_set_stop_ends_after_the_current_record() -> None:
    stop = asyncio.Event()

    def stopping(edges: Edges, _: RedriveWorld) -> Edges:
        class Producer:
            async def produce(self, outgoing_record: Any) -> tuple[int, int]:
                stop.set()
                return await edges.producer.produce(outgoing_record)

        return replace(edges, producer=Producer())

    ended = await execute(stopping, stop=stop)
    assert ended.stopped is None
    assert [row.state for row in ended.rows] == [State.SENT, State.PLANNED]
    assert await resume(ended) == [Settled.APPLIED] * 2


async def test_unacknowledged_record_is_searched_and_not_sent_again() -> None:
    """The broker wrote it, and its answer was lost."""

    def unanswered(edges: Edges, _: RedriveWorld) -> Edges:
        class Producer:
            async def produce(self, outgoing_record: Any) -> tuple[int, int]:
                await edges.producer.produce(outgoing_record)
                raise Unavailable("no answer")

        return replace(edges, producer=Producer())

    ended = await execute(unanswered)
    assert ended.stopped == "Kafka has not acknowledged a record: no answer"
    assert [row.state for row in ended.rows] == [State.SENDING, State.PLANNED]
    records = len(ended.world.partitions[Partition("in", 1)])
    assert await resume(ended) == [Settled.APPLIED] * 2
    assert len(ended.world.partitions[Partition("in", 1)]) == records + 1


async def test_refused_record_is_given_up() -> None:
    def refusing(edges: Edges, _: RedriveWorld) -> Edges:
        class Producer:
            async def produce(self, outgoing_record: Any) -> tuple[int, int]:
                raise RecordRefused("too large")

        return replace(edges, producer=Producer())

    ended = await execute(refusing)
    assert ended.stopped is None
    assert ended.outcomes == [Settled.NOT_SENT] * 2
    assert [row.detail for row in ended.rows] == ["too large"] * 2


async def test_deleted_record_is_reported_and_not_sent() -> None:
    world = world_of(LATE_RELEASE)

    def deleting(edges: Edges, world: RedriveWorld) -> Edges:
        world.deleted.add(("in", 1, 0))
        return edges

    ended = await execute(deleting, world=world)
    assert ended.outcomes == [Settled.NOT_SENT, Settled.APPLIED]
    assert ended.rows[0].detail == "the record cannot be read: expired"


@pytest.mark.parametrize(("failures", "stopped"), [(3, None), (10_000, "the database does not answer")])
async def test_outage_is_waited_for_a_bounded_time(failures: int, stopped: str | None) -> None:
    def failing(edges: Edges, _: RedriveWorld) -> Edges:
        left = failures

        class Decisions:
            async def rejections_of(self, event_ids: Any) -> Any:
                nonlocal left
                left -= 1
                if left >= 0:
                    raise Unavailable("the database does not answer")
                return await edges.decisions.rejections_of(event_ids)

            async def activities_of(self, event_ids: Any) -> Any:
                return await edges.decisions.activities_of(event_ids)

        return replace(edges, decisions=Decisions())

    ended = await execute(failing)
    assert ended.stopped == stopped
    assert await resume(ended) == [Settled.APPLIED] * 2


async def test_lag_counts_records_that_are_not_committed() -> None:
    """A partition without a commit counts from its beginning; one that was truncated counts nothing."""

    class Group:
        async def members(self) -> int:
            return 3

        async def begins(self, topics: Any) -> dict[Partition, int]:
            return {Partition("in", 0): 0, Partition("in", 1): 40, Partition("in", 2): 0}

        async def ends(self, topics: Any) -> dict[Partition, int]:
            return {Partition("in", 0): 100, Partition("in", 1): 45, Partition("in", 2): 7}

        async def committed(self, topics: Any) -> dict[Partition, int]:
            return {Partition("in", 0): 90, Partition("in", 2): 9}

    class Breakers:
        async def current(self, group_id: str) -> str | None:
            return "open" if group_id == "g" else None

    workers: Any = GroupWorkers(Group(), Breakers(), group_id="g", topics=["in"])
    state: Awaitable[WorkersState] = workers.state()
    assert await state == WorkersState(members=3, lag=15, breaker_open=True)
