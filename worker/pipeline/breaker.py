"""The breaker: it opens when too many of the last events were rejected.

A faulty publisher, a wrong topic or a restored database would turn a whole topic into dead letters. An operator has to
find the cause first. Each process counts its own events; the opening is the group's (`worker.group_breaker`).

Events are counted in the order in which they were read, within a partition by offset. The order of decisions would
overstate rejections, which are decided sooner than events that wait for their release.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass

from schemas.detail import printable
from worker.group_breaker import Opening, Tripped
from worker.rules.message import RecordPosition
from worker.rules.state import Duplicate, Outcome, Rejected

SOURCES_MAX = 5
_SOURCE_CHARS_MAX = 200
_NO_SOURCE = "records without a source"


@dataclass(slots=True, eq=False)
class Counted:
    """One event, in the breaker's order. `reason`: the reason of its rejection. `source`: the source of a rejected
    event, None if it has none. `ignored`: it is not counted.

    `settled`: its decision makes no difference any more. It was presumed not rejected before it was decided, or the
    breaker was open when it was read, or opened since.
    """

    position: RecordPosition
    decided: bool = False
    ignored: bool = False
    settled: bool = False
    reason: str | None = None
    source: str | None = None


class Breaker:
    """The group's breaker, as one process has it. The process counts the last `events` decisions of its own, 0: none.

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
        """Why this process opened it."""
        self.opening: Opening | None = None
        """The group's open row, as it was last read."""
        self.openings = 0
        """How often it was open in this process, now included."""
        self.unrecorded = asyncio.Event()
        """Set while it is open in this process only: the row is not written yet."""

    @property
    def is_open(self) -> bool:
        """Whether no message may be started."""
        return self.tripped is not None or self.opening is not None

    @property
    def cause(self) -> str | None:
        """Why it is open, and what to do, in one line; None: it is closed."""
        if self.opening is not None:
            return str(self.opening)
        return None if self.tripped is None else f"{self.tripped}; not in the database yet"

    def follow(self, opening: Opening | None) -> None:
        """Take over the group's state: its open row, or None. The window is empty when the breaker closes.

        With None, an opening of this process must be recorded before.
        """
        if opening is None and not self.is_open:
            return
        if not self.is_open:
            self.openings += 1
            self._empty()
        if opening is None:
            self.tripped = None
        self.opening = opening
        self.unrecorded.clear()

    def expect(self, position: RecordPosition) -> Counted:
        """Add the next event; call this in the order in which events are read."""
        counted = Counted(position, settled=self.is_open or not self._events)
        if not counted.settled:
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
        if counted.decided or counted.settled:
            return False
        counted.decided, counted.reason, counted.ignored = True, reason, ignored
        self._decided += 1
        while self._order and (self._order[0].decided or self._decided >= self._events):
            first = self._order.popleft()
            if first.decided:
                self._decided -= 1
            else:
                first.settled = True
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
        self.openings += 1
        self.unrecorded.set()
        self._empty()
        return True

    def _empty(self) -> None:
        """Drop all that was counted; what is still under way is not counted either."""
        for counted in self._order:
            counted.settled = True
        self._order.clear()
        self._window.clear()
        self._decided = self._rejected = 0


def _source(counted: Counted) -> str:
    return _NO_SOURCE if counted.source is None else printable(counted.source[:_SOURCE_CHARS_MAX])
