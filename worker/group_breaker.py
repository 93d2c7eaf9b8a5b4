"""The breaker of a consumer group: each opening is a row, which stops all workers of the group until an operator closes
it (docs/contract.md#breaker).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from schemas.detail import printable
from worker.operator_actions import ActionLog, Operator, recorded
from worker.rules.errors import ConfigurationError
from worker.rules.message import RecordPosition

NOTE_CHARS_MAX = 1_000
_CLOSE = "rudder-worker breaker close --note TEXT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """Why the breaker opened: `rejected` of the last `events`, between two positions. `reasons` and `sources`:
    numbers of rejections, in descending order; sources are printable and shortened, and not all may be listed.
    """

    rejected: int
    events: int
    reasons: Mapping[str, int]
    sources: Mapping[str, int]
    first: RecordPosition
    last: RecordPosition

    def __str__(self) -> str:
        reasons, sources = (
            ", ".join(f"{name} {count}" for name, count in counts.items()) for counts in (self.reasons, self.sources)
        )
        return f"{self.rejected} of the last {self.events} events were rejected: {reasons}; from {sources}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A row of `worker_breakers`; without `closed_at` the breaker is open. `opened_by`: the worker process."""

    id: UUID
    group_id: str
    opened_at: datetime
    opened_by: str
    tripped: Tripped
    closed_at: datetime | None = None
    closed_by: str | None = None
    note: str | None = None

    def __str__(self) -> str:
        """Why it is open, and how to close it, in one line."""
        return f"{self.tripped}; open since {utc(self.opened_at)}, opened by {self.opened_by}; close it with {_CLOSE}"

    def as_json(self) -> dict[str, object]:
        """For `breaker status --json`; times in ISO 8601."""
        tripped = self.tripped
        return {
            "id": str(self.id),
            "opened_at": utc(self.opened_at),
            "opened_by": self.opened_by,
            "events": tripped.events,
            "rejected": tripped.rejected,
            "reasons": dict(tripped.reasons),
            "sources": dict(tripped.sources),
            "first": tripped.first._asdict(),
            "last": tripped.last._asdict(),
            "closed_at": self.closed_at and utc(self.closed_at),
            "closed_by": self.closed_by,
            "note": self.note,
        }


class Openings(Protocol):
    """The table `worker_breakers`. Each method raises Unavailable if the database does not answer, and
    ConfigurationError if it refuses the login a privilege.
    """

    async def current(self, group_id: str) -> Opening | None:
        """The open one of the group: one round trip."""
        ...

    async def find(self, id_: UUID) -> Opening | None: ...

    async def record(self, opening: Opening) -> Opening | None:
        """Write the opening, unless the group has an open one. The open one, or this one if an earlier call wrote it
        and it was closed since; None: the one that was in the way is closed now, so call again.
        """
        ...

    async def past(self, group_id: str, *, limit: int) -> Sequence[Opening]:
        """The closed ones of the group, the latest first."""
        ...

    async def close(self, id_: UUID, *, closed_at: datetime, closed_by: str, note: str) -> bool:
        """Close it; False: it is closed already."""
        ...


async def close(openings: Openings, log: ActionLog, group_id: str, *, note: str, operator: Operator) -> Opening:
    """Close the group's breaker, recorded in `operator_actions`; the opening as it was.

    Raises:
        ConfigurationError: the note is none, or the breaker is not open.
        Unavailable: the database does not answer.
    """
    note = printable(note.strip())
    if not note:
        raise ConfigurationError("--note: the note is empty; say what the cause was, and what was done about it")
    if len(note) > NOTE_CHARS_MAX:
        raise ConfigurationError(f"--note: the note has {len(note)} characters; at most {NOTE_CHARS_MAX} are stored")
    opening = await openings.current(group_id)
    if opening is None:
        raise ConfigurationError(f"the breaker of group {group_id} (RUDDER_GROUP_ID) is not open; nothing to close")
    arguments = {"group": group_id, "opening": str(opening.id), "note": note}
    async with recorded(log, operator=operator, command="breaker close", arguments=arguments) as progress:
        closed_at = progress.action.started_at
        if not await openings.close(opening.id, closed_at=closed_at, closed_by=operator.name, note=note):
            raise ConfigurationError(f"another operator has closed the breaker of group {group_id} meanwhile")
        progress.counts["closed"] = 1
    return opening


def utc(at: datetime) -> str:
    """ISO 8601, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
