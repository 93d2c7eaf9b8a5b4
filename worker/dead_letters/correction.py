"""Corrections: a new event takes the place of a rejected one, and its decision resolves that rejection."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from schemas.text import utf16_units
from worker.rules.identity import activity_id
from worker.rules.rows import Activity, Rejection
from worker.stored_dead_letters import DeadLetter, DeadLetterState

_ID_UNITS_MAX = 255
_SUFFIX = "/corrected-"
_POLL_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
_STALE = "EVENT_STALE"


class Corrected(StrEnum):
    """What the worker decided on a correction."""

    APPLIED = "applied"
    STALE = "stale"
    REJECTED = "rejected"
    UNDECIDED = "not decided yet"

    @property
    def resolves(self) -> bool:
        return self in {Corrected.APPLIED, Corrected.STALE}


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionOutcome:
    """`why`: reason and detail of a rejection."""

    outcome: Corrected
    why: str | None = None


class Decisions(Protocol):
    """Both methods raise Unavailable if the database does not answer."""

    async def activities_of(self, event_ids: Sequence[UUID]) -> Mapping[UUID, Activity]: ...

    async def rejections_of(self, event_ids: Sequence[UUID]) -> Mapping[UUID, Rejection]: ...


def corrected_id(event_id: str | None, rejection_id: UUID) -> str:
    """An id for the correction of an event: `<id>/corrected-1`, and for the correction of that `<id>/corrected-2`.
    `event_id`: None or empty for an event without one, which gets the id of its rejection instead.
    """
    stem, suffix, number = (event_id or str(rejection_id)).rpartition(_SUFFIX)
    if suffix and number.isascii() and number.isdigit():
        end = f"{_SUFFIX}{int(number[:9]) + 1}"
    else:
        stem, end = event_id or str(rejection_id), f"{_SUFFIX}1"
    while utf16_units(stem) + len(end) > _ID_UNITS_MAX:
        stem = stem[:-1]
    return stem + end


def refusal(dead_letter: DeadLetter, *, source: str, event_id: str) -> str | None:
    """Why an event with this identity cannot correct the dead letter; None: it can."""
    rejection = dead_letter.rejection
    if dead_letter.state is DeadLetterState.RESOLVED:
        return f"dead letter {dead_letter.id} is resolved already"
    if activity_id(source=source, event_id=event_id) == rejection.id:
        return "the correction has the source and the id of the rejected event; give it an id of its own"
    if rejection.event_source is not None and rejection.event_source != source:
        return (
            f"the correction has the source {source}, the rejected event {rejection.event_source}; "
            "only an event of the same source can correct it"
        )
    return None


async def known(decisions: Decisions, event: UUID) -> CorrectionOutcome | None:
    """What was decided on this event; None: nothing yet.

    Raises:
        Unavailable: the database does not answer.
    """
    if (activity := (await decisions.activities_of([event])).get(event)) is not None:
        stale = activity.activity_type == _STALE
        return CorrectionOutcome(outcome=Corrected.STALE if stale else Corrected.APPLIED)
    if (rejection := (await decisions.rejections_of([event])).get(event)) is not None:
        return CorrectionOutcome(outcome=Corrected.REJECTED, why=f"{rejection.reason}: {rejection.detail}")
    return None


async def decided(decisions: Decisions, event: UUID, *, wait_seconds: float) -> CorrectionOutcome:
    """The decision on this event, if there is one within the time.

    Raises:
        Unavailable: the database does not answer.
    """
    loop = asyncio.get_running_loop()
    ends_at_seconds, attempt = loop.time() + wait_seconds, 0
    while True:
        if (found := await known(decisions, event)) is not None:
            return found
        left_seconds = ends_at_seconds - loop.time()
        if left_seconds <= 0:
            return CorrectionOutcome(outcome=Corrected.UNDECIDED)
        await asyncio.sleep(min(left_seconds, _POLL_SECONDS[min(attempt, len(_POLL_SECONDS) - 1)]))
        attempt += 1
