"""The dead-letter breaker: whether so many of the last events were rejected that it is no longer about events.

A publisher that was deployed wrong, a topic that is not what it was taken for, a database restored from last week: each
makes a worker pour a whole topic into the dead letters, quickly and in good order. Somebody has to look first.

Events are counted in the order in which they were read, that is in the order of their offsets within a partition, and
not in the order in which they are decided: rejections are decided sooner than events that wait for their release.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from schemas.detail import printable
from worker.rules.state import Duplicate, Outcome, Rejected


class Position(NamedTuple):
    """Where a record is."""

    topic: str
    partition: int
    offset: int


SOURCES_MAX = 5
_SOURCE_CHARS_MAX = 200
_NO_SOURCE = "records without a source"


@dataclass(slots=True, eq=False)
class Counted:
    """One event in the breaker's order. `reason`: why it was rejected; `source`: the source of a rejected event, None
    where the record has none; `ignored`: it counts neither way.

    `passed`: it was counted as not rejected before it was decided.
    """

    position: Position
    decided: bool = False
    ignored: bool = False
    wait_until_available: bool = False
    reason: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """Why it tripped: `rejected` of the `judged` events between two positions. `reasons` and `sources`: the number of
    rejections for each, the most frequent first; at most SOURCES_MAX sources, printable and cut.
    """

    rejected: int
    judged: int
    reasons: Mapping[str, int]
    sources: Mapping[str, int]
    first: Position
    last: Position

    def __str__(self) -> str:
        reasons, sources = (
            ", ".join(f"{name} {count}" for name, count in counts.items()) for counts in (self.reasons, self.sources)
        )
        return f"{self.rejected} of the last {self.judged} events were rejected: {reasons}; from {sources}"


class Breaker:
    """Looks at the last `events` decisions of this process; 0 switches it off. Trips once, for good.

    An event that is not decided holds back the count of those behind it, until `events` of these are decided: then it
    counts as not rejected. So one that waits for long neither hides what is rejected behind it nor opens the breaker.
    """

    def __init__(self, *, events: int, rejected_share_max: float) -> None:
        self._events = events
        self._rejected_share_max = rejected_share_max
        self._order: deque[Counted] = deque()  # from the first that is not decided
        self._decided = 0  # of these
        self._window: deque[Counted] = deque(maxlen=events)
        self._rejected = 0  # of the window
        self.tripped: Tripped | None = None

    def expect(self, position: Position) -> Counted:
        """The next event, to be called in the order in which events are read."""
        counted = Counted(position)
        if self._events and self.tripped is None:
            self._order.append(counted)
        return counted

    def decided(self, counted: Counted, outcome: Outcome, *, redriven: bool = False) -> bool:
        """Note a decision; whether it trips the breaker. A duplicate was decided before, somewhere; a redriven event is
        an operator's.
        """
        reason = None
        if isinstance(outcome, Rejected):
            reason, counted.source = outcome.rejection.reason, outcome.rejection.event_source
        return self._note(counted, reason=reason, ignored=redriven or isinstance(outcome, Duplicate))

    def left(self, counted: Counted) -> bool:
        """Note that this process leaves the event to another, if it is not decided; whether that trips the breaker."""
        return self._note(counted, reason=None, ignored=True)

    def _note(self, counted: Counted, *, reason: str | None, ignored: bool) -> bool:
        if counted.decided or counted.wait_until_available or not self._events or self.tripped is not None:
            return False
        counted.decided, counted.reason, counted.ignored = True, reason, ignored
        self._decided += 1
        while self._order and (self._order[0].decided or self._decided >= self._events):
            first = self._order.popleft()
            if first.decided:
                self._decided -= 1
            else:
                first.wait_until_available = True
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
            judged=len(window),
            reasons=dict(reasons.most_common()),
            sources=dict(sources.most_common(SOURCES_MAX)),
            first=window[0].position,
            last=window[-1].position,
        )
        self._order.clear()
        return True


def _source(counted: Counted) -> str:
    return _NO_SOURCE if counted.source is None else printable(counted.source[:_SOURCE_CHARS_MAX])
