"""The execution of a replay: outages, stops, rates, and outcomes that differ from the plan."""

import asyncio
from dataclasses import replace

import pytest

from schemas.record import Record
from tests.properties.oracle_scenarios import POINTED, Step, records_of
from tests.properties.replay_world import TOPIC, WorldStore, WorldTopics, planned, replay_of, world_after
from tests.properties.world import World
from tests.unit.pipeline.scripted import SimulatedClock
from worker.ports import Partition
from worker.replay.scope import Filters, Scope
from worker.rules.errors import ConfigurationError, StaleRead, Unavailable

P0 = Partition(TOPIC, 0)
STEPS = [
    Step(kind=f"deployment.{kind}", release=release)
    for kind in ("requested", "started", "succeeded")
    for release in (1, 2, 3)
]
RECORDS = records_of(STEPS)
ALL = Scope(everything=True)


def empty() -> World:
    return World(environments=POINTED)


async def test_outage_of_the_topics_is_waited_for() -> None:
    world, topics = empty(), WorldTopics(RECORDS)
    plan = await planned(world, topics, ALL)
    topics.faults = 4
    report = await replay_of(world, topics, plan).run(asyncio.Event())
    assert (report.outcomes, report.differences_total, report.remaining) == (plan.outcomes, 0, {})
    assert world.tables() == world_after(RECORDS)[0].tables()


async def test_long_outage_stops_with_what_remains() -> None:
    world, topics = empty(), WorldTopics(RECORDS)
    plan = await planned(world, topics, ALL)

    async def unreadable(event_ids: object) -> set[object]:
        raise Unavailable("the database does not answer")

    replay = replay_of(world, topics, plan, outage_seconds_max=20.0)
    replay._tables.logged = unreadable  # type: ignore[method-assign, assignment]
    report = await replay.run(asyncio.Event())
    assert report.remaining == {P0: range(len(RECORDS))}
    assert report.stopped == "the database does not answer; stopped after 20 s"
    assert not report.interrupted
    assert world.tables() == empty().tables()


async def test_lost_privilege_stops_with_its_line() -> None:
    world, topics = empty(), WorldTopics(RECORDS)
    plan = await planned(world, topics, ALL)
    replay = replay_of(world, topics, plan)

    async def refused(event_ids: object) -> set[object]:
        raise ConfigurationError("grant the privilege")

    replay._tables.logged = refused  # type: ignore[method-assign, assignment]
    report = await replay.run(asyncio.Event())
    assert (report.stopped, report.remaining) == ("grant the privilege", {P0: range(len(RECORDS))})


async def test_stopped_replay_continues_where_it_ended() -> None:
    """Each part of two events; together they are what one replay would have been."""
    world, topics = empty(), WorldTopics(RECORDS)
    plan = await planned(world, topics, ALL)
    parts = 0
    remaining = plan.ranges
    while remaining:
        stop, clock = asyncio.Event(), StoppingClock(after_seconds=2.0)
        clock.stop = stop
        part = replace(plan, ranges=remaining)
        report = await replay_of(world, topics, part, rate=1.0, clock=clock).run(stop)
        assert report.differences_total == 0
        assert report.interrupted == bool(report.remaining)
        assert sum(report.outcomes.values()) == sum(map(len, remaining.values())) - sum(
            map(len, report.remaining.values())
        )
        remaining = report.remaining
        parts += 1
    assert parts > 2
    assert world.tables() == world_after(RECORDS)[0].tables()


class StoppingClock(SimulatedClock):
    """Sets `stop` after some simulated seconds."""

    stop: asyncio.Event

    def __init__(self, *, after_seconds: float) -> None:
        super().__init__()
        self._stop_at_seconds = self.now_seconds + after_seconds

    async def wait(self, event: asyncio.Event, *, timeout_seconds: float) -> bool:
        is_set = await super().wait(event, timeout_seconds=timeout_seconds)
        if self.now_seconds >= self._stop_at_seconds:
            self.stop.set()
        return is_set or event.is_set()


async def test_faults_of_single_messages_are_retried() -> None:
    world, topics = empty(), WorldTopics(RECORDS)
    plan = await planned(world, topics, ALL)
    store = WorldStore(world)
    store.faults = [StaleRead("changed"), Unavailable("a lock"), StaleRead("changed")]
    report = await replay_of(world, topics, plan, store=store).run(asyncio.Event())
    assert (report.differences_total, report.outcomes) == (0, plan.outcomes)
    assert store.faults == []


async def test_outcome_that_differs_from_the_plan_is_reported() -> None:
    """Another writer has applied an event between the plan and its execution."""
    world, topics = empty(), WorldTopics(RECORDS)
    plan = await planned(world, topics, ALL)
    moved, _ = world_after(RECORDS[:1])
    report = await replay_of(moved, topics, plan).run(asyncio.Event())
    assert [one.line() for one in report.differences] == ["in/0@0: predicted applied; the outcome was duplicate"]


async def test_filtered_records_and_tombstones_are_passed_over() -> None:
    tombstone = replace(RECORDS[-1], offset=99, value=None)
    world, topics = empty(), WorldTopics([*RECORDS, tombstone])
    releases = frozenset({next(iter(world_after(RECORDS[:1])[0].releases))})
    plan = await planned(world, topics, Scope(filters=Filters(releases=releases)))
    report = await replay_of(world, topics, plan).run(asyncio.Event())
    assert (plan.counts["tombstones"], plan.counts["left_out"]) == (1, 6)
    assert sum(report.outcomes.values()) == 3
    assert world.releases.keys() == releases
    assert not report.remaining


@pytest.mark.parametrize("known", [0, len(RECORDS)])
async def test_rate_limits_known_and_unknown_events(known: int) -> None:
    world, topics = world_after(RECORDS[:known])[0], WorldTopics(RECORDS)
    plan, clock = await planned(world, topics, ALL), SimulatedClock()
    began_seconds = clock.now_seconds
    await replay_of(world, topics, plan, rate=2.0, clock=clock).run(asyncio.Event())
    assert clock.now_seconds - began_seconds >= (len(RECORDS) - 1) / 2


async def test_plan_with_too_many_unknown_events_is_refused() -> None:
    from tests.properties.replay_world import WorldTables, read_message
    from worker.replay.plan import Planner
    from worker.rules.decide import decide

    topics = WorldTopics(RECORDS)
    planner = Planner(topics, WorldTables(empty()), read=read_message, decider=decide, unknown_max=8)
    with pytest.raises(ConfigurationError, match="does not know more than 8 events of the scope"):
        await planner.plan(ALL, input_topics=[TOPIC])


async def test_unknown_record_before_the_scope_is_noted() -> None:
    world, topics = empty(), WorldTopics(RECORDS)
    plan = await planned(world, topics, scope_from(RECORDS, 4))
    assert "in/0@3, the record before the scope, is unknown" in plan.notes[0]
    known, _ = world_after(RECORDS[:4])
    assert (await planned(known, topics, scope_from(RECORDS, 4))).notes == ()


def scope_from(records: list[Record], first: int) -> Scope:
    return Scope(begin_ms=records[first].timestamp_ms)
