"""What the worker says of itself to an orchestrator."""

import asyncio

from worker.domain.errors import Misconfigured, Unavailable
from worker.ports import Clock, Store
from worker.runtime.consumer import Consumer

_STUCK_AFTER_SECONDS = 60.0
"""Longer than any single step of the loop may take: a commit, a poll, a wait for room."""

_PING_TIMEOUT_SECONDS = 2.0


class WorkerHealth:
    """Liveness looks at the loop alone: restarting a worker brings no database back."""

    def __init__(self, *, store: Store, consumer: Consumer, clock: Clock) -> None:
        self._store = store
        self._consumer = consumer
        self._clock = clock

    def alive(self) -> bool:
        beat_seconds = self._consumer.beat_seconds
        return beat_seconds is None or self._clock.monotonic_seconds() - beat_seconds < _STUCK_AFTER_SECONDS

    async def unready(self) -> dict[str, str]:
        problems = {}
        try:
            async with asyncio.timeout(_PING_TIMEOUT_SECONDS):
                await self._store.ping()
        except (Unavailable, Misconfigured, TimeoutError) as error:
            problems["database"] = str(error) or "does not answer in time"
        if not self._consumer.joined:
            problems["partitions"] = "none assigned yet"
        return problems
