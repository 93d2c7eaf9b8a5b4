"""Foreign messages are dispatched when their releases are found, in offset order, in few round trips."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import pytest

from schemas.adapters.foreign import Artifact
from schemas.event import ReleaseReference
from tests.conformance.release_messages import ReleaseMessages
from tests.unit.foreign_messages import ForeignMessages, commit
from tests.unit.pipeline.scripted import SimulatedClock
from worker.pipeline.backoff import Backoff
from worker.pipeline.breaker import Breaker
from worker.pipeline.delivery import InFlight
from worker.pipeline.dependency_monitor import DependencyMonitor
from worker.pipeline.partition_state import PartitionState
from worker.pipeline.resolution import BATCH_MAX, ReleaseResolution
from worker.ports import Partition
from worker.rules.errors import StaleRead, Unavailable
from worker.rules.message import Claim, Message, RecordPosition
from worker.telemetry import Metrics

LEASE = Partition("hooks", 0)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Resolving:
    """`found`: the releases that there are. `calls`: the references of each round trip. `held`: claims in flight."""

    def __init__(self) -> None:
        self.found: dict[ReleaseReference, UUID] = {}
        self.calls: list[Sequence[ReleaseReference]] = []
        self.failures: list[Exception] = []
        self.submitted: list[Message] = []
        self.held: set[Claim] = set()
        self.lease = PartitionState(LEASE)
        self._breaker = Breaker(events=0, rejected_share_max=0.0)
        clock = SimulatedClock()
        backoff = Backoff(initial_seconds=0.1, max_seconds=1.0)
        self.monitor = DependencyMonitor(
            "database", self._ping, backoff=backoff, patience_seconds=1.0, clock=clock, metrics=Metrics()
        )
        self.resolution = ReleaseResolution(self, monitor=self.monitor, clock=clock)

    async def _ping(self) -> None:
        pass

    async def find_releases(self, references: Sequence[ReleaseReference]) -> Sequence[UUID | None]:
        self.calls.append(references)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        return [self.found.get(reference) for reference in references]

    def add(self, message: Message, *, lease: PartitionState | None = None) -> Message:
        counted = self._breaker.expect(RecordPosition.of(message.record))
        self.resolution.add(InFlight(message=message, lease=lease or self.lease, counted=counted), self._submit)
        return message

    def _submit(self, in_flight: InFlight) -> None:
        self.submitted.append(in_flight.message)

    def _running(self, claims: Sequence[Claim]) -> bool:
        return any(claim in self.held for claim in claims)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.resolution.run(self._submit, self._running))
            probing = group.create_task(self.monitor.run())
            try:
                yield
            finally:
                task.cancel()
                probing.cancel()


def deployed(shop: ForeignMessages, number: int) -> Message:
    return shop.event("deployment.succeeded", Artifact(commit=commit(number)), run=str(number))


async def test_own_messages_pass_at_once() -> None:
    resolving = Resolving()
    own = resolving.add(ReleaseMessages().created())
    assert resolving.submitted == [own]
    assert resolving.calls == []


async def test_found_release_replaces_the_derived_one() -> None:
    resolving, shop = Resolving(), ForeignMessages()
    async with resolving.running():
        message = deployed(shop, 1)
        assert message.reference is not None
        resolving.found[message.reference] = UUID(int=77)
        resolving.add(message)
        other = resolving.add(deployed(shop, 2))
        await settle()
    assert [one.release_id for one in resolving.submitted] == [UUID(int=77), other.release_id]
    assert resolving.submitted[0].ordering_key == UUID(int=77)


async def test_releases_of_several_are_found_together() -> None:
    resolving, shop = Resolving(), ForeignMessages()
    messages = [resolving.add(deployed(shop, number)) for number in range(1, BATCH_MAX + 3)]
    async with resolving.running():
        await settle()
    assert [len(call) for call in resolving.calls] == [BATCH_MAX, 2]
    assert [one.id for one in resolving.submitted] == [one.id for one in messages]


async def test_events_of_one_artifact_are_looked_up_once() -> None:
    resolving, shop = Resolving(), ForeignMessages()
    for kind in ("requested", "started", "succeeded"):
        resolving.add(shop.event(f"deployment.{kind}", Artifact(commit=commit(1))))
    async with resolving.running():
        await settle()
    assert [len(call) for call in resolving.calls] == [1]
    assert len(resolving.submitted) == 3


async def test_later_own_message_waits_for_its_turn() -> None:
    """Its release may be the one that the foreign message before it belongs to."""
    resolving, shop = Resolving(), ForeignMessages()
    first = resolving.add(deployed(shop, 1))
    own = resolving.add(ReleaseMessages().created())
    assert resolving.submitted == []
    async with resolving.running():
        await settle()
    assert [one.id for one in resolving.submitted] == [first.id, own.id]


async def test_event_waits_for_a_creator_of_its_artifact() -> None:
    """In the same batch, or submitted before and not ended."""
    resolving, shop = Resolving(), ForeignMessages()
    resolving.add(shop.event("deployment.started", Artifact(tag="1.2"), run="a"))
    creator = shop.event("deployment.started", Artifact(tag="1.3", commit=commit(1)), run="b")
    resolving.add(creator)
    second = resolving.add(deployed(shop, 1))
    async with resolving.running():
        await asyncio.sleep(0)
        resolving.held = set(creator.artifact_claims)
        await settle()
        assert [one.id for one in resolving.submitted][-1] == creator.id
        resolving.held.clear()
        resolving.resolution.message_ended()
        await settle()
    assert resolving.submitted[-1].id == second.id
    assert [len(call) for call in resolving.calls] == [2, 1]


async def test_waiting_message_blocks_only_its_partition() -> None:
    """A message that is repeated for hours, behind a lock for example, holds up no other partition."""
    resolving, shop = Resolving(), ForeignMessages()
    blocked = deployed(shop, 1)
    resolving.held = set(blocked.artifact_claims)
    resolving.add(blocked)
    behind = resolving.add(ReleaseMessages().created())
    other = resolving.add(deployed(shop, 2), lease=PartitionState(Partition("hooks", 1)))
    async with resolving.running():
        await settle()
        assert [one.id for one in resolving.submitted] == [other.id]
        resolving.held.clear()
        resolving.resolution.message_ended()
        await settle()
    assert [one.id for one in resolving.submitted] == [other.id, blocked.id, behind.id]


async def test_event_waits_for_an_earlier_one_of_its_run() -> None:
    """They may name different artifacts: the first one decides to which release the run belongs."""
    resolving, shop = Resolving(), ForeignMessages()
    for artifact in (Artifact(tag="1.2"), Artifact(commit=commit(9))):
        resolving.add(shop.event("deployment.started", artifact, run="7"))
    async with resolving.running():
        await settle()
    assert [len(call) for call in resolving.calls] == [1, 1]


async def test_outage_is_waited_out() -> None:
    resolving, shop = Resolving(), ForeignMessages()
    resolving.failures = [Unavailable("no answer"), Unavailable("no answer")]
    resolving.add(deployed(shop, 1))
    async with resolving.running():
        while not resolving.submitted:
            await asyncio.sleep(0)
    assert len(resolving.calls) == 3


async def test_fault_of_one_lookup_is_its_own() -> None:
    """A value that the database refuses: the message is dispatched, and its processing reports the fault."""
    resolving, shop = Resolving(), ForeignMessages()
    resolving.failures = [ValueError("refused"), ValueError("refused")]
    first, second = (deployed(shop, number) for number in (1, 2))
    assert second.reference is not None
    resolving.found[second.reference] = UUID(int=77)
    resolving.add(first)
    resolving.add(second)
    async with resolving.running():
        await settle()
    assert [one.release_id for one in resolving.submitted] == [first.release_id, UUID(int=77)]


async def test_conflict_of_a_lookup_is_attempted_again() -> None:
    """A deadlock, for example: without an answer, a second release would be created."""
    resolving, shop = Resolving(), ForeignMessages()
    resolving.failures = [StaleRead("deadlock")]
    message = deployed(shop, 1)
    assert message.reference is not None
    resolving.found[message.reference] = UUID(int=77)
    resolving.add(message)
    async with resolving.running():
        while not resolving.submitted:
            await asyncio.sleep(0)
    assert resolving.submitted[0].release_id == UUID(int=77)


async def test_lost_partition_in_an_outage_leaves_the_others_looked_up() -> None:
    resolving, shop = Resolving(), ForeignMessages()
    resolving.failures = [Unavailable("no answer")]
    first, second = (deployed(shop, number) for number in (1, 2))
    assert second.reference is not None
    resolving.found[second.reference] = UUID(int=77)
    lost = PartitionState(Partition("hooks", 1))
    resolving.add(first, lease=lost)
    resolving.add(second)
    async with resolving.running():
        while not resolving.calls:
            await asyncio.sleep(0)
        lost.ended.set()
        while len(resolving.submitted) < 2:
            await asyncio.sleep(0)
    assert [one.release_id for one in resolving.submitted] == [first.release_id, UUID(int=77)]
    assert [len(call) for call in resolving.calls] == [2, 1]


async def test_messages_of_a_lost_partition_are_not_looked_up() -> None:
    resolving, shop = Resolving(), ForeignMessages()
    resolving.add(deployed(shop, 1))
    resolving.lease.ended.set()
    async with resolving.running():
        await settle()
    assert resolving.calls == []
    assert len(resolving.submitted) == 1


def test_release_number_is_claimed_where_the_name_finds_it() -> None:
    shop = ForeignMessages()
    builder = ReleaseMessages(component_id=shop.component_id, number=41)
    own = replace(builder.event("release.created", builder.fields), with_foreign=True)
    named = shop.event("deployment.started", Artifact(name="20260317-41"))
    assert set(own.claims) & set(named.artifact_claims)


@pytest.mark.parametrize("with_foreign", [True, False])
def test_own_creators_claim_their_artifacts(with_foreign: bool) -> None:
    """Only where foreign events can meet them: claims cost time."""
    shop = ForeignMessages()
    builder = ReleaseMessages(component_id=shop.component_id)
    own = builder.event("release.created", builder.fields | {"commit_hash": commit(1)})
    claims = replace(own, with_foreign=with_foreign).claims
    assert bool(set(claims) & set(deployed(shop, 1).artifact_claims)) is with_foreign
