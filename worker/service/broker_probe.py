"""The watch on the broker: nobody else would notice that it is away.

The client behind the ports keeps what is to be published and tries by itself; polling brings nothing, as it does when
there is nothing to bring. So somebody has to ask, and while it does not answer, to wait at its gate.
"""

import asyncio
import contextlib

from worker.pipeline.consumer import Consumer
from worker.pipeline.dependency_monitor import DependencyMonitor
from worker.pipeline.linked_event import LinkedEvent
from worker.ports import Clock
from worker.rules.errors import LeaseLost

_INTERVAL_SECONDS = 1.0


class BrokerProbe:
    """A service. Before the consumer has begun there is nothing to look at: whoever starts the worker waits."""

    def __init__(self, monitor: DependencyMonitor, *, consumer: Consumer, clock: Clock) -> None:
        self._monitor = monitor
        self._consumer = consumer
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look every second until `stop`."""
        ending = LinkedEvent()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._probe_once(ending), name="watch")
            await stop.wait()
            ending.set()

    async def _probe_once(self, ending: LinkedEvent) -> None:
        while not await self._clock.wait(ending, timeout_seconds=_INTERVAL_SECONDS):
            if self._consumer.beat_seconds is None or await self._monitor.problem() is None:
                continue
            self._monitor.suspect()
            with contextlib.suppress(LeaseLost):
                await self._monitor.wait_until_available(ending, messages=0)
