"""Chains of messages of one release, delivered with faults of every step: each has its effect once and in order."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
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
from worker.pipeline import delivery as delivery_module
from worker.pipeline import transaction as transaction_module
from worker.pipeline.breaker import Breaker
from worker.pipeline.delivery import Delivery, InFlight
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.partition_state import PartitionState
from worker.pipeline.publish import PublishStep
from worker.ports import OutgoingRecord, Partition, Transaction
from worker.rules.decide import duplicate
from worker.rules.errors import Conflict, LeaseLost, StaleRead, Unavailable
from worker.rules.message import Message, RecordPosition
from worker.rules.query import Query
from worker.rules.state import State
from worker.telemetry import Metrics

PARTITION = Partition("in", 0)
OUTGOING = OutgoingRecords(topics=TOPICS, content_mode="binary", source="/test", worker="test")
FAULTS = [
    "",
    "",
    "",
    "",
    "raised",
    "effect, then raised",
    "conflict",
    "stale",
    "unavailable",
    "intruder",
    "lease ended",
]
"""Of one call. `intruder`: another worker changes the release before the write."""

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
        self.pings = 0

    def _fault(self) -> str:
        fault = next(self._faults, "")
        if fault == "lease ended":
            self.lease.ended.set()
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
        if fault in {"raised", "conflict"}:
            raise Unavailable("not acknowledged")
        self.published += outgoing
        if fault == "effect, then raised":
            raise Unavailable("the acknowledgement is lost")


async def deliver(
    delivery: Delivery, chain: Sequence[InFlight], slot: AbstractAsyncContextManager[None], completed: list[UUID]
) -> None:
    """As the consumer does: what a chain does not deliver is delivered message by message."""
    delivered = await delivery.deliver_chain(chain, slot) if len(chain) > 1 else 0
    completed += [one.message.id for one in chain[:delivered]]
    for one in chain[delivered:]:
        try:
            await delivery.deliver(one.message, one.lease, slot, one.counted)
        except LeaseLost:
            continue
        completed.append(one.message.id)


async def run(messages: Sequence[Message], lengths: Sequence[int], faults: Sequence[str]) -> None:
    lease = PartitionState(PARTITION)
    model = Model(messages, faults, lease)
    clock, metrics, breaker = SimulatedClock(), Metrics(), Breaker(events=0, rejected_share_max=0.5)
    publisher: Any = model
    monitors = the_monitors(model, publisher, clock, metrics)
    delivery = make_delivery(model, publisher, clock, monitors=monitors, breaker=breaker, metrics=metrics)
    completed: list[UUID] = []
    async with probing(monitors):
        for chain in chains(messages, iter([*lengths, *[1] * len(messages)])):
            in_flight = [
                InFlight(
                    message=one,
                    lease=lease,
                    counted=breaker.expect(RecordPosition(one.record.topic, one.record.partition, one.record.offset)),
                )
                for one in chain
            ]
            await deliver(delivery, in_flight, asyncio.Semaphore(4), completed)
            check(model, messages, completed)
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
    chain_of = Delivery.deliver_chain

    async def deliver_chain(self: Delivery, chain: Any, slot: Any) -> int:
        return await chain_of(self, chain, slot) and len(chain)

    patch.setattr(Delivery, "deliver_chain", deliver_chain)


@pytest.mark.parametrize(
    "fault",
    [
        _predecessors_ignored,
        _errors_ignored,
        _publication_ignored,
        _published_in_reverse,
        _retried_before_its_predecessor,
    ],
)
def test_programming_fault_is_found(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        deliver_stories(2_000, phases=[Phase.generate])
