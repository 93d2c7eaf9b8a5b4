"""Dismiss dead letters: an operator settles them without a redrive. A plan first, then exactly this plan."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from worker.rules.errors import Conflict, Unavailable
from worker.stored_dead_letters import DeadLetter, DeadLetterState, Dismissal

NOTE_CHARS_MAX = 1_000

_BATCH = 200
"""Dead letters in one transaction: its locks are held for milliseconds."""

_ATTEMPTS_MAX = 5


class Dismissals(Protocol):
    async def dismiss(self, ids: Sequence[UUID], dismissal: Dismissal) -> Sequence[UUID]:
        """Insert the dismissal of those that are open, in one transaction. Returns the ids of these.

        Raises:
            Unavailable: the database does not answer.
            Conflict: another command dismissed one of them at the same moment; nothing was written.
            ConfigurationError: the login lacks the privilege.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissalPlan:
    """`selected`: the dead letters, pinned; only those that are open are dismissed."""

    selected: Sequence[DeadLetter]
    note: str

    @property
    def open_ids(self) -> Sequence[UUID]:
        return [one.id for one in self.selected if one.state is DeadLetterState.OPEN]

    @property
    def sha256(self) -> str:
        """Of the note and the ids that are dismissed, in hexadecimal; their order makes no difference."""
        content = {"note": self.note, "ids": sorted(map(str, self.open_ids))}
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


async def execute(plan: DismissalPlan, store: Dismissals, dismissal: Dismissal, dismissed: set[UUID]) -> None:
    """Dismiss what is still open, and add the ids of these to `dismissed`. Others stay as they are.

    Raises:
        Unavailable: the database does not answer, or another command dismisses the same dead letters.
        ConfigurationError: as `Dismissals`.
    """
    ids = plan.open_ids
    for first in range(0, len(ids), _BATCH):
        dismissed.update(await _dismiss(ids[first : first + _BATCH], store, dismissal))


async def _dismiss(ids: Sequence[UUID], store: Dismissals, dismissal: Dismissal) -> Sequence[UUID]:
    for _ in range(_ATTEMPTS_MAX):
        try:
            return await store.dismiss(ids, dismissal)
        except Conflict:
            continue
    raise Unavailable("another command dismisses the same dead letters; run this one again when that has ended")
