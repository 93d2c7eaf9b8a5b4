"""Owns the worker's services. None can die unnoticed: whichever ends first, for whatever reason, ends the worker."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.supervisor")


_CANCELLATION_SECONDS = 10.0
"""How long a cancelled service may take to clean up; what is left then ends with the event loop."""


class Service(Protocol):
    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish and return. To return earlier is to fail."""
        ...


class ServiceEnded(Exception):
    """A service returned although nobody had asked it to."""


async def supervise(services: Mapping[str, Service], stop: asyncio.Event, *, grace_seconds: float) -> None:
    """Run the services until `stop` is set or one of them ends; then give them `grace_seconds` to finish.

    A task group would not do: it cancels the others as soon as one fails, and they have work to finish.

    Raises:
        Exception: what the first service that failed raised.
        ServiceEnded: a service returned by itself.
    """
    ended: list[asyncio.Task[None]] = []  # in the order of time
    running = [asyncio.ensure_future(_run(name, service, stop)) for name, service in services.items()]
    for service_task in running:
        service_task.add_done_callback(ended.append)
    try:
        await stop.wait()
        _log.info(LogEvent.WORKER_STOPPING)
        _, hanging = await asyncio.wait(running, timeout=grace_seconds)
        if hanging:
            _log.error(LogEvent.DRAIN_TIMED_OUT, grace_seconds=grace_seconds, services=len(hanging))
    finally:
        stop.set()
        for service_task in running:
            service_task.cancel()
        await asyncio.wait(running, timeout=_CANCELLATION_SECONDS)
    for service_task in ended:
        if service_task.done() and not service_task.cancelled() and (error := service_task.exception()) is not None:
            raise error


async def _run(name: str, service: Service, stop: asyncio.Event) -> None:
    try:
        await service.run(stop)
        if not stop.is_set():
            raise ServiceEnded(f"{name} ended by itself")
    finally:
        stop.set()
