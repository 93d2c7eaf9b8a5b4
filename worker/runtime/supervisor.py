"""Owns the worker's services. None can die unnoticed: whichever ends first, for whatever reason, ends the worker."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.supervisor")


class Service(Protocol):
    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish and return. To return earlier is to fail."""
        ...


class ServiceEnded(Exception):
    """A service returned although nobody had asked it to."""


async def supervise(services: Mapping[str, Service], stop: asyncio.Event, *, grace_seconds: float) -> None:
    """Run the services until `stop` is set or one of them ends; then give them `grace_seconds` to finish.

    Raises:
        Exception: what the first service that failed raised.
        ServiceEnded: a service returned by itself.
    """
    running = asyncio.gather(*(_run(name, service, stop) for name, service in services.items()), return_exceptions=True)
    try:
        await stop.wait()
        _log.info(LogEvent.WORKER_STOPPING)
        async with asyncio.timeout(grace_seconds):
            results = await running
    except TimeoutError:
        _log.error(LogEvent.DRAIN_TIMED_OUT, grace_seconds=grace_seconds)
        return
    finally:
        running.cancel()
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _run(name: str, service: Service, stop: asyncio.Event) -> None:
    try:
        await service.run(stop)
        if not stop.is_set():
            raise ServiceEnded(f"{name} ended by itself")
    finally:
        stop.set()
