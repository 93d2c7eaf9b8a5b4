"""The journal of a redrive: what is known of each record, in the database, before and after each step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from worker.rules.message import RecordPosition
from worker.rules.rows import Rejection


@dataclass(frozen=True, slots=True)
class Pinned:
    """One rejection, and the position of the record that was rejected."""

    rejection_id: UUID
    position: RecordPosition

    @classmethod
    def of(cls, rejection: Rejection) -> "Pinned":
        return cls(rejection.id, RecordPosition(rejection.topic, rejection.partition, rejection.offset))


class State(StrEnum):
    """The step that a record has reached. A rejection is in SENDING or SENT of at most one redrive."""

    PLANNED = "PLANNED"
    SENDING = "SENDING"
    """It may have been sent, at `end_offset` or behind it."""
    SENT = "SENT"
    """The broker has acknowledged it, at `sent_offset`."""
    SETTLED = "SETTLED"
    """It has an outcome."""


class Settled(StrEnum):
    """The outcome of one dead letter."""

    APPLIED = "applied"
    STALE = "stale"
    DUPLICATE = "duplicate"
    """Another record of the event was applied or stale."""
    REJECTED = "rejected"
    NOT_SENT = "not sent"
    """The record cannot be read any more, or the broker refuses it."""
    SKIPPED = "skipped"
    """The group has committed an offset behind the record without a decision on it, as after a reset of its offsets."""

    @property
    def resolves(self) -> bool:
        """Whether the rejection is resolved."""
        return self in {Settled.APPLIED, Settled.STALE, Settled.DUPLICATE}


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """A row of `redrive_records`. `number`: its number in the plan. `claim`: names the process that may send it, while
    it is in SENDING. `detail`: of the outcome, such as the reason of a rejection.
    """

    number: int
    pinned: Pinned
    release_id: UUID | None
    predicted: str
    state: State = State.PLANNED
    end_offset: int | None = None
    sent_offset: int | None = None
    outcome: Settled | None = None
    detail: str | None = None
    claim: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAction:
    """A row of `operator_actions`, for a redrive that continues."""

    command: str
    arguments: Mapping[str, Any]
    plan_sha256: str | None


class Held(Exception):
    """Another redrive, or another process of this one, has the rejection in SENDING or SENT."""

    def __init__(self, action_id: UUID, rejection_id: UUID) -> None:
        super().__init__(f"dead letter {rejection_id} is being redriven by {action_id}")
        self.action_id = action_id
        self.rejection_id = rejection_id


class Journal(Protocol):
    """`redrive_records`. Each method is one transaction and may be repeated with the same arguments.

    Raises:
        Unavailable: the database does not answer.
        ConfigurationError: it refuses the login a privilege.
    """

    async def action(self, action_id: UUID) -> StoredAction | None:
        """The command that wrote the plan."""
        ...

    async def rows(self, action_id: UUID) -> Sequence[JournalRow]:
        """In the order of the plan."""
        ...

    async def held(self, rejection_ids: Sequence[UUID]) -> Mapping[UUID, UUID]:
        """Those of these rejections that a redrive has not settled, and that redrive's action."""
        ...

    async def plan(self, action_id: UUID, rows: Sequence[JournalRow]) -> None:
        """Write the whole plan, in PLANNED."""
        ...

    async def sending(self, action_id: UUID, row: JournalRow, *, end_offset: int, claim: str) -> None:
        """From PLANNED to SENDING; or, if the row is in SENDING, from its claim to this one.

        Raises:
            Held: the rejection is held, or the row is not as `row` any more.
        """
        ...

    async def sent(self, action_id: UUID, number: int, *, offset: int) -> None:
        """To SENT."""
        ...

    async def settled(self, action_id: UUID, number: int, outcome: Settled, detail: str | None) -> None:
        """To SETTLED."""
        ...
