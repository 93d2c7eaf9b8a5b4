"""Dependency monitors: they detect outages of the database and the broker, and messages wait for their end.

A message that a dependency fails marks it as suspect, and the monitor's one task probes it. If it answers, there is no
outage: the message failed for another cause, such as a lock. If it does not answer, an outage begins. Its begin and its
end are logged, and probes are repeated with growing delays until it answers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from worker.pipeline.backoff import Backoff
from worker.pipeline.linked_event import LinkedEvent
from worker.ports import Clock
from worker.rules.errors import ConfigurationError, LeaseLost, LoginRefused, Unavailable
from worker.telemetry import DEPENDENCY_UP, LogEvent, Metrics

_FRESH_SECONDS = 1.0
"""Longest age of the answer in `problem`, so that frequent requests to /readyz do not cause frequent probes."""

_REFUSED_SECONDS = 30.0
"""Delay between two probes after a refused login: some databases lock an account after many failures."""

_SHORT_TIMEOUT_SECONDS = 2.0
_FULL_TIMEOUT_EVERY = 4
"""During an outage every fourth probe has the full timeout, which a slow database needs."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.dependency")


@dataclass(slots=True, kw_only=True)
class Outage:
    """`failures`: the number of failed probes."""

    since_seconds: float
    cause: str
    failures: int = 0


class DependencyMonitor:
    """Of one dependency. `probe` returns if it answers, and raises as `ping` in `worker.ports`; any other error is no
    answer either. `interval_seconds`: how often it is probed while it is available; None: only when it is suspected.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], Awaitable[None]],
        *,
        backoff: Backoff,
        patience_seconds: float,
        interval_seconds: float | None = None,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self._ping = probe
        self._backoff = backoff
        self._patience_seconds = patience_seconds
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._metrics = metrics
        self._available = LinkedEvent()
        self._available.set()
        self._suspected = asyncio.Event()
        self._messages_waiting = 0
        self._outage: Outage | None = None
        self._outages_ended = 0
        self._probing = asyncio.Lock()
        self._answered_at_seconds = float("-inf")
        self._problem: str | None = None
        self._fault: Exception | None = None
        self._login_refused = False
        metrics.set(DEPENDENCY_UP, 1, name)

    @property
    def available(self) -> bool:
        """Whether messages may be started: no outage is known or suspected."""
        return self._available.is_set()

    @property
    def in_outage(self) -> bool:
        return self._outage is not None

    def suspect(self) -> None:
        """Mark the dependency as suspect: no message is started until it answers a probe."""
        self._available.clear()
        self._suspected.set()

    async def wait_until_available(self, ended: LinkedEvent) -> bool:
        """Wait until the dependency is available; whether an outage has ended meanwhile.

        Raises:
            LeaseLost: `ended` was set meanwhile.
        """
        if self.available:
            return False
        outages_ended = self._outages_ended
        self._messages_waiting += 1
        try:
            changed = asyncio.Event()
            with self._available.followed_by(changed), ended.followed_by(changed):
                while not self.available and not ended.is_set():
                    changed.clear()
                    await changed.wait()
        finally:
            self._messages_waiting -= 1
        if ended.is_set():  # also if it became available at the same time: the drain depends on it
            raise LeaseLost
        return self._outages_ended > outages_ended

    async def problem(self) -> str | None:
        """Why the dependency cannot be used; None: it can. At most a second old; in an outage, of the last probe."""
        if self._outage is not None:
            return self._outage.cause
        fresh_seconds = _REFUSED_SECONDS if self._login_refused else _FRESH_SECONDS
        async with self._probing:
            if self._clock.monotonic_seconds() - self._answered_at_seconds >= fresh_seconds:
                await self._probe(patience_seconds=self._patience_seconds)
            return self._problem

    def connected(self) -> None:
        """The client has connected: a problem of before is not kept for a second."""
        self._answered_at_seconds = float("-inf")

    async def run(self) -> None:
        """Probe while the dependency is suspect or in an outage, and every `interval_seconds`, until cancelled."""
        while True:
            if not self.available:
                await self._probe_unavailable()
            elif self._interval_seconds is None:
                await self._suspected.wait()
            elif not await self._clock.wait(self._suspected, timeout_seconds=self._interval_seconds):
                await self._probe_idle()

    async def _probe_idle(self) -> None:
        if await self.problem() is not None:
            self.suspect()

    async def _probe_unavailable(self) -> None:
        patience_seconds, outage = self._patience_seconds, self._outage
        if outage is not None:
            delay_seconds = self._backoff.delay_seconds(failures=outage.failures, chance=self._clock.chance())
            if self._login_refused:
                delay_seconds = _REFUSED_SECONDS
            await self._clock.wait(asyncio.Event(), timeout_seconds=delay_seconds)
            if outage.failures % _FULL_TIMEOUT_EVERY != 0:
                patience_seconds = min(patience_seconds, _SHORT_TIMEOUT_SECONDS)
        async with self._probing:
            if self.available:  # a probe for `problem` was answered
                return
            await self._probe(patience_seconds=patience_seconds)
            if self._problem is not None:
                self._count_failure(self._problem)

    async def _probe(self, *, patience_seconds: float) -> None:
        """Callers hold `_probing`."""
        try:
            async with asyncio.timeout(patience_seconds):
                await self._ping()
        except (Unavailable, ConfigurationError, TimeoutError, MemoryError) as error:
            self._problem, self._fault = str(error) or "does not answer in time", None
            self._login_refused = isinstance(error, LoginRefused)
        except Exception as error:  # noqa: BLE001 - no probe may end the worker
            self._problem, self._fault = f"{type(error).__name__}: {error}", error
            self._login_refused = False
        else:
            self._problem = self._fault = None
            self._login_refused = False
            self._recover()
        self._answered_at_seconds = self._clock.monotonic_seconds()

    def _count_failure(self, cause: str) -> None:
        if self._outage is None:
            self._outage = Outage(since_seconds=self._clock.monotonic_seconds(), cause=cause)
            self._metrics.set(DEPENDENCY_UP, 0, self.name)
            # The traceback of a bug in the worker or in a library.
            _log.warning(LogEvent.DEPENDENCY_UNAVAILABLE, dependency=self.name, cause=cause, exc_info=self._fault)
        self._outage.cause = cause
        self._outage.failures += 1

    def _recover(self) -> None:
        outage, self._outage = self._outage, None
        self._suspected.clear()
        if outage is not None:
            self._outages_ended += 1
            self._metrics.set(DEPENDENCY_UP, 1, self.name)
            _log.warning(  # the level of dependency.unavailable
                LogEvent.DEPENDENCY_AVAILABLE,
                dependency=self.name,
                lasted_seconds=round(self._clock.monotonic_seconds() - outage.since_seconds, 3),
                messages=self._messages_waiting,
            )
        self._available.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyMonitors:
    """The monitors of all dependencies of a message."""

    database: DependencyMonitor
    broker: DependencyMonitor

    @property
    def available(self) -> bool:
        return self.database.available and self.broker.available

    async def run(self) -> None:
        """Run both monitors, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for monitor in (self.database, self.broker):
                group.create_task(monitor.run(), name=f"probe {monitor.name}")

    async def wait_until_available(self, ended: LinkedEvent) -> None:
        """Return when both are available.

        Raises:
            LeaseLost: `ended` was set meanwhile.
        """
        while not self.available:
            await self.broker.wait_until_available(ended)
            await self.database.wait_until_available(ended)
