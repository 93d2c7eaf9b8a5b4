"""The watch on the broker: nobody else would notice that it is away.

The client behind the ports keeps what is to be published and tries by itself; polling brings nothing, as it does when
there is nothing to bring. So somebody has to ask, and while it does not answer, to wait at its gate.
"""

import asyncio
import contextlib

from worker.domain.errors import Abandoned
from worker.ports import Clock
from worker.runtime.consumer import Consumer
from worker.runtime.ending import Ending
from worker.runtime.gate import Gate

_INTERVAL_SECONDS = 1.0


class Watch:
    """A service. Before the consumer has begun there is nothing to look at: whoever starts the worker waits."""

    def __init__(self, gate: Gate, *, consumer: Consumer, clock: Clock) -> None:
        self._gate = gate
        self._consumer = consumer
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look every second until `stop`."""
        ending = Ending()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look(ending), name="watch")
            await stop.wait()
            ending.set()

    async def _look(self, ending: Ending) -> None:
        while not await self._clock.wait(ending, timeout_seconds=_INTERVAL_SECONDS):
            if self._consumer.beat_seconds is None or await self._gate.problem() is None:
                continue
            self._gate.doubt()
            with contextlib.suppress(Abandoned):
                await self._gate.passed(ending, messages=0)
