"""Redrives of any selection, killed between any two steps and resumed: each event is sent once, as planned."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.hypothesis_profile import examples
from tests.properties.oracle_scenarios import ANY, DEPLOYMENTS, START, Step, records_of
from tests.properties.redrive_world import Killed, RedriveWorld, decoded
from worker.dead_letters.plan import RedrivePlan, groups, redriven
from worker.dead_letters.redrive import Redrive, RedriveLimits, require_unchanged, rows_of
from worker.ports import Partition
from worker.rules.message import Message
from worker.rules.state import Duplicate
from worker.stored_redrives import JournalRow, Settled, State

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NOW_MS = int((START + timedelta(days=2)).timestamp() * 1000)
"""Later than the event that was too far ahead of its record."""

EARLY = st.builds(
    Step,
    kind=st.sampled_from([*DEPLOYMENTS, "activity.recorded", "release.submitted", "release.approved"]),
    release=st.sampled_from([1, 1, 2, 3]),
    number=st.sampled_from([None, 1]),
    block=st.sampled_from([False, False, False, True]),
    late=st.sampled_from([0, 0, 1, -1]),
)
"""Often before their release exists."""

STEPS = st.tuples(st.lists(EARLY, min_size=1, max_size=8), st.lists(ANY, max_size=6)).map(
    lambda pair: pair[0] + pair[1]
)
LATE_RELEASE = [
    Step(block=False),
    Step(kind="deployment.started", block=False),
    Step(kind="release.created"),
    Step(kind="release.submitted"),
    Step(kind="release.approved"),
]
UNIDENTIFIED = [Step(edit=(".value", b"{")), Step(mode="bare", edit=(".id", None)), *LATE_RELEASE]
TWICE = [*LATE_RELEASE[:2], Step(repeats=2, redrive=True, redrive_at=True), *LATE_RELEASE[2:]]

CORRECTED = [Step(block=False), Step(kind="release.created"), Step(kind="activity.recorded", block=False, corrects=2)]
"""The first is resolved by the last, and must not take effect any more."""

ONE_NUMBER = [
    Step(release=1, edit=(".time", "2026-03-03T23:00:00Z")),
    Step(release=2, number=1, edit=(".time", "2026-03-03T23:00:00Z")),
]
"""Two releases in two partitions with one number; the first has it, the second is rejected again."""


def world_of(steps: Sequence[Step]) -> RedriveWorld:
    """Two partitions, and all of it decided."""
    world = RedriveWorld(now_ms=NOW_MS)
    for record in records_of(steps):
        release_id = decoded(record).release_id
        world.append(replace(record, partition=0 if release_id is None else release_id.int % 2))
    world.work()
    return world


def selection(world: RedriveWorld, mask: int) -> list[UUID]:
    """Of all dead letters: resolved ones are duplicates."""
    return [id_ for number, id_ in enumerate(world.tables.rejections) if not mask >> number & 1]


async def planned(world: RedriveWorld, mask: int, *, include_failing: bool) -> RedrivePlan:
    chosen = selection(world, mask)
    rejections = [world.tables.rejections[id_] for id_ in chosen]
    now = START + timedelta(days=2)
    return await world.planning().plan(rejections, now=now, include_failing=include_failing)


async def executed(
    world: RedriveWorld,
    plan: RedrivePlan,
    kills: Sequence[int],
    limits: RedriveLimits,
    *,
    meanwhile: bool = False,
) -> tuple[JournalRow, ...]:
    """Killed after so many steps each, then resumed to its end. `meanwhile`: the worker decides before a resume
    what was sent.
    """
    action_id, rows = uuid4(), rows_of(plan)
    await world.edges().journal.plan(action_id, rows)
    for steps in kills:
        world.steps, world.kill_at = 0, steps
        redrive = Redrive(action_id, world.edges(), limits=limits)
        if meanwhile:
            world.work()
        with suppress(Killed):
            assert await redrive.run(await world.edges().journal.rows(action_id), asyncio.Event()) is None
    world.kill_at = None
    if meanwhile:
        world.work()
    redrive = Redrive(action_id, world.edges(), limits=limits)
    assert await redrive.run(await world.edges().journal.rows(action_id), asyncio.Event()) is None
    assert redrive.rows == tuple(await world.edges().journal.rows(action_id))
    return redrive.rows


@given(
    steps=STEPS,
    mask=st.integers(0, 2**14 - 1),
    include_failing=st.booleans(),
    kills=st.lists(st.integers(1, 60), max_size=4),
    ramp=st.booleans(),
    slow=st.sampled_from([1, 3]),
    meanwhile=st.booleans(),
)
@settings(SETTINGS, max_examples=examples(150))
@example(steps=LATE_RELEASE, mask=0, include_failing=False, kills=[], ramp=False, slow=3, meanwhile=False)
@example(steps=UNIDENTIFIED, mask=0, include_failing=True, kills=[20], ramp=True, slow=3, meanwhile=True)
@example(steps=CORRECTED, mask=0, include_failing=True, kills=[30], ramp=False, slow=3, meanwhile=False)
@example(steps=ONE_NUMBER, mask=0, include_failing=True, kills=[], ramp=False, slow=3, meanwhile=False)
@example(steps=TWICE, mask=0, include_failing=False, kills=[7, 9], ramp=False, slow=3, meanwhile=False)
def test_killed_redrive_sends_once_and_as_planned(
    steps: list[Step],
    mask: int,
    include_failing: bool,
    kills: list[int],
    ramp: bool,
    slow: int,
    meanwhile: bool,
) -> None:
    """Nothing is sent twice; each event is decided at most once, in the plan's order, as predicted."""

    async def play() -> None:
        world = world_of(steps)
        plan = await planned(world, mask, include_failing=include_failing)
        await require_unchanged(plan, world.originals(), world.edges().decisions)
        before = len(world.decided)
        world.waits_per_work = slow
        limits = RedriveLimits(per_second=1_000, ramp=ramp)
        rows = await executed(world, plan, kills, limits, meanwhile=meanwhile)
        assert all(row.state is State.SETTLED for row in rows)
        check_outcomes(plan, rows)
        world.work()  # duplicates are settled before they are decided
        check_sent(world, plan, world.decided[before:])

    asyncio.run(play())


