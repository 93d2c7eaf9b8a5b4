"""Workers with a fault, among real parts, in the scenario that reveals it: `verify` reports the fault and its place.

A correct worker passes the same scenario, so the finding is the fault and not the scenario. No scenario depends on
durations: each failure happens between two steps that the test awaits.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.deadlines import until
from tests.conformance.groups import members_of
from tests.conformance.producers import ToSend
from tests.deterministic.mutants import (
    Mutant,
    commits_the_offset_before_it_publishes,
    commits_the_offset_before_the_rows,
    publishes_before_the_rows_are_there,
    says_nothing_of_what_it_finds_done,
    takes_a_failed_try_for_done,
)
from tests.end_to_end import mutant_worker
from tests.end_to_end.blocked_writes import blocked_writes
from tests.end_to_end.mutant_worker import writes_whatever_was_written_meanwhile
from tests.end_to_end.release_records import MOMENT, SOURCE, ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.verify_reports import LOG, run_verify, without_texts
from tests.end_to_end.worker_process import MODULE, WorkerProcess
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics
from worker.rules.identity import activity_id

SETTINGS = {
    "RUDDER_SESSION_TIMEOUT_SECONDS": "2",  # a dead worker's partitions move to its successor after this time
    "RUDDER_DATABASE_TIMEOUT_SECONDS": "60",  # no worker times out while writes are blocked
}
HIS, ANOTHERS = 0, 1
"""Partitions: of the release that meets the failure, and of another release."""

Start = Callable[..., WorkerProcess]
"""Starts a worker of the kind under test; see `System.worker`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state after the failure: the system to verify, and the finding that a worker with the fault causes."""

    system: System
    finding: dict[str, Any]


Scenario = Callable[[System, Start], AbstractAsyncContextManager[Outcome]]


def placed(partition: int, *records: ToSend) -> list[ToSend]:
    return [replace(record, partition=partition) for record in records]


def about_activity(
    system: System,
    kind: str,
    builder: ReleaseRecords,
    handled: int,
    *,
    offset: int,
    position: int = 0,
    partition: int = HIS,
) -> dict[str, Any]:
    """A finding about the log entry of the event number `handled`, counted from 1."""
    row = activity_id(source=SOURCE, event_id=f"{builder.release_id}/{handled}", position=position)
    return {
        "kind": kind,
        "topic": system.topics.events,
        "partition": partition,
        "offset": offset,
        "table": LOG,
        "row": str(row),
    }


class Bystander:
    """Another release, in another partition. A repeat of its only event writes no row, so blocked writes do not delay
    it. Once it is committed, all work that the worker had finished before is committed too.
    """

    def __init__(self, system: System) -> None:
        self._stage = system
        builder = ReleaseRecords()
        self._event = placed(ANOTHERS, builder.record("release.created", builder.fields))
        self._told = 0

    async def record(self, *workers: WorkerProcess) -> None:
        self._told += 1
        await self._stage.send(self._event)

        async def committed() -> bool:
            for worker in workers:
                assert worker.exit_code is None, worker.output()
            return (await self._stage.committed_offsets())[ANOTHERS] == self._told

        await until(committed, what=lambda: "\n".join(["it is committed", *(worker.output() for worker in workers)]))


async def finished(system: System, *workers: WorkerProcess) -> None:
    """Returns when all is committed and the workers have stopped; each is ready, and handles signals, before that."""
    for worker in workers:
        await worker.ready()
    await system.caught_up(*workers)
    for worker in workers:
        assert await worker.stop() == 0


@asynccontextmanager
async def dies_before_its_rows(system: System, start: Start) -> AsyncIterator[Outcome]:
    """SIGKILL after the decision and before the write; the next worker goes on from the committed offsets."""
    builder, bystander = ReleaseRecords(), Bystander(system)
    with start("first") as first:
        await bystander.record(first)
        async with blocked_writes(system.database_url) as blocked:
            await system.send(placed(HIS, builder.record("release.created", builder.fields)))
            await blocked.wait_for()
            await bystander.record(first)
            first.kill()
            await blocked.terminate()
    with start("heir") as successor:
        await finished(system, successor)
    yield Outcome(system, about_activity(system, "lost", builder, 1, offset=0))


@asynccontextmanager
async def is_thrown_out_by_its_database(system: System, start: Start) -> AsyncIterator[Outcome]:
    """The database ends the connection during the write."""
    builder = ReleaseRecords()
    with start() as worker:
        async with blocked_writes(system.database_url) as blocked:
            await system.send(placed(HIS, builder.record("release.created", builder.fields)))
            await blocked.wait_for()
            await blocked.terminate()
        await finished(system, worker)
    yield Outcome(system, about_activity(system, "lost", builder, 1, offset=0))


@asynccontextmanager
async def dies_before_it_publishes(system: System, start: Start) -> AsyncIterator[Outcome]:
    """SIGKILL when the rows are written and the topic of their status events does not exist yet."""
    topic = f"deployment-status.{uuid4().hex}"
    system = replace(system, topics=replace(system.topics, deployment_status=topic))
    start = partial(start, RUDDER_DEPLOYMENT_STATUS_TOPIC=topic)
    builder, bystander = ReleaseRecords(), Bystander(system)
    try:
        with start("first") as first:
            await system.send(placed(HIS, *builder.approved()))
            await bystander.record(first)
            await system.caught_up(first)
            await system.send(placed(HIS, builder.deploy("requested")))

            async def written() -> bool:
                assert first.exit_code is None, first.output()
                return len((await system.rows())["release_deployments"]) == 1

            await until(written, what=lambda: f"it is written: {first.output()}")
            await bystander.record(first)
            first.kill()
        await create_topics(system.bootstrap_servers, {topic: 1})
        with start("heir") as successor:
            await finished(system, successor)
        yield Outcome(system, about_activity(system, "lost", builder, 4, offset=3))
    finally:
        await asyncio.to_thread(delete_topics, system.bootstrap_servers, [topic])


@asynccontextmanager
async def is_looked_at_before_its_rows(system: System, start: Start) -> AsyncIterator[Outcome]:
    """`verify` runs after the decision and before the write: no status event may be published yet."""
    builder, topic = ReleaseRecords(), system.topics.deployment_status
    with start() as worker:
        await system.send(placed(HIS, *builder.approved()))
        await system.caught_up(worker)
        async with blocked_writes(system.database_url) as blocked:
            await system.send(placed(HIS, builder.deploy("requested")))
            await blocked.wait_for()
            places = [(message.partition(), message.offset()) for message in await system.read(topic)]
            [(partition, offset)] = places or [(None, None)]
            place = {"topic": topic, "partition": partition, "offset": offset}
            yield Outcome(system, {"kind": "invented", **place, "table": None, "row": None})
        await finished(system, worker)


@asynccontextmanager
async def meets_another_on_a_release(system: System, start: Start) -> AsyncIterator[Outcome]:
    """A publisher without keys: two workers decide on the same rows, which both read before either wrote."""
    builder = ReleaseRecords()
    with start("one") as one, start("other") as other:
        shares = await until(
            partial(_shares_of_two, system), what=lambda: f"both have partitions: {one.output()}{other.output()}"
        )
        first, second = map(min, shares)
        # Between two partitions, verify derives the order from the timestamps alone.
        began_ms = int(MOMENT.timestamp() * 1000)
        handled = [
            replace(record, timestamp_ms=began_ms + n * 60_000) for n, record in enumerate(builder.approved(), 1)
        ]
        await system.send(placed(first, *handled))
        await system.caught_up(one, other)
        async with blocked_writes(system.database_url) as blocked:
            succeeded = builder.deploy("succeeded", environment_id="staging")
            failed = builder.deploy("failed", environment_id="production")
            await system.send(placed(first, replace(succeeded, timestamp_ms=began_ms + 240_000)))
            await system.send(placed(second, replace(failed, timestamp_ms=began_ms + 300_000)))
            await blocked.wait_for(2)
        await finished(system, one, other)
    yield Outcome(system, about_activity(system, "contradictory", builder, 5, offset=0, position=1, partition=second))


async def _shares_of_two(system: System) -> list[frozenset[int]]:
    """The partitions of each member; an empty list until two members have partitions."""
    shares = list((await members_of(system.bootstrap_servers, system.group_id)).values())
    return shares if len(shares) == 2 and all(shares) else []


CASES: dict[Scenario, tuple[Mutant, ...]] = {
    dies_before_its_rows: (commits_the_offset_before_the_rows,),
    is_thrown_out_by_its_database: (takes_a_failed_try_for_done,),
    dies_before_it_publishes: (commits_the_offset_before_it_publishes, says_nothing_of_what_it_finds_done),
    is_looked_at_before_its_rows: (publishes_before_the_rows_are_there,),
    meets_another_on_a_release: (writes_whatever_was_written_meanwhile,),
}


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
@pytest.mark.parametrize("scenario", CASES, ids=lambda scenario: scenario.__name__)
async def test_correct_worker_passes_the_fault(system: System, scenario: Scenario) -> None:
    async with scenario(system, partial(system.worker, command=MODULE, **SETTINGS)) as outcome:
        report = await run_verify(outcome.system)
    assert report["findings"] == []


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("scenario", "fault"),
    [pytest.param(scenario, fault, id=fault.__name__) for scenario, faults in CASES.items() for fault in faults],
)
async def test_faulty_worker_is_detected(system: System, scenario: Scenario, fault: Mutant) -> None:
    """Exit code 1, a finding of the expected kind and place, and no finding of another kind."""
    async with scenario(system, partial(system.worker, command=mutant_worker.command(fault), **SETTINGS)) as outcome:
        report = await run_verify(outcome.system, code=1)
    found = without_texts(report)
    assert outcome.finding in found, report["findings"]
    assert {one["kind"] for one in found} == {outcome.finding["kind"]}
