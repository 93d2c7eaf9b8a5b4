"""Monitors problems at the broker that an operator has to solve: missing topics, refused logins, missing privileges.

The broker answers, so these are not outages. Other work continues; the log and `/readyz` name the object. If a login or
a privilege is refused for long, the worker ends.
"""

import asyncio
from collections.abc import Callable

import structlog

from worker.ports import Clock, TopicFindings, Topics
from worker.rules.errors import ConfigurationError, Unavailable
from worker.telemetry import LogEvent

_INTERVAL_SECONDS = 1.0
_TOPICS_INTERVAL_SECONDS = 10.0
REFUSED_SECONDS_MAX = 60.0
"""Time limit of a refusal: a changed secret takes about as long to reach its file."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.broker")


class BrokerMonitor:
    """A service. `refusal`: why brokers refuse the worker, and for how many seconds; None: they do not."""

    def __init__(self, topics: Topics, *, refusal: Callable[[], tuple[str, float] | None], clock: Clock) -> None:
        self._topics = topics
        self._refusal = refusal
        self._clock = clock
        self._findings: TopicFindings | None = None
        self._advised: frozenset[str] = frozenset()
        self._checked_at_seconds = float("-inf")

    @property
    def problem(self) -> str | None:
        """The unusable topics, in one line."""
        found = self._findings
        return None if found is None or not found.problems else "; ".join(found.problems)

    @property
    def refused(self) -> str | None:
        """Why a broker refuses the worker; None: it does not."""
        refusal = self._refusal()
        return None if refusal is None else refusal[0]

    async def check(self) -> None:
        """Check the topics once.

        Raises:
            Unavailable: no broker answers, or an input topic cannot be used.
        """
        await self._probe_once()
        found = self._findings
        if found is not None and found.inputs:
            raise Unavailable("; ".join(found.inputs))

    async def run(self, stop: asyncio.Event) -> None:
        """Check the topics and the refusal until `stop`.

        Raises:
            ConfigurationError: brokers have refused the worker for too long.
        """
        while not await self._clock.wait(stop, timeout_seconds=_INTERVAL_SECONDS):
            refusal = self._refusal()
            if refusal is not None and refusal[1] >= REFUSED_SECONDS_MAX:
                raise ConfigurationError(
                    f"{refusal[0]}; refused for {refusal[1]:.0f} s, longer than {REFUSED_SECONDS_MAX:.0f} s"
                )
            if self._findings is None:
                continue  # the worker's start makes the first check
            interval_seconds = _INTERVAL_SECONDS if self._findings.problems else _TOPICS_INTERVAL_SECONDS
            if self._clock.monotonic_seconds() < self._checked_at_seconds + interval_seconds:
                continue
            try:
                async with asyncio.timeout(_TOPICS_INTERVAL_SECONDS):
                    await self._probe_once()
            except (Unavailable, TimeoutError):
                # The dependency monitor reports the outage; the last findings remain valid.
                self._checked_at_seconds = self._clock.monotonic_seconds()

    async def _probe_once(self) -> None:
        found = await self._topics.check()
        self._checked_at_seconds = self._clock.monotonic_seconds()
        before = self._findings.problems if self._findings is not None else ()
        self._findings = found
        for problem in found.problems:
            if problem not in before:
                _log.error(LogEvent.TOPIC_UNUSABLE, problem=problem)
        if before and not found.problems:
            _log.warning(LogEvent.TOPICS_USABLE)
        for lines, write in ((found.advice, _log.info), (found.warnings, _log.warning)):
            for advice in lines:
                if advice not in self._advised:
                    write(LogEvent.TOPIC_ADVICE, advice=advice)
        self._advised = frozenset((*found.advice, *found.warnings))
