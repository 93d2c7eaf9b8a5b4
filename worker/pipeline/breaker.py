"""The breaker: it opens when too many of the last events were rejected.

A faulty publisher, a wrong topic or a restored database would turn a whole topic into dead letters. An operator has to
find the cause first.

Events are counted in the order in which they were read, within a partition by offset. The order of decisions would
overstate rejections, which are decided sooner than events that wait for their release.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from schemas.detail import printable
from worker.rules.state import Duplicate, Outcome, Rejected


class Position(NamedTuple):
    """The position of a record."""

    topic: str
    partition: int
    offset: int


SOURCES_MAX = 5
_SOURCE_CHARS_MAX = 200
_NO_SOURCE = "records without a source"


@dataclass(slots=True, eq=False)
class Counted:
    """One event, in the breaker's order. `reason`: the reason of its rejection. `source`: the source of a rejected
    event, None if it has none. `ignored`: it is not counted.

    `presumed_accepted`: it was counted as not rejected, before it was decided.
    """

    position: Position
    decided: bool = False
    ignored: bool = False
    presumed_accepted: bool = False
    reason: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """Why the breaker opened: `rejected` of the last `events`, between two positions. `reasons` and `sources`:
    numbers of rejections, in descending order; at most SOURCES_MAX sources, printable and shortened.
    """

    rejected: int
    events: int
    reasons: Mapping[str, int]
    sources: Mapping[str, int]
    first: Position
    last: Position

    def __str__(self) -> str:
        reasons, sources = (
            ", ".join(f"{name} {count}" for name, count in counts.items()) for counts in (self.reasons, self.sources)
        )
        return f"{self.rejected} of the last {self.events} events were rejected: {reasons}; from {sources}"


class Breaker:
    """Counts the last `events` decisions of this process; 0: no breaker. It opens once, until a restart.

    Events behind an undecided one are not counted until `events` of them are decided. Then the undecided one counts as
    not rejected. So an event that waits for long neither hides rejections behind it nor opens the breaker.
    """

    def __init__(self, *, events: int, rejected_share_max: float) -> None:
        self._events = events
        self._rejected_share_max = rejected_share_max
        self._order: deque[Counted] = deque()  # from the first undecided one
        self._decided = 0  # of these
        self._window: deque[Counted] = deque(maxlen=events)
        self._rejected = 0  # of the window
        self.tripped: Tripped | None = None

    def expect(self, position: Position) -> Counted:
        """Add the next event; call this in the order in which events are read."""
        counted = Counted(position)
        if self._events and self.tripped is None:
            self._order.append(counted)
        return counted

    def decided(self, counted: Counted, outcome: Outcome, *, redriven: bool = False) -> bool:
        """Record a decision; whether it opens the breaker. Duplicates and redriven events are not counted."""
        reason = None
        if isinstance(outcome, Rejected):
            reason, counted.source = outcome.rejection.reason, outcome.rejection.event_source
        return self._record(counted, reason=reason, ignored=redriven or isinstance(outcome, Duplicate))

    def dropped(self, counted: Counted) -> bool:
        """Record that this process drops an undecided event; whether that opens the breaker."""
        return self._record(counted, reason=None, ignored=True)

    def _record(self, counted: Counted, *, reason: str | None, ignored: bool) -> bool:
        if counted.decided or counted.presumed_accepted or not self._events or self.tripped is not None:
            return False
        counted.decided, counted.reason, counted.ignored = True, reason, ignored
        self._decided += 1
        while self._order and (self._order[0].decided or self._decided >= self._events):
            first = self._order.popleft()
            if first.decided:
                self._decided -= 1
            else:
                first.presumed_accepted = True
            if not (first.decided and first.ignored) and self._trips(first):
                return True
        return False

    def _trips(self, counted: Counted) -> bool:
        window = self._window
        if len(window) == self._events:
            self._rejected -= window[0].reason is not None
        window.append(counted)
        self._rejected += counted.reason is not None
        if len(window) < self._events or self._rejected / self._events <= self._rejected_share_max:
            return False
        rejected = [(one.reason, _source(one)) for one in window if one.reason is not None]
        reasons = Counter(reason for reason, _ in rejected)
        sources = Counter(source for _, source in rejected)
        self.tripped = Tripped(
            rejected=self._rejected,
            events=len(window),
            reasons=dict(reasons.most_common()),
            sources=dict(sources.most_common(SOURCES_MAX)),
            first=window[0].position,
            last=window[-1].position,
        )
        self._order.clear()
        return True


def _source(counted: Counted) -> str:
    return _NO_SOURCE if counted.source is None else printable(counted.source[:_SOURCE_CHARS_MAX])
