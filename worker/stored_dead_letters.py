"""Dead letters as the database edge reads them: rejections with their dismissals, filters, keys, counts."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from worker.pages import PageKey
from worker.rules.rows import Rejection


class DeadLetterState(StrEnum):
    """Of a dead letter, and of a selection. A dismissed dead letter that was resolved afterwards is resolved."""

    OPEN = "open"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """A dead letter must pass all filters that are not None. `since`, `until`: of `created_at`, `until` exclusive.
    `detail_contains`: in any case, of ASCII dead_letters at least. `type`: the full name.
    """

    reason: str | None = None
    source: str | None = None
    type: str | None = None
    release: UUID | None = None
    topic: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    detail_contains: str | None = None
    state: DeadLetterState = DeadLetterState.OPEN

    @property
    def narrowed(self) -> bool:
        """Whether any filter but the state is given."""
        return self != Filters(state=self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissal:
    """A row of `release_event_dismissals`."""

    dismissed_at: datetime
    dismissed_by: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A rejected event, and whether an operator has dismissed it."""

    rejection: Rejection
    dismissal: Dismissal | None = None

    @property
    def id(self) -> UUID:
        return self.rejection.id

    @property
    def key(self) -> PageKey:
        return PageKey(self.rejection.created_at, self.rejection.id)

    @property
    def state(self) -> DeadLetterState:
        if self.rejection.resolved_at is not None:
            return DeadLetterState.RESOLVED
        return DeadLetterState.OPEN if self.dismissal is None else DeadLetterState.DISMISSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Dead letters that have one value in common. `first`, `last`: the times of their events. `releases`: how many they
    name. `value`: None: an event without it.
    """

    value: str | None
    count: int
    first: datetime
    last: datetime
    releases: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A part of a rejection."""

    reason: str
    detail: str
    created_at: datetime
    release_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveLine:
    """One redrive of a dead letter. `state`: the step that it has reached. `outcome`: None: none yet."""

    started_at: datetime
    operator: str
    state: str
    outcome: str | None
    detail: str | None
