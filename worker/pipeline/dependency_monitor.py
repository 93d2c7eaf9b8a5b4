"""The gate before a dependency: while the database or the broker is away, all wait here and one asks.

A message that fails for want of a dependency raises a doubt. Whoever waits at a gate in doubt asks the dependency, one
for all. If it answers there is no outage: that was one message's trouble, a lock for instance. If it does not, an
outage is declared, and said once; it is asked again, with growing waits, until it answers, and that is said as well.

Nothing runs in the background: the one who asks is one of those who wait, and when it goes another takes its place.
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
"""For so long an answer counts for those who only want to know: a dependency cannot be hammered through /readyz."""

_REFUSED_SECONDS = 30.0
"""Between two attempts with a login that was refused: some databases lock an account that fails often."""

_HASTE_SECONDS = 2.0
_PATIENT_TURNS = 4
"""One question of so many is asked with all patience: a database that is slow rather than away must be found too."""

_WAIT_SECONDS = 60.0
"""No wait is without a bound; after so long it is looked again, and waited on."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.gate")


@dataclass(slots=True, kw_only=True)
class Outage:
    """`failures`: how often it was asked in vain."""

    since_seconds: float
    cause: str
    failures: int = 0


class DependencyMonitor:
    """One dependency's. `ask` returns if it answers; it raises what a `ping` of `worker.ports` does. Whatever else it
    raises is no answer either.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[], Awaitable[None]],
        *,
        backoff: Backoff,
        patience_seconds: float,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._name = name
        self._ask = ask
        self._backoff = backoff
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._metrics = metrics
        self._waiting: dict[asyncio.Event, None] = {}  # woken in the order in which they came
        self._waiting_messages = 0
        self._suspected = self._probing = False
        self._outage: Outage | None = None
        self._outages = 0
        self._asking: asyncio.Event | None = None
        self._answered_at_seconds = float("-inf")
        self._answer: str | None = None
        self._fault: Exception | None = None
        self._refused = False
        metrics.set(DEPENDENCY_UP, 1, name)

    @property
    def blocked(self) -> bool:
        """Whether nothing may be begun: it is away, or somebody doubts that it is there."""
        return self._suspected or self._outage is not None

    @property
    def in_outage(self) -> bool:
        """Whether an outage was declared that is not over."""
        return self._outage is not None

    def suspect(self) -> None:
        """Something failed for want of it. Whoever comes to the gate next asks."""
        self._suspected = True

    async def wait_until_available(self, ended: LinkedEvent, *, messages: int = 1) -> bool:
        """Return when it is open; whether that was the end of an outage. `messages`: how many are hindered so long.

        Raises:
            LeaseLost: `ended` was set meanwhile.
        """
        if not self.blocked:
            return False
        before = self._outages - self.in_outage
        woken = asyncio.Event()
        self._waiting[woken] = None
        self._waiting_messages += messages
        try:
            with ended.followed_by(woken):
                while self.blocked and not ended.is_set():
                    if self._probing:
                        await self._clock.wait(woken, timeout_seconds=_WAIT_SECONDS)
                    else:
                        await self._probe_until_available(ended)
                    woken.clear()
        finally:
            del self._waiting[woken]
            self._waiting_messages -= messages
        if ended.is_set():  # even if it opened in the same moment: who gave the partition up counts on that
            raise LeaseLost
        return self._outages > before

    async def problem(self) -> str | None:
        """Why it cannot be used, in words, or None; for those who want to know and do not wait. No older than a second,
        or, in an outage, than the last question.
        """
        if self._outage is not None and self._probing:
            return self._outage.cause
        fresh_seconds = _REFUSED_SECONDS if self._refused else _FRESH_SECONDS
        while self._clock.monotonic_seconds() - self._answered_at_seconds >= fresh_seconds:
            if self._asking is None:
                await self._probe_once(patience_seconds=self._patience_seconds)
            else:
                await self._asking.wait()  # and if who asked was cancelled, ask
        return self._answer

    async def _probe_until_available(self, ended: LinkedEvent) -> None:
        """Ask for all until it answers, or until `ended`; whoever waits then takes over."""
        self._probing = True
        try:
            while self.blocked and not ended.is_set():
                outage = self._outage
                if outage is not None:
                    chance = self._clock.chance()
                    delay_seconds = self._backoff.delay_seconds(failures=outage.failures, chance=chance)
                    if self._refused:
                        delay_seconds = _REFUSED_SECONDS
                    if await self._clock.wait(ended, timeout_seconds=delay_seconds):
                        return
                patient = outage is None or outage.failures % _PATIENT_TURNS == 0
                patience_seconds = self._patience_seconds if patient else _HASTE_SECONDS
                await self._probe_once(patience_seconds=min(patience_seconds, self._patience_seconds))
                if self._answer is not None:
                    self._declare(self._answer)
        finally:
            self._probing = False
            self._wake()

    async def _probe_once(self, *, patience_seconds: float) -> None:
        """Ask, and note the answer. That it does not answer is no outage yet, where nobody is hindered by it."""
        while self._asking is not None:
            await self._asking.wait()
        asking = self._asking = asyncio.Event()
        try:
            async with asyncio.timeout(patience_seconds):
                await self._ask()
        except (Unavailable, ConfigurationError, TimeoutError, MemoryError) as error:
            self._answer, self._fault = str(error) or "does not answer in time", None
            self._refused = isinstance(error, LoginRefused)
        except Exception as error:  # noqa: BLE001 - nothing that is asked for all may end the worker
            self._answer, self._fault = f"{type(error).__name__}: {error}", error
            self._refused = False
        else:
            self._answer = self._fault = None
            self._refused = False
            self._open()
        finally:
            self._asking = None
            asking.set()
        self._answered_at_seconds = self._clock.monotonic_seconds()

    def _declare(self, cause: str) -> None:
        if self._outage is None:
            self._outage = Outage(since_seconds=self._clock.monotonic_seconds(), cause=cause)
            self._outages += 1
            self._metrics.set(DEPENDENCY_UP, 0, self._name)
            # A fault of the worker's own, or of a library's, is worth its traceback.
            _log.warning(LogEvent.DEPENDENCY_UNAVAILABLE, dependency=self._name, cause=cause, exc_info=self._fault)
        self._outage.cause = cause
        self._outage.failures += 1

    def _open(self) -> None:
        outage, self._outage = self._outage, None
        self._suspected = False
        if outage is None:
            return
        self._metrics.set(DEPENDENCY_UP, 1, self._name)
        lasted_seconds = round(self._clock.monotonic_seconds() - outage.since_seconds, 3)
        # As loud as the news that it is away: who heard that has to hear this.
        _log.warning(
            LogEvent.DEPENDENCY_AVAILABLE,
            dependency=self._name,
            lasted_seconds=lasted_seconds,
            messages=self._waiting_messages,
        )

    def _wake(self) -> None:
        for woken in self._waiting:
            woken.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyMonitors:
    """All that a message has to pass before it is begun, and between its tries."""

    database: DependencyMonitor
    broker: DependencyMonitor

    @property
    def blocked(self) -> bool:
        return self.database.blocked or self.broker.blocked

    async def wait_until_available(self, ended: LinkedEvent) -> None:
        """Return when both are open.

        Raises:
            LeaseLost: `ended` was set meanwhile.
        """
        while self.blocked:
            await self.broker.wait_until_available(ended)
            await self.database.wait_until_available(ended)
