"""When to send: at once while there is little to send, together while there is much.

A broker's work is per request and per batch, far more than per record, and a producer that sends each record when it
comes keeps the broker busier than the database. Kafka's `linger.ms` makes every record wait; here only those wait that
come soon after others were sent, and the longer, the more of them there are.
"""

import asyncio

_RECORDS_PER_SECOND_FULL = 2_000.0
"""From this rate on the longest wait is taken: a wait that gathers fewer than some dozens saves nothing."""

_SHORTEST_SECONDS = 0.001
"""What an event loop's timer can measure."""


class Pace:
    """`longest_seconds` is the longest wait; 0 for none."""

    def __init__(self, *, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._opened_at_seconds = float("-inf")
        self._wait_seconds = 0.0
        self._gathered = 0
        self._gate: asyncio.Event | None = None

    async def turn(self, records: int) -> None:
        """Return when `records` more may be sent; all that wait go on in the same turn of the loop."""
        self._gathered += records
        if self._gate is None:
            loop = asyncio.get_running_loop()
            now_seconds, due_seconds = loop.time(), self._opened_at_seconds + self._wait_seconds
            if now_seconds >= due_seconds:
                self._open()
                return
            self._gate = asyncio.Event()
            loop.call_at(due_seconds, self._open)
        await self._gate.wait()

    def _open(self) -> None:
        now_seconds = asyncio.get_running_loop().time()
        passed_seconds = max(now_seconds - self._opened_at_seconds, 1e-6)
        share = min(1.0, self._gathered / passed_seconds / _RECORDS_PER_SECOND_FULL)
        wait_seconds = self._longest_seconds * share
        self._wait_seconds = wait_seconds if wait_seconds >= _SHORTEST_SECONDS else 0.0
        self._opened_at_seconds = now_seconds
        self._gathered = 0
        if self._gate is not None:
            self._gate.set()
            self._gate = None