def check_outcomes(plan: RedrivePlan, rows: Sequence[JournalRow]) -> None:
    assert [row.pinned for row in rows] == [one.pinned for one in plan.sent]
    for row, one in zip(rows, plan.sent, strict=True):
        assert row.outcome == one.decision.value, (row, one)
        if row.outcome is Settled.REJECTED:
            assert row.detail == f"{one.why}: {one.detail}"


def check_sent(world: RedriveWorld, plan: RedrivePlan, decided: Sequence[tuple[Message, object]]) -> None:
    """All that was decided meanwhile are the plan's records, each once."""
    sent = {(message.redrive_of, message.record.value): message for message, _ in decided}
    assert len(sent) == len(decided) == len(plan.sent)
    keys = []
    for one in plan.sent:
        original = world.partitions[Partition(*one.pinned.position[:2])][one.pinned.position.offset]
        expected = redriven(original, one.pinned, event_id=decoded(original).id)
        message = sent[one.pinned.position, original.value]
        assert (message.record.key, message.record.headers) == (original.key, expected.headers)
        assert (message.record.topic, message.record.partition) == one.pinned.position[:2]
        keys.append(message)
    order: dict[int, list[int]] = defaultdict(list)
    at = {id(message): number for number, (message, _) in enumerate(decided)}
    for group, message in zip(groups(keys), keys, strict=True):
        order[group].append(at[id(message)])
    assert all(numbers == sorted(numbers) for numbers in order.values())


@given(steps=STEPS, kills=st.lists(st.integers(1, 40), max_size=3))
@settings(SETTINGS, max_examples=examples(50))
@example(steps=LATE_RELEASE, kills=[12])
def test_two_redrives_decide_each_event_once(steps: list[Step], kills: list[int]) -> None:
    """The second is planned from the same rows: it finds each event decided, or sends nothing."""

    async def play() -> None:
        world = world_of(steps)
        plan = await planned(world, 0, include_failing=False)
        before = len(world.decided)
        await executed(world, plan, kills, RedriveLimits(per_second=50))
        again = await executed(world, plan, kills, RedriveLimits(per_second=50))
        assert {row.outcome for row in again} <= {Settled.DUPLICATE}
        effective = [message.id for message, outcome in world.decided[before:] if not isinstance(outcome, Duplicate)]
        assert max(Counter(effective).values(), default=1) == 1

    asyncio.run(play())


@given(steps=STEPS)
@settings(SETTINGS, max_examples=examples(30))
def test_plan_is_the_same_from_its_file(steps: list[Step]) -> None:
    async def play() -> None:
        plan = await planned(world_of(steps), 0, include_failing=True)
        assert RedrivePlan.of_json(plan.as_json()) == plan

    asyncio.run(play())
