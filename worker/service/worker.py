"""The worker's main service: wait for the dependencies, consume, close in reverse order."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import structlog

from worker.pipeline.backoff import Backoff
from worker.pipeline.consumer import Consumer
from worker.ports import Clock
from worker.rules.errors import ConfigurationError, LeaseLost
from worker.service.startup import await_dependency
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.worker")

Step = Callable[[], Awaitable[None]]


class Worker:
    """A service. `dependencies`: name, opening step and closing step of each, opened in order; the consumer joins last.
    `facts`: the fields of the log event `worker.started`.
    """

    def __init__(
        self,
        *,
        dependencies: tuple[tuple[str, Step, Step | None], ...],
        consumer: Consumer,
        startup_timeout_seconds: float,
        facts: Mapping[str, object],
        clock: Clock,
    ) -> None:
        self._facts = facts
        self._dependencies = dependencies
        self._consumer = consumer
        self._startup_timeout_seconds = startup_timeout_seconds
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`.

        Raises:
            ConfigurationError: a dependency refuses the worker, or is not available in time.
        """
        async with AsyncExitStack() as closing:
            try:
                for name, start, close in self._dependencies:
                    if close is not None:
                        closing.push_async_callback(close)
                    await self._await(name, start, stop)
                await self._await("broker", self._consumer.join, stop)
            except LeaseLost:
                return
            _log.info(LogEvent.WORKER_STARTED, **self._facts)
            try:
                await self._consumer.run(stop)
            except ExceptionGroup as group:
                # An operator gets one line, without the exception group.
                if (configuration_errors := group.subgroup(ConfigurationError)) is None:
                    raise
                error = configuration_errors.exceptions[0]
                raise error from error.__cause__
        _log.info(LogEvent.WORKER_STOPPED)

    async def _await(self, name: str, start: Step, stop: asyncio.Event) -> None:
        await await_dependency(
            name,
            start,
            stop=stop,
            timeout_seconds=self._startup_timeout_seconds,
            backoff=Backoff(initial_seconds=0.1, max_seconds=1.0),
            clock=self._clock,
        )
