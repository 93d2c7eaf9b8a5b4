"""The system's time and randomness. Tests use their own."""

import asyncio
import random
import time


class SystemClock:
    """`worker.ports.Clock` of the operating system."""

    def monotonic_seconds(self) -> float:
        return time.monotonic()

    def unix_seconds(self) -> float:
        return time.time()

    def chance(self) -> float:
        return random.random()  # noqa: S311 - spreads retries, guards nothing

    async def wait(self, event: asyncio.Event, *, timeout_seconds: float) -> bool:
        try:
            async with asyncio.timeout(timeout_seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True
