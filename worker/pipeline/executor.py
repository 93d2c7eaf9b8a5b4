"""Per-key ordered execution: jobs of one key run in order, jobs of different keys concurrently, up to a limit.

The limit is on running jobs. A job that waits for its next attempt gives its slot back, so it does not delay other
keys. Jobs of different keys with a common claim run in order too: records of different releases with one identity or
one release number are decided in offset order.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

Job = Callable[[], Awaitable[None]]


class Executor:
    """Runs jobs in a task group; a job that raises ends the group.

    The caller bounds the number of queued jobs (`worker.pipeline.in_flight_budget`).
    """

    def __init__(self, group: asyncio.TaskGroup, *, concurrency: int) -> None:
        self._group = group
        self._queues: dict[Hashable, deque[Job]] = {}
        self._claims: dict[Hashable, asyncio.Event] = {}  # by claim: set when its last submitted job has ended
        self._slots = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def slot(self) -> AbstractAsyncContextManager[None]:
        """One of the concurrency slots. A job holds it while it runs, not while it waits."""
        return self._slots

    def submit(self, key: Hashable, job: Job, *, claims: Sequence[Hashable] = ()) -> None:
        """Run `job` after all earlier jobs with the same key or with one of the same claims."""
        # A job waits only for jobs that were submitted before it, so there is no deadlock.
        ended = asyncio.Event()
        earlier = [event for claim in claims if (event := self._claims.get(claim)) is not None]
        self._claims.update(dict.fromkeys(claims, ended))
        in_turn = partial(self._run_in_turn, job, claims, earlier, ended)
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(in_turn)
            return
        self._queues[key] = deque((in_turn,))
        task = self._group.create_task(self._run(key), name=f"key {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Cancel all jobs: the drain timeout is over."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, key: Hashable) -> None:
        queue = self._queues[key]
        while queue:
            await queue.popleft()()
        del self._queues[key]

    async def _run_in_turn(
        self, job: Job, claims: Sequence[Hashable], earlier: Sequence[asyncio.Event], ended: asyncio.Event
    ) -> None:
        try:
            for one in earlier:
                await one.wait()
            await job()
        finally:
            ended.set()
            for claim in claims:
                if self._claims.get(claim) is ended:
                    del self._claims[claim]
