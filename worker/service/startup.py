"""Waits at start for the database and the broker, up to a timeout."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from worker.pipeline.backoff import Backoff
from worker.ports import Clock
from worker.rules.errors import ConfigurationError, LeaseLost, LoginRefused, Unavailable
from worker.telemetry import LogEvent

_MOMENT_SECONDS = 0.5

_LOGINS_MAX = 3
_LOGIN_DELAY_SECONDS = 5.0
"""A failover refuses logins for some seconds. After many refusals a database may lock the account."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.startup")


async def await_dependency(
    name: str,
    attempt: Callable[[], Awaitable[None]],
    *,
    stop: asyncio.Event,
    timeout_seconds: float,
    backoff: Backoff,
    clock: Clock,
) -> None:
    """Repeat `attempt` until it succeeds.

    Raises:
        ConfigurationError: the attempt cannot succeed, did not succeed within `timeout_seconds`, or the login was
            refused _LOGINS_MAX times. The message is one line for the operator.
        LeaseLost: `stop` was set first.
    """
    began = clock.monotonic_seconds()
    failures = refusals = 0
    while True:
        if stop.is_set():
            raise LeaseLost
        try:
            await _unless(stop, attempt)
        except (LoginRefused, Unavailable) as error:
            failures += 1
            delay_seconds = backoff.delay_seconds(failures=failures, chance=clock.chance())
            waited = clock.monotonic_seconds() - began
            if isinstance(error, LoginRefused):
                refusals += 1
                delay_seconds = _LOGIN_DELAY_SECONDS
                if refusals >= _LOGINS_MAX or waited + delay_seconds > timeout_seconds:
                    raise ConfigurationError(f"the {name} refused the login {refusals} times: {error}") from error
            elif waited >= timeout_seconds:
                raise ConfigurationError(f"{name}: not available after {waited:.0f} s: {error}") from error
            if failures == 1:
                _log.warning(LogEvent.DEPENDENCY_UNAVAILABLE, dependency=name, cause=str(error))
        else:
            write = _log.warning if failures else _log.info  # the level of dependency.unavailable
            write(LogEvent.DEPENDENCY_AVAILABLE, dependency=name)
            return
        if await clock.wait(stop, timeout_seconds=min(delay_seconds, timeout_seconds - waited)):
            raise LeaseLost


async def _unless(stop: asyncio.Event, attempt: Callable[[], Awaitable[None]]) -> None:
    """The attempt, cancelled when `stop` is set: a server that accepts and does not answer must not delay a stop."""
    attempting, stopping = asyncio.ensure_future(attempt()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((attempting, stopping), return_when=asyncio.FIRST_COMPLETED)
        # An interrupted driver's thread may outlive the loop; this is long enough for an embedded database.
        await asyncio.wait((attempting,), timeout=_MOMENT_SECONDS)
    finally:
        for task in (attempting, stopping):
            task.cancel()
        await asyncio.gather(attempting, stopping, return_exceptions=True)
    if attempting.cancelled():
        raise LeaseLost
    attempting.result()
