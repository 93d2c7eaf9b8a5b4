"""What a store asks of a database while it handles one message. One implementation beside each dialect."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from worker.db.pointers import Pointers
from worker.db.question import Question
from worker.db.row_decoder import Reader, Row
from worker.db.writing import Claim, NumberClaim, Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a decision rests on, and so what must still be true when it is written.

    `event_id`: that of its first log entry and of its rejection. `release_id`: the event's release, None for a record
    that is no event. `found`: whether the release was there. `version`: that of its row, None where the database keeps
    the row from changing instead. `claim`: what else may have become of the event since it was read. `number`: what
    else may have become of the number of a release that is created.
    """

    event_id: UUID
    claim: Claim
    release_id: UUID | None
    found: bool
    version: int | None
    number: NumberClaim | None = None


class Conversation(Protocol):
    """One message's turn on a connection: a question, perhaps what is known of the event, a write."""

    read: Reader

    async def ask(self, question: Question, pointers: Pointers | None) -> Sequence[Row]:
        """The answer's rows, in the columns that `worker.db.row_decoder` says."""
        ...

    async def activities(self, ids: Sequence[UUID]) -> Sequence[Row]:
        """Those that there are, in any order."""
        ...

    async def rejection(self, rejection_id: UUID) -> Row | None: ...

    async def ping(self, pointers: Pointers | None) -> None:
        """Find an outage, and what else an operator has to restore before the worker can write: a table, a right.

        `pointers`: None where `app_environments` is not written to.
        """
        ...

    async def write(self, writes: Sequence[Write], basis: Basis) -> None:
        """Write all of it and commit, or nothing.

        The event's identity is locked first, and released by the commit; see `Claim`. A rejection of an event whose
        release was not there looks for the release as well.

        Raises:
            StaleRead, Conflict: the basis is no longer true, or a guarded statement found nothing.
        """
        ...


class Conversations(Protocol):
    """The connections of a store."""

    def begin(self) -> AbstractAsyncContextManager[Conversation]:
        """A connection for one message. What is not written when it is left is undone."""
        ...

    async def close(self) -> None: ...
