"""The dead-letter breaker: whether so many of the last events were rejected that it is no longer about events.

A publisher that was deployed wrong, a topic that is not what it was taken for, a database restored from last week: each
makes a worker pour a whole topic into the dead letters, quickly and in good order. Somebody has to look first.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from worker.domain.state import Duplicate, Outcome, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """What it was that tripped it: so many of so many, for these reasons."""

    rejected: int
    judged: int
    reasons: Mapping[str, int]

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.reasons.items())
        return f"{self.rejected} of the last {self.judged} events were rejected: {reasons}"


class Breaker:
    """Looks at the last `events` judgements of this process; 0 switches it off. Trips once, for good."""

    def __init__(self, *, events: int, rejected_share_max: float) -> None:
        self._events = events
        self._rejected_share_max = rejected_share_max
        self._window: deque[str | None] = deque(maxlen=events)
        self._rejected = 0
        self.tripped: Tripped | None = None

    def judged(self, outcome: Outcome) -> bool:
        """Note a judgement; whether it is the one that trips the breaker. A duplicate was judged before, somewhere."""
        if not self._events or self.tripped is not None or isinstance(outcome, Duplicate):
            return False
        window = self._window
        if len(window) == self._events:
            self._rejected -= window[0] is not None
        reason = outcome.rejection.reason if isinstance(outcome, Rejected) else None
        window.append(reason)
        self._rejected += reason is not None
        if len(window) < self._events or self._rejected / self._events <= self._rejected_share_max:
            return False
        reasons = Counter(one for one in window if one is not None)
        self.tripped = Tripped(rejected=self._rejected, judged=len(window), reasons=dict(reasons.most_common()))
        return True
