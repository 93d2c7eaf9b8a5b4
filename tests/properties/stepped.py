"""An event loop that a test runs step by step: until no task can continue; only the test advances the time.

Each loop represents a process of its own; several may run in one thread, one after the other.
"""

import asyncio
import selectors
from collections.abc import Callable

_ROUNDS_MAX = 5_000


class SteppedLoop(asyncio.SelectorEventLoop):
    """The time is `now_seconds()`. No task may wait for input from outside the process."""

    def __init__(self, now_seconds: Callable[[], float]) -> None:
        self._now_seconds = now_seconds
        self._idleness = _Idleness(self)
        super().__init__(self._idleness)

    def time(self) -> float:
        return self._now_seconds()

    def settle(self) -> None:
        """Run every task that can run now, including timers that are due."""
        self._idleness.rounds = 0
        self.run_forever()

    @property
    def timer_due_seconds(self) -> float | None:
        """The time of the next timer when the loop last settled; None without a timer."""
        return self._idleness.due_seconds

    def end(self) -> list[BaseException]:
        """Cancel the tasks and close the loop; returns the errors of the tasks."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self.settle()
        left = [task for task in tasks if not task.done()]
        self.close()
        assert not left, f"cancelled, and still there: {left}"
        return [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]


class _Idleness(selectors.SelectSelector):
    """Stops the loop when it would wait for input."""

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
