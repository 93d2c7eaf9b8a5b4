"""Lanes: work of one key runs in order, work of different keys at the same time, up to a bound.

A lane exists while it has work. The bound is on work that is being done; work that waits for its next try gives its
slot away, so one release in trouble slows no other.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager

Job = Callable[[], Awaitable[None]]


class Executor:
    """Runs jobs in the task group it is given; a job that raises ends the group.

    How much may be queued is the caller's bound: see `worker.pipeline.in_flight_budget`.
    """

    def __init__(self, group: asyncio.TaskGroup, *, concurrency: int) -> None:
        self._group = group
        self._lanes: dict[Hashable, deque[Job]] = {}
        self._slots = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def slot(self) -> AbstractAsyncContextManager[None]:
        """One of the bounded slots. A job holds it while it works, and not while it waits."""
        return self._slots

    def submit(self, key: Hashable, job: Job) -> None:
        """Run `job` after all that was submitted with the same key before."""
        ordering_key = self._lanes.get(key)
        if ordering_key is not None:
            ordering_key.append(job)
            return
        self._lanes[key] = deque((job,))
        task = self._group.create_task(self._run(key), name=f"lane {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Stop all lanes where they are: the end of a worker whose grace has passed."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, key: Hashable) -> None:
        ordering_key = self._lanes[key]
        while ordering_key:
            await ordering_key.popleft()()
        del self._lanes[key]
