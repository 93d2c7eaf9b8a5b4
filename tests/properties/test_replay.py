"""Hypothesis searches for a topic and a range whose replay changes what is known, publishes unasked, or does anything
but what its plan predicts.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.record import Record
from tests.hypothesis_profile import examples
from tests.properties.oracle_scenarios import OUTGOING, SCENARIOS, Step, records_of, tables_of
from tests.properties.replay_world import (
    TOPIC,
    Published,
    WorldTopics,
    executed,
    planned,
    world_after,
)
from worker.pipeline.outgoing import Topics
from worker.ports import OutgoingRecord, Partition
from worker.replay.changes import Change
from worker.replay.plan import DUPLICATE, Publishing
from worker.replay.scope import OffsetRange, Scope

SETTINGS = settings(deadline=None, max_examples=examples(120), suppress_health_check=[HealthCheck.too_slow])
PARTS = st.tuples(st.integers(0, 30), st.integers(0, 30))
NUMBER_TAKEN = [Step(kind="release.created", release=1), Step(kind="release.created", release=2, number=1)]
FIRST_REJECTED = [Step(block=False), Step(kind="release.created", corrects=1), Step(kind="deployment.succeeded")]


def topic_of(steps: Sequence[Step], *, partitions: int = 1) -> list[Record]:
    """The records of the scenario, each position once. Releases have partitions of their own."""
    by_offset = {record.offset: record for record in records_of(steps)}
    return [
        replace(record, partition=index % partitions if steps[offset].release % 2 else 0)
        for index, (offset, record) in enumerate(sorted(by_offset.items()))
    ]


def scope_of(records: Sequence[Record], part: tuple[int, int]) -> Scope | None:
    """The range of the only partition from one record on, so many records long; None: the range is empty."""
    if not records:
        return None
    first = records[part[0] % len(records)].offset
    last = records[-1].offset if part[1] == 0 else first + part[1] - 1
    return Scope(offsets=(OffsetRange(partition=Partition(TOPIC, 0), first=first, last=last),))


@given(steps=SCENARIOS, part=PARTS, times=st.integers(1, 2))
@settings(SETTINGS)
@example(steps=FIRST_REJECTED, part=(0, 0), times=2)
def test_replay_of_any_range_changes_nothing(steps: list[Step], part: tuple[int, int], times: int) -> None:
    records = topic_of(steps)
    scope = scope_of(records, part)
    if scope is None:
        return
    world, _ = world_after(records_of(steps))
    before = world.tables()

    async def replayed() -> None:
        for _ in range(times):
            plan = await planned(world, WorldTopics(records), scope)
            report = await executed(world, WorldTopics(records), plan)
            assert plan.changes_nothing, plan
            assert not report.differences_total
            assert not report.published
            assert set(report.outcomes) <= {DUPLICATE}

    asyncio.run(replayed())
    assert world.tables() == before


@given(steps=SCENARIOS, known=st.integers(0, 30), begin=st.integers(0, 30), concurrency=st.sampled_from([1, 8]))
@settings(SETTINGS)
@example(steps=NUMBER_TAKEN, known=0, begin=0, concurrency=8)
@example(steps=FIRST_REJECTED, known=1, begin=0, concurrency=8)
def test_plan_predicts_every_outcome_and_cell(steps: list[Step], known: int, begin: int, concurrency: int) -> None:
    """The database has handled the first records only, as one that was restored."""
    records = topic_of(steps)
    scope = scope_of(records, (begin, 0))
    if scope is None:
        return
    world, _ = world_after(records[:known])
    before = tables_of(world)

    async def replayed() -> None:
        plan = await planned(world, WorldTopics(records), scope, publishing=Publishing(enabled=True))
        published = Published()
        report = await executed(world, WorldTopics(records), plan, publisher=published, concurrency=concurrency)
        assert report.differences == ()
        assert report.outcomes == plan.outcomes
        assert not report.remaining
        assert len(published.records) == plan.published
        added, changed = counted_changes(before, tables_of(world))
        assert {table: n for (table, change), n in plan.changed.items() if change is Change.ADDED} == added
        assert {table: n for (table, change), n in plan.changed.items() if change is Change.CHANGED} == changed
        rows = {table: {key_of(table, row): row for row in found} for table, found in tables_of(world).items()}
        for row in plan.rows:
            if row.change is Change.CHANGED and row.table in KEYS:
                for cell in row.cells:
                    assert str(as_text(rows[row.table][row.key][cell.column])) == str(cell.after)

    asyncio.run(replayed())


@given(steps=SCENARIOS)
@settings(SETTINGS)
def test_republished_records_are_those_of_the_first_time(steps: list[Step]) -> None:
    """With the same ids and headers, in the order of each key, in one topic if that is asked for."""
    records = topic_of(steps)
    if not records:
        return
    world, first = world_after(records)
    one_topic = Topics(deployment_status="one", release_status="one", dead_letters="one")

    async def replayed() -> list[OutgoingRecord]:
        plan = await planned(world, WorldTopics(records), Scope(everything=True), publishing=Publishing(enabled=True))
        assert plan.published == len(first)
        published = Published()
        outgoing = replace(OUTGOING, topics=one_topic)
        report = await executed(world, WorldTopics(records), plan, publisher=published, outgoing=outgoing)
        assert report.published == ({"one": len(first)} if first else {})
        return published.records

    again = asyncio.run(replayed())
    assert by_key(again) == by_key([replace(one, topic="one") for one in first])


def by_key(records: Sequence[OutgoingRecord]) -> dict[Any, list[Any]]:
    """Key, value and headers of status events in order by release; of dead letters in any order."""
    found: dict[Any, list[Any]] = {}
    for record in records:
        names = [name for name, _ in record.headers]
        key = dict(record.headers).get("rudder-id") if "rudder-reason" in names else record.key
        found.setdefault(key, []).append((record.topic, record.key, record.value, record.headers))
    return found


KEYS = {
    "releases": "id",
    "release_deployments": "id",
    "release_activity_logs": "id",
    "release_event_rejections": "id",
    "release_versions": "release_mgt_id",
}


def key_of(table: str, row: dict[str, Any]) -> str:
    if table == "app_environments":
        return "/".join(str(row[name]) for name in ("environment_id", "component_id", "deployment_track_id"))
    return str(row[KEYS[table]]) if table in KEYS else str(sorted(row.items()))


def counted_changes(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """The number of added and of changed rows of each table."""
    added: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for table, rows in after.items():
        if table == "release_apim_base_revisions":
            added[table] += len(rows) - len(before[table])
            continue
        earlier = {key_of(table, row): row for row in before[table]}
        for row in rows:
            found = earlier.get(key_of(table, row))
            added[table] += found is None
            changed[table] += found is not None and found != row
    return +added, +changed


def as_text(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
