"""A step of one message, repeated until it succeeds: how often, how long apart, and what is logged meanwhile.

What fails for want of a database or a broker is repeated for ever, and while they are away all wait at the gate. What
fails for a reason of its own is hopeless after a bounded number of attempts; what to do then is for the step to say.
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
from worker.rules.errors import ConfigurationError, Conflict, LeaseLost, StaleRead, Unavailable, Unprocessable
from worker.rules.message import Message
from worker.telemetry import RETRIES, LogEvent, Metrics

_NAME_LENGTH_MAX = 500

_CONFLICT_BACKOFF = Backoff(initial_seconds=0.005, max_seconds=1.0)

_TROUBLE_CHARS = 80
"""So much of what a cause says tells one trouble from another."""

_PATIENCE = (Unavailable, ConfigurationError, MemoryError)
"""What is no fault of any message, and passes or is mended by somebody: a password that was changed, for one."""

_T = TypeVar("_T")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.delivery")


class Lease(Protocol):
    """The part of an assignment that a delivery needs."""

    ended: LinkedEvent

    def enter(self) -> None: ...

    def leave(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how long apart.

    `attempts_max` bounds tries that fail for the message's own reason, `conflicts_max` those that meet another
    writer's rows: a guard that fails so often is no race but a fault. Being outrun on a release is never counted.
    """

    backoff: Backoff
    attempts_max: int
    conflict_backoff: Backoff = _CONFLICT_BACKOFF
    conflicts_max: int = 50


@dataclass(slots=True)
class Failed:
    """One step of a message, so far: failures `in_a_row` since the last outage, conflicts with other writers, faults of
    its own, and, once there are too many of either, why it is hopeless.
    """

    in_a_row: int = 0
    conflicts: int = 0
    faults: int = 0
    hopeless: str | None = None


class Retries:
    """One for the worker; between messages it keeps nothing but when it last told of a retry."""

    def __init__(self, policy: RetryPolicy, *, clock: Clock, metrics: Metrics) -> None:
        self._policy = policy
        self._clock = clock
        self._metrics = metrics
        self._repeated_lines = LogThrottle()

    async def repeat(
        self, attempt: Callable[[Failed], Awaitable[_T]], message: Message, lease: Lease, *, monitor: DependencyMonitor
    ) -> _T:
        """Attempt it until it succeeds; what failed so far is for the attempt to look at.

        Raises:
            LeaseLost: the message's partition was given up meanwhile.
        """
        failed = Failed()
        while True:
            cause: Exception
            try:
                return await attempt(failed)
            except LeaseLost:
                raise
            except _PATIENCE as error:
                cause = error
            except Conflict as error:
                cause = error
                failed.conflicts += not isinstance(error, StaleRead)
                if failed.conflicts >= self._policy.conflicts_max:
                    failed.hopeless = _name(error)
            except Exception as error:  # noqa: BLE001 - the one place: no message may end the worker
                cause = error
                failed.faults += 1
                if failed.faults >= self._policy.attempts_max or isinstance(error, Unprocessable):
                    failed.hopeless = _name(error)
            failed.in_a_row += 1
            if await self._pause(message, lease, cause, failed.in_a_row, monitor=monitor):
                failed.in_a_row = 0

    async def _pause(
        self, message: Message, lease: Lease, cause: Exception, failures: int, *, monitor: DependencyMonitor
    ) -> bool:
        """Wait before the next try; whether that was for the end of an outage, which says nothing of the message."""
        self._metrics.count(RETRIES, type(cause).__name__)
        lease.leave()
        try:
            if isinstance(cause, _PATIENCE):
                monitor.suspect()
                if await monitor.wait_until_available(lease.ended):
                    return True
            await self._back_off(message, lease, cause, failures)
        finally:
            lease.enter()
        return False

    async def _back_off(self, message: Message, lease: Lease, cause: Exception, failures: int) -> None:
        """The message's own wait, which grows with its failures."""
        backoff = self._policy.conflict_backoff if isinstance(cause, Conflict) else self._policy.backoff
        delay_seconds = backoff.delay_seconds(failures=failures, chance=self._clock.chance())
        if failures.bit_count() == 1:  # 1, 2, 4, 8 …: a long trouble is told, not poured
            self._tell(message, cause, failures, delay_seconds)
        if await self._clock.wait(lease.ended, timeout_seconds=delay_seconds):
            raise LeaseLost

    def _tell(self, message: Message, cause: Exception, failures: int, delay_seconds: float) -> None:
        left_out = 0
        if isinstance(cause, _PATIENCE):
            # The database answers, and will not do: its disk is full, say. That is every message's trouble alike.
            now_seconds, trouble = self._clock.monotonic_seconds(), str(cause)[:_TROUBLE_CHARS]
            before = self._repeated_lines.left_out_before(trouble, now_seconds=now_seconds)
            if before is None:
                return
            left_out = before
        expected = isinstance(cause, (Conflict, *_PATIENCE))
        _log.warning(
            LogEvent.MESSAGE_RETRIED,
            **position(message),
            cause=_name(cause),
            failures=failures,
            delay_seconds=round(delay_seconds, 3),
            lines_left_out=left_out or None,
            exc_info=None if expected else cause,  # a fault of the worker's own is worth its traceback
        )


def position(message: Message) -> dict[str, object]:
    """Where the message's record is, as log lines say it."""
    record = message.record
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _name(error: Exception) -> str:
    """The error on one line, bounded and printable: it goes into a row, a header and a log line, and may quote what a
    publisher wrote.
    """
    text = " ".join(str(error)[: 2 * _NAME_LENGTH_MAX].split())
    return printable(f"{type(error).__name__}: {text}")[:_NAME_LENGTH_MAX]
