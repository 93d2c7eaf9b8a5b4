"""Workers with a fault, to see that a death brings it to light."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from worker.domain.breaker import Counted
from worker.domain.decide import decide
from worker.domain.errors import Abandoned
from worker.domain.message import Message
from worker.domain.state import Duplicate, Outcome, State
from worker.handling.publications import Publications
from worker.ports import Publication
from worker.runtime.assignment import Assignment
from worker.runtime.delivery import Delivery
from worker.runtime.publishing import Published, Publishing
from worker.runtime.retries import Retries, Tenure

Mutant = Callable[[pytest.MonkeyPatch], None]

_deliver, _publish, _of = Delivery.deliver, Publishing.publish, Publications.of


def commits_the_offset_before_the_rows(patch: pytest.MonkeyPatch) -> None:
    done_early = _done_early(patch)

    async def deliver(
        self: Delivery,
        message: Message,
        tenure: Tenure,
        place: AbstractAsyncContextManager[None],
        counted: Counted | None = None,
    ) -> Outcome:
        done_early(tenure, message)
        return await _deliver(self, message, tenure, place, counted)

    patch.setattr(Delivery, "deliver", deliver)


def commits_the_offset_before_it_publishes(patch: pytest.MonkeyPatch) -> None:
    done_early = _done_early(patch)

    async def publish(
        self: Publishing, outcome: Outcome, message: Message, tenure: Tenure, *, attempts: int
    ) -> Published:
        done_early(tenure, message)
        return await _publish(self, outcome, message, tenure, attempts=attempts)

    patch.setattr(Publishing, "publish", publish)


def _done_early(patch: pytest.MonkeyPatch) -> Callable[[Tenure, Message], None]:
    """What says that a message is done; that it is done is then said no second time."""
    done = Assignment.done
    early: set[tuple[Tenure, int]] = set()

    def done_early(tenure: Tenure, message: Message) -> None:
        assert isinstance(tenure, Assignment)
        early.add((tenure, message.record.offset))
        done(tenure, message.record.offset)

    def done_late(self: Assignment, offset: int) -> None:
        if (self, offset) not in early:
            done(self, offset)

    patch.setattr(Assignment, "done", done_late)
    return done_early


def says_nothing_of_what_it_finds_done(patch: pytest.MonkeyPatch) -> None:
    def of(self: Publications, outcome: Outcome, message: Message, *, attempts: int) -> tuple[Publication, ...]:
        return () if isinstance(outcome, Duplicate) else _of(self, outcome, message, attempts=attempts)

    patch.setattr(Publications, "of", of)


def publishes_before_the_rows_are_there(patch: pytest.MonkeyPatch) -> None:
    async def deliver(
        self: Delivery,
        message: Message,
        tenure: Tenure,
        place: AbstractAsyncContextManager[None],
        counted: Counted | None = None,
    ) -> Outcome:
        if tenure.ended.is_set():
            raise Abandoned
        foreseen: list[Outcome] = []

        def rehearse(state: State, message: Message) -> Outcome:
            foreseen.append(decide(state, message))
            return Duplicate(entries=(), rejection=None)  # and so nothing is written

        await self._store.transact(message, rehearse)
        await self._publishing.publish(foreseen[0], message, tenure, attempts=1)
        return await _deliver(self, message, tenure, place, counted)

    patch.setattr(Delivery, "deliver", deliver)


class _TriedOnceError(Exception):
    pass


def takes_a_failed_try_for_done(patch: pytest.MonkeyPatch) -> None:
    async def pause(*_: object, **__: object) -> bool:
        raise _TriedOnceError

    async def deliver(
        self: Delivery,
        message: Message,
        tenure: Tenure,
        place: AbstractAsyncContextManager[None],
        counted: Counted | None = None,
    ) -> Outcome:
        try:
            return await _deliver(self, message, tenure, place, counted)
        except _TriedOnceError:
            return Duplicate(entries=(), rejection=None)

    patch.setattr(Retries, "_pause", pause)
    patch.setattr(Delivery, "deliver", deliver)


HIDDEN_WHILE_ALIVE = (commits_the_offset_before_it_publishes, publishes_before_the_rows_are_there)
SEEN_ANYWAY = (commits_the_offset_before_the_rows, says_nothing_of_what_it_finds_done, takes_a_failed_try_for_done)
"""For a commit is refused, an answer lost and a partition taken away, without anybody's death."""
