"""Chains of messages of one release, delivered with faults of every step: each has its effect once and in order."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.hypothesis_profile import examples
from tests.properties.chains import ANY, CUTS, POINTED, SUPERSEDING, Step, chains, sent, steps
from tests.properties.world import World
from tests.unit.pipeline.scripted import TOPICS, SimulatedClock, make_delivery, probing, the_monitors
from worker.pipeline import chains as chains_module
from worker.pipeline import delivery as delivery_module
from worker.pipeline import executor as executor_module
from worker.pipeline import transaction as transaction_module
from worker.pipeline.breaker import Breaker
from worker.pipeline.chains import ChainDelivery
from worker.pipeline.delivery import CommittedChain, Delivery, InFlight
from worker.pipeline.executor import Executor, SecondStep
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.partition_state import PartitionState
from worker.pipeline.publish import PublishStep
from worker.ports import OutgoingRecord, Partition, Transaction
from worker.rules.decide import duplicate
from worker.rules.errors import Conflict, StaleRead, Unavailable
from worker.rules.message import Message, RecordPosition
from worker.rules.query import Query
from worker.rules.state import State
from worker.telemetry import Metrics

PARTITION = Partition("in", 0)
OUTGOING = OutgoingRecords(topics=TOPICS, content_mode="binary", source="/test", worker="test")
FAULTS = [
    *[""] * 6,
    "raised",
    "effect, then raised",
    "conflict",
    "stale",
    "unavailable",
    "intruder",
    "lease ended",
    "cut off",
]
"""Of one call. `intruder`: another worker changes the release before the write. `cut off`: the lease ends, and this and
the next publication are not acknowledged.
"""

STORIES = st.one_of(
    st.lists(steps(ANY, again=st.just(0), corrects=st.just(0)), min_size=2, max_size=20),
    st.lists(SUPERSEDING, min_size=4, max_size=20),
)


class Model:
    """Store and publisher over tables in memory; `faults` has one of FAULTS for each call, and then none."""

    def __init__(self, messages: Sequence[Message], faults: Sequence[str], lease: PartitionState) -> None:
        self.world = World(environments=POINTED)
        self.messages = {message.id: message for message in messages}
        self.lease = lease
        self.effects: list[UUID] = []
        self.published: list[OutgoingRecord] = []
        self._faults: Iterator[str] = iter(faults)
        self._refused = 0
        self.pings = 0

    def _fault(self) -> str:
        fault = next(self._faults, "")
        if fault in {"lease ended", "cut off"}:
            self.lease.ended.set()
        if fault == "cut off":
            self._refused = 2
        return fault

    async def load(self, queries: Sequence[Query]) -> Sequence[State]:
        await asyncio.sleep(0)
        if self._fault() in {"raised", "unavailable", "effect, then raised"}:
            raise Unavailable("down")
        return [self.world.load(self.messages[query.event_id]) for query in queries]

    async def write(self, transactions: Sequence[Transaction], *, patient: bool = True) -> Sequence[Exception | None]:
        await asyncio.sleep(0)
        fault = self._fault()
        if fault == "raised":
            raise Unavailable("down")
        if fault == "intruder":
            self._intrude()
        results: list[Exception | None] = []
        written: set[UUID] = set()
        for number, one in enumerate(transactions):
            error = self._fault() if number else fault
            results.append(self._write(one, error, written))
        if fault == "effect, then raised":
            raise Unavailable("the answer is lost")
        return results

    def _write(self, one: Transaction, fault: str, written: set[UUID]) -> Exception | None:
        if one.follows is not None and one.follows not in written:
            return StaleRead("its predecessor is not written")
        release_id = one.query.release_id
        if one.state.release is not None and self.world.versions.get(release_id) != one.state.release_version:  # type: ignore[arg-type]
            return StaleRead("the release has changed")
        if fault in {"conflict", "stale", "unavailable"}:
            return {"conflict": Conflict, "stale": StaleRead, "unavailable": Unavailable}[fault]("a fault")
        if self.world.load(self.messages[one.query.event_id]).activities:
            return Conflict("the event is known")
        self.world.write_changes(one.changes)
        written.add(one.query.event_id)
        self.effects.append(one.query.event_id)
        return None

    def _intrude(self) -> None:
        """Another event of the release: it moves the version by one."""
        for release_id in self.world.versions:
            self.world.versions[release_id] += 1

    async def ping(self) -> None:
        self.pings += 1
        await asyncio.sleep(0)

    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        await asyncio.sleep(0)
        fault = self._fault()
        if self._refused:
            self._refused -= 1
            raise Unavailable("not acknowledged")
        if fault in {"raised", "conflict"}:
            raise Unavailable("not acknowledged")
        self.published += outgoing
        if fault == "effect, then raised":
            raise Unavailable("the acknowledgement is lost")


async def run(messages: Sequence[Message], lengths: Sequence[int], faults: Sequence[str]) -> None:
    """The executor forms chains of these lengths."""
    lease = PartitionState(PARTITION)
    model = Model(messages, faults, lease)
    clock, metrics, breaker = SimulatedClock(), Metrics(), Breaker(events=0, rejected_share_max=0.5)
    publisher: Any = model
    monitors = the_monitors(model, publisher, clock, metrics)
    delivery = make_delivery(model, publisher, clock, monitors=monitors, breaker=breaker, metrics=metrics)
    completed: list[UUID] = []
    released: list[UUID] = []
    cut = (len(chain) for chain in chains(messages, iter([*lengths, *[1] * len(messages)])))

    def chain_of(queue: deque[Any]) -> list[Any]:
        return [queue.popleft() for _ in range(next(cut))]

    def complete(one: InFlight) -> None:
        completed.append(one.message.id)
        check(model, messages, completed)

    def run_chain(chain: Sequence[InFlight]) -> Awaitable[SecondStep | None]:
        return delivered.run(chain)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor_module, "_chain", chain_of)
        async with probing(monitors):
            async with asyncio.TaskGroup() as group:
                executor = Executor(group, run_chain, concurrency=4)
                delivered = ChainDelivery(
                    delivery=delivery,
                    slot=executor.slot,
                    complete=complete,
                    release=lambda one: released.append(one.message.id),
                    chain_ended=lambda: None,
                )
                for message in messages:
                    record = message.record
                    counted = breaker.expect(RecordPosition(record.topic, record.partition, record.offset))
                    executor.submit("release", InFlight(message=message, lease=lease, counted=counted))
            check(model, messages, completed)
            async with asyncio.timeout(1):
                await lease.drained()
    assert sorted(released) == sorted(message.id for message in messages)
    if not lease.ended.is_set():
        assert completed == [message.id for message in messages]


def check(model: Model, messages: Sequence[Message], completed: Sequence[UUID]) -> None:
    order = {message.id: number for number, message in enumerate(messages)}
    effects = [order[id_] for id_ in model.effects]
    assert effects == list(range(len(effects))), "once, and in order"
    assert [order[id_] for id_ in completed] == list(range(len(completed))), "in order"
    assert len(completed) <= len(effects), "completed before its effect"
    first = list(dict.fromkeys(map(id_of, model.published)))
    expected = [id_ for message in messages[: len(effects)] for id_ in outgoing_ids(model, message)]
    assert first == expected[: len(first)], "published in order"
    needed = [id_ for message in messages[: len(completed)] for id_ in outgoing_ids(model, message)]
    assert set(needed) <= set(first), "completed before its records were acknowledged"


def id_of(record: OutgoingRecord) -> bytes | None:
    headers = dict(record.headers)
    return headers.get("rudder-id") or headers.get("ce_id")


def outgoing_ids(model: Model, message: Message) -> list[bytes | None]:
    """What the stored rows of an event call for."""
    outcome = duplicate(model.world.load(replace(message, record=replace(message.record, headers=()))), message)
    assert outcome is not None
    return [id_of(record) for record in OUTGOING.of(outcome, message, attempts=1, trace_headers=())]


def deliver_stories(number: int, *, phases: Sequence[Phase] = tuple(Phase)) -> None:
    """The property, for so many examples."""

    @given(story=STORIES, lengths=CUTS, faults=st.lists(st.sampled_from(FAULTS), max_size=60))
    @settings(
        max_examples=number,
        phases=phases,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    def property_(story: list[Step], lengths: list[int], faults: list[str]) -> None:
        asyncio.run(run(sent(story), lengths, faults))

    property_()


def test_faulty_steps_lose_double_and_reorder_nothing() -> None:
    deliver_stories(examples(100))


def _predecessors_ignored(patch: pytest.MonkeyPatch) -> None:
    def transaction(**fields: Any) -> Transaction:
        return Transaction(**{**fields, "follows": None})

    patch.setattr(transaction_module, "Transaction", transaction)


def _errors_ignored(patch: pytest.MonkeyPatch) -> None:
    async def process_chain(messages: Sequence[Message], store: Any, decider: Any) -> Any:
        write = store.write

        async def written(transactions: Sequence[Transaction]) -> Sequence[None]:
            return [None for _ in await write(transactions)]

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(store, "write", written)
            return await transaction_module.process_chain(messages, store, decider)

    patch.setattr(delivery_module, "process_chain", process_chain)


def _publication_ignored(patch: pytest.MonkeyPatch) -> None:
    together = PublishStep.publish_together

    async def publish_together(self: PublishStep, decided: Any) -> Any:
        return await together(self, decided) or ()

    patch.setattr(PublishStep, "publish_together", publish_together)


def _published_in_reverse(patch: pytest.MonkeyPatch) -> None:
    together = PublishStep.publish_together

    async def publish_together(self: PublishStep, decided: Any) -> Any:
        return await together(self, decided[::-1])

    patch.setattr(PublishStep, "publish_together", publish_together)


def _retried_before_its_predecessor(patch: pytest.MonkeyPatch) -> None:
    """The messages that a chain has not delivered are counted as delivered."""
    publish = Delivery.publish_chain

    async def publish_chain(self: Delivery, committed: CommittedChain) -> int:
        return await publish(self, committed) and len(committed.chain)

    patch.setattr(Delivery, "publish_chain", publish_chain)


def _next_chain_not_held_back(patch: pytest.MonkeyPatch) -> None:
    """The next chain is committed although a message of this one is not."""
    patch.setattr(CommittedChain, "whole", True)


def _published_after_a_lost_lease(patch: pytest.MonkeyPatch) -> None:
    """A chain is published although the one before it has lost its lease."""
    run_step = chains_module._PublishChain.run

    async def run(self: Any, *, completed: bool) -> bool:
        del completed
        return await run_step(self, completed=True)

    patch.setattr(chains_module._PublishChain, "run", run)


@pytest.mark.parametrize(
    "fault",
    [
        _predecessors_ignored,
        _errors_ignored,
        _publication_ignored,
        _published_in_reverse,
        _retried_before_its_predecessor,
        _next_chain_not_held_back,
    ],
)
def test_programming_fault_is_found(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    with pytest.raises((AssertionError, BaseExceptionGroup)) as caught:
        deliver_stories(2_000, phases=[Phase.generate])
    assert isinstance(caught.value, AssertionError) or caught.group_contains(AssertionError)


def cut_off_everywhere() -> None:
    """Three chains, and the lease ends at each call."""
    for position in range(40):
        asyncio.run(run(sent([Step()] * 9), [3] * 9, [*[""] * position, "cut off"]))


def test_chain_behind_a_lost_lease_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is committed by then. The partition's next owner publishes the records of both, in order."""
    cut_off_everywhere()
    _published_after_a_lost_lease(monkeypatch)
    with pytest.raises(BaseExceptionGroup) as caught:
        cut_off_everywhere()
    assert caught.group_contains(AssertionError)
