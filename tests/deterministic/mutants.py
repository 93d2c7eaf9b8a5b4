"""Workers with a fault that only the death of a process reveals."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from schemas.record import Headers
from worker.pipeline.breaker import Counted
from worker.pipeline.delivery import Delivery
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.partition_state import PartitionState
from worker.pipeline.publish import Decided, Published, PublishStep
from worker.pipeline.retry import Lease, Retries
from worker.pipeline.transaction import process
from worker.ports import OutgoingRecord
from worker.rules.decide import decide
from worker.rules.errors import LeaseLost
from worker.rules.message import Message
from worker.rules.state import Duplicate, Outcome, State
from worker.service.no_tracing import NoSpan

Mutant = Callable[[pytest.MonkeyPatch], None]

_deliver, _publish, _of = Delivery.deliver, PublishStep.publish, OutgoingRecords.of


def commits_the_offset_before_the_rows(patch: pytest.MonkeyPatch) -> None:
    completed_early = _completed_early(patch)

    async def deliver(
        self: Delivery,
        message: Message,
        lease: Lease,
        place: AbstractAsyncContextManager[None],
        counted: Counted | None = None,
    ) -> Outcome:
        completed_early(lease, message)
        return await _deliver(self, message, lease, place, counted)

    patch.setattr(Delivery, "deliver", deliver)


def commits_the_offset_before_it_publishes(patch: pytest.MonkeyPatch) -> None:
    completed_early = _completed_early(patch)

    async def publish(self: PublishStep, decided: Decided, lease: Lease, *, attempts: int) -> Published:
        completed_early(lease, decided.message)
        return await _publish(self, decided, lease, attempts=attempts)

    patch.setattr(PublishStep, "publish", publish)


def _one_by_one(patch: pytest.MonkeyPatch) -> None:
    """Chains are delivered message by message, so that a fault of `deliver` is a fault of all."""

    async def commit_none(*_: object) -> None:
        return None

    patch.setattr(Delivery, "commit_chain", commit_none)


def _completed_early(patch: pytest.MonkeyPatch) -> Callable[[Lease, Message], None]:
    """A function that completes a message early; its later completion does nothing."""
    _one_by_one(patch)
    complete = PartitionState.complete
    early: set[tuple[Lease, int]] = set()

    def completed_early(lease: Lease, message: Message) -> None:
        assert isinstance(lease, PartitionState)
        early.add((lease, message.record.offset))
        complete(lease, message.record.offset)

    def complete_late(self: PartitionState, offset: int) -> None:
        if (self, offset) not in early:
            complete(self, offset)

    patch.setattr(PartitionState, "complete", complete_late)
    return completed_early


def says_nothing_of_what_it_finds_done(patch: pytest.MonkeyPatch) -> None:
    def of(
        self: OutgoingRecords, outcome: Outcome, message: Message, *, attempts: int, trace_headers: Headers
    ) -> tuple[OutgoingRecord, ...]:
        if isinstance(outcome, Duplicate):
            return ()
        return _of(self, outcome, message, attempts=attempts, trace_headers=trace_headers)

    patch.setattr(OutgoingRecords, "of", of)


def publishes_before_the_rows_are_there(patch: pytest.MonkeyPatch) -> None:
    _one_by_one(patch)

    async def deliver(
        self: Delivery,
        message: Message,
        lease: Lease,
        place: AbstractAsyncContextManager[None],
        counted: Counted | None = None,
    ) -> Outcome:
        if lease.ended.is_set():
            raise LeaseLost
        foreseen: list[Outcome] = []

        def rehearse(state: State, message: Message) -> Outcome:
            foreseen.append(decide(state, message))
            return Duplicate(activities=(), rejection=None)  # so that nothing is written

        await process(message, self._store, rehearse)
        await self._publishing.publish(Decided(message=message, outcome=foreseen[0], span=NoSpan()), lease, attempts=1)
        return await _deliver(self, message, lease, place, counted)

    patch.setattr(Delivery, "deliver", deliver)


class _TriedOnceError(Exception):
    pass


def takes_a_failed_try_for_done(patch: pytest.MonkeyPatch) -> None:
    _one_by_one(patch)

    async def pause(*_: object, **__: object) -> bool:
        raise _TriedOnceError

    async def deliver(
        self: Delivery,
        message: Message,
        lease: Lease,
        place: AbstractAsyncContextManager[None],
        counted: Counted | None = None,
    ) -> Outcome:
        try:
            return await _deliver(self, message, lease, place, counted)
        except _TriedOnceError:
            return Duplicate(activities=(), rejection=None)

    patch.setattr(Retries, "_pause", pause)
    patch.setattr(Delivery, "deliver", deliver)


HIDDEN_WHILE_ALIVE = (commits_the_offset_before_it_publishes, publishes_before_the_rows_are_there)
SEEN_ANYWAY = (commits_the_offset_before_the_rows, says_nothing_of_what_it_finds_done, takes_a_failed_try_for_done)
"""A refused commit, a lost response or a revoked partition reveals these faults without the death of a process."""
