"""Workers with a fault, to see that a death brings it to light."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from worker.domain.decide import decide
from worker.domain.errors import Abandoned
from worker.domain.message import Message
from worker.domain.state import Duplicate, Outcome, State
from worker.handling.publications import Publications
from worker.ports import Publication
from worker.runtime.assignment import Assignment
from worker.runtime.delivery import Delivery, Tenure

Mutant = Callable[[pytest.MonkeyPatch], None]

_deliver, _acknowledge, _of = Delivery.deliver, Delivery._acknowledge, Publications.of


def commits_the_offset_before_the_rows(patch: pytest.MonkeyPatch) -> None:
    done_early = _done_early(patch)

    async def deliver(
        self: Delivery, message: Message, tenure: Tenure, place: AbstractAsyncContextManager[None]
    ) -> Outcome:
        done_early(tenure, message)
        return await _deliver(self, message, tenure, place)

    patch.setattr(Delivery, "deliver", deliver)


def commits_the_offset_before_it_publishes(patch: pytest.MonkeyPatch) -> None:
    done_early = _done_early(patch)

    async def acknowledge(
        self: Delivery, publications: tuple[Publication, ...], message: Message, tenure: Tenure
    ) -> None:
        done_early(tenure, message)
        await _acknowledge(self, publications, message, tenure)

    patch.setattr(Delivery, "_acknowledge", acknowledge)


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
        self: Delivery, message: Message, tenure: Tenure, place: AbstractAsyncContextManager[None]
    ) -> Outcome:
        if tenure.ended.is_set():
            raise Abandoned
        foreseen: list[Outcome] = []

        def rehearse(state: State, message: Message) -> Outcome:
            foreseen.append(decide(state, message))
            return Duplicate(entries=(), rejection=None)  # and so nothing is written

        await self._store.transact(message, rehearse)
        publications = self._publications.of(foreseen[0], message, attempts=1)
        await self._acknowledge(publications, message, tenure)
        return await _deliver(self, message, tenure, place)

    patch.setattr(Delivery, "deliver", deliver)


class _TriedOnceError(Exception):
    pass


def takes_a_failed_try_for_done(patch: pytest.MonkeyPatch) -> None:
    async def pause(*_: object, **__: object) -> bool:
        raise _TriedOnceError

    async def deliver(
        self: Delivery, message: Message, tenure: Tenure, place: AbstractAsyncContextManager[None]
    ) -> Outcome:
        try:
            return await _deliver(self, message, tenure, place)
        except _TriedOnceError:
            return Duplicate(entries=(), rejection=None)

    patch.setattr(Delivery, "_pause", pause)
    patch.setattr(Delivery, "deliver", deliver)


HIDDEN_WHILE_ALIVE = (commits_the_offset_before_it_publishes, publishes_before_the_rows_are_there)
SEEN_ANYWAY = (commits_the_offset_before_the_rows, says_nothing_of_what_it_finds_done, takes_a_failed_try_for_done)
"""For a commit is refused, an answer lost and a partition taken away, without anybody's death."""
