"""Keeps the breaker of this process and the row of its group the same.

The row is read at start, before the first message, and every few seconds: one statement without a transaction. When
this process opens the breaker, it stands by at once; the row is written as soon as the database answers.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from worker.group_breaker import Opening, Openings, utc
from worker.pipeline.breaker import Breaker
from worker.pipeline.dependency_monitor import DependencyMonitor
from worker.ports import Clock
from worker.rules.errors import ConfigurationError, Unavailable
from worker.telemetry import LogEvent

_INTERVAL_SECONDS = 3.0
_RETRY_SECONDS = 0.5
_TIMEOUT_SECONDS = 5.0
_LAST_TIMEOUT_SECONDS = 2.0
_WORKER_CHARS_MAX = 255

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.breaker")


class BreakerMonitor:
    """A service. `worker`: the name of this process in the rows that it writes."""

    def __init__(
        self,
        breaker: Breaker,
        openings: Openings,
        *,
        group_id: str,
        worker: str,
        database: DependencyMonitor,
        clock: Clock,
    ) -> None:
        self._breaker = breaker
        self._openings = openings
        self._group_id = group_id
        self._worker = worker[:_WORKER_CHARS_MAX]
        self._database = database
        self._clock = clock
        self._own: Opening | None = None
        self._read = False

    async def check(self) -> None:
        """Read the group's row once, or write the one that this process opened.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: it refuses the login a privilege.
        """
        if self._breaker.unrecorded.is_set():
            await self._record()
        else:
            found = await self._openings.current(self._group_id)
            if not self._breaker.unrecorded.is_set():  # opened here meanwhile: it is written first
                await self._follow(found)
        self._read = True

    async def flush(self) -> None:
        """At the end: write an opening that is not written yet, if the database answers now."""
        if self._breaker.unrecorded.is_set():
            with suppress(Unavailable, ConfigurationError, TimeoutError):
                async with asyncio.timeout(_LAST_TIMEOUT_SECONDS):
                    await self._record()

    async def run(self, stop: asyncio.Event) -> None:
        """Check every few seconds, and when this process opens the breaker, until `stop`. The worker's start makes the
        first check.
        """
        async with asyncio.TaskGroup() as group:
            checking = group.create_task(self._check_repeatedly(), name="breaker")
            await stop.wait()
            checking.cancel()

    async def _check_repeatedly(self) -> None:
        while True:
            if await self._clock.wait(self._breaker.unrecorded, timeout_seconds=_INTERVAL_SECONDS):
                self._prepare_own()
            if not self._read or not self._database.available:
                await self._pause()
                continue
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await self.check()
            except (Unavailable, ConfigurationError, TimeoutError):
                self._database.suspect()  # its monitor finds and logs the cause
                await self._pause()

    async def _pause(self) -> None:
        await self._clock.wait(asyncio.Event(), timeout_seconds=_RETRY_SECONDS)

    async def _record(self) -> None:
        """Write the opening of this process. Where another process was faster, its row counts."""
        found = await self._openings.record(self._prepare_own())
        if found is None:
            return  # the row that was in the way is closed: the next check writes this one
        self._own = None
        self._breaker.follow(found)
        if found.closed_at is not None:
            await self._follow(None)

    def _prepare_own(self) -> Opening:
        """The opening of this process: every attempt to write it has the same id and time."""
        if self._own is None:
            tripped = self._breaker.tripped
            if tripped is None:
                raise RuntimeError("an opening without a cause")
            self._own = Opening(
                id=uuid4(),
                group_id=self._group_id,
                opened_at=self._now(),
                opened_by=self._worker,
                tripped=tripped,
            )
        return self._own

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.unix_seconds(), UTC)

    async def _follow(self, found: Opening | None) -> None:
        before = self._breaker.opening
        if (before and before.id) == (found and found.id):
            return
        closed = None if before is None else await self._openings.find(before.id)
        self._breaker.follow(found)
        if before is not None:
            self._log_closed(closed or before)
        if found is not None:
            self._log_opened(found)

    def _log_opened(self, opening: Opening) -> None:
        tripped = opening.tripped
        _log.error(
            LogEvent.BREAKER_OPENED,
            rejected=tripped.rejected,
            events=tripped.events,
            reasons=tripped.reasons,
            sources=tripped.sources,
            **tripped.last._asdict(),
            opened_at=utc(opening.opened_at),
            opened_by=opening.opened_by,
        )

    def _log_closed(self, opening: Opening) -> None:
        """`closed_by` is None where the row is gone, as after a restore of the database."""
        ended_at = opening.closed_at or self._now()
        _log.warning(
            LogEvent.BREAKER_CLOSED,
            closed_by=opening.closed_by,
            note=opening.note,
            open_seconds=round((ended_at - opening.opened_at).total_seconds(), 1),
        )
