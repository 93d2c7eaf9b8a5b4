"""An event loop that a test turns by hand: it runs until nothing can go on, and time passes only when the test says so.

Each loop stands for a process of its own; several may be turned in one thread, one after the other.
"""

import asyncio
import selectors
from collections.abc import Callable

_ROUNDS_MAX = 5_000


class SteppedLoop(asyncio.SelectorEventLoop):
    """Time is what `now_seconds` says. Nothing may wait for anything outside the process: there is no one there."""

    def __init__(self, now_seconds: Callable[[], float]) -> None:
        self._now_seconds = now_seconds
        self._idleness = _Idleness(self)
        super().__init__(self._idleness)

    def time(self) -> float:
        return self._now_seconds()

    def settle(self) -> None:
        """Run all that can run now, timers that are due among it."""
        self._idleness.rounds = 0
        self.run_forever()

    @property
    def timer_due_seconds(self) -> float | None:
        """When the next timer was due as the loop settled last; None if there was none."""
        return self._idleness.due_seconds

    def end(self) -> list[BaseException]:
        """Cancel what runs and close; the errors that it ended with."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self.settle()
        left = [task for task in tasks if not task.done()]
        self.close()
        assert not left, f"cancelled, and still there: {left}"
        return [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]


class _Idleness(selectors.SelectSelector):
    """Where a loop waits when it has nothing to do: there it is stopped."""

    def __init__(self, loop: SteppedLoop) -> None:
        super().__init__()
        self._loop = loop
        self.rounds = 0
        self.due_seconds: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.rounds += 1
        assert self.rounds < _ROUNDS_MAX, "the loop goes round and round"
        if timeout is None or timeout > 0:
            self.due_seconds = None if timeout is None else self._loop.time() + timeout
            self._loop.stop()
        return []
