"""Retries of one step of a message: how often, how far apart, and what is logged.

During an outage of the database or the broker, the step waits for the dependency monitor, and is retried without a
limit. Other failures are permanent after a limited number of attempts; then the step itself chooses what to do.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from schemas.detail import printable
from worker.pipeline.backoff import Backoff
from worker.pipeline.dependency_monitor import DependencyMonitor
from worker.pipeline.linked_event import LinkedEvent
from worker.pipeline.log_throttle import LogThrottle
from worker.ports import Clock
from worker.rules.errors import EXTERNAL, Conflict, LeaseLost, StaleRead, Unprocessable
from worker.rules.message import Message
from worker.telemetry import RETRIES, LogEvent, Metrics

_NAME_LENGTH_MAX = 500

_CONFLICT_BACKOFF = Backoff(initial_seconds=0.005, max_seconds=1.0)

_CAUSE_GROUP_CHARS = 80
"""Causes are grouped for the log by their first characters."""

_T = TypeVar("_T")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.delivery")


class Lease(Protocol):
    """The part of a partition's state that a delivery needs."""

    ended: LinkedEvent

    def enter(self) -> None: ...

    def leave(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Limits and delays.

    `attempts_max`: attempts that fail while the dependencies are available. `conflicts_max`: attempts that find changed
    rows; more are not a race, but a fault. A StaleRead is not counted.
    """

    backoff: Backoff
    attempts_max: int
    conflict_backoff: Backoff = _CONFLICT_BACKOFF
    conflicts_max: int = 50


@dataclass(slots=True)
class Failed:
    """The failures of one step so far: consecutive ones since the last outage (`in_a_row`), conflicts with other
    writers, and faults. `permanent`: the last cause, once there are too many of either.
    """

    in_a_row: int = 0
    conflicts: int = 0
    faults: int = 0
    permanent: str | None = None


class Retries:
    """One per worker. Between messages it keeps only what it logged last."""

    def __init__(self, policy: RetryPolicy, *, clock: Clock, metrics: Metrics) -> None:
        self._policy = policy
        self._clock = clock
        self._metrics = metrics
        self._log_throttle = LogThrottle()

    async def repeat(
        self, attempt: Callable[[Failed], Awaitable[_T]], message: Message, lease: Lease, *, monitor: DependencyMonitor
    ) -> _T:
        """Repeat `attempt` until it succeeds. Its argument: the failures so far.

        Raises:
            LeaseLost: the message's partition was released.
        """
        failed = Failed()
        while True:
            cause: Exception
            try:
                return await attempt(failed)
            except LeaseLost:
                raise
            except EXTERNAL as error:
                cause = error
            except Conflict as error:
                cause = error
                failed.conflicts += not isinstance(error, StaleRead)
                if failed.conflicts >= self._policy.conflicts_max:
                    failed.permanent = _name(error)
            except Exception as error:  # noqa: BLE001 - no message may end the worker
                cause = error
                failed.faults += 1
                if failed.faults >= self._policy.attempts_max or isinstance(error, Unprocessable):
                    failed.permanent = _name(error)
            failed.in_a_row += 1
            if await self._pause(message, lease, cause, failed.in_a_row, monitor=monitor):
                failed.in_a_row = 0

    async def _pause(
        self, message: Message, lease: Lease, cause: Exception, failures: int, *, monitor: DependencyMonitor
    ) -> bool:
        """Wait before the next attempt; whether that was for the end of an outage, which the message did not cause."""
        self._metrics.count(RETRIES, type(cause).__name__)
        lease.leave()
        try:
            if isinstance(cause, EXTERNAL):
                monitor.suspect()
                if await monitor.wait_until_available(lease.ended):
                    return True
            await self._back_off(message, lease, cause, failures)
        finally:
            lease.enter()
        return False

    async def _back_off(self, message: Message, lease: Lease, cause: Exception, failures: int) -> None:
        """Wait for the message's own delay, which grows with its failures."""
        backoff = self._policy.conflict_backoff if isinstance(cause, Conflict) else self._policy.backoff
        delay_seconds = backoff.delay_seconds(failures=failures, chance=self._clock.chance())
        if failures.bit_count() == 1:  # 1, 2, 4, 8 …: log long series of failures less often
            self._log_retry(message, cause, failures, delay_seconds)
        if await self._clock.wait(lease.ended, timeout_seconds=delay_seconds):
            raise LeaseLost

    def _log_retry(self, message: Message, cause: Exception, failures: int, delay_seconds: float) -> None:
        left_out = 0
        if isinstance(cause, EXTERNAL):
            # The dependency answers, and cannot be used, for example with a full disk. That fails every message.
            now_seconds, group = self._clock.monotonic_seconds(), str(cause)[:_CAUSE_GROUP_CHARS]
            before = self._log_throttle.left_out_before(group, now_seconds=now_seconds)
            if before is None:
                return
            left_out = before
        expected = isinstance(cause, (Conflict, *EXTERNAL))
        _log.warning(
            LogEvent.MESSAGE_RETRIED,
            **position(message),
            cause=_name(cause),
            failures=failures,
            delay_seconds=round(delay_seconds, 3),
            lines_left_out=left_out or None,
            exc_info=None if expected else cause,  # a bug in the worker: log its traceback
        )


def position(message: Message) -> dict[str, object]:
    """The position of the message's record, as fields of a log line."""
    record = message.record
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _name(error: Exception) -> str:
    """The error on one line, bounded and printable: it may contain a publisher's text, and is used in rows, headers and
    log lines.
    """
    text = " ".join(str(error)[: 2 * _NAME_LENGTH_MAX].split())
    return printable(f"{type(error).__name__}: {text}")[:_NAME_LENGTH_MAX]
