"""Runs the worker's services. The first service that ends, for any reason, ends the worker."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Protocol

import structlog

from schemas.detail import printable
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.supervisor")


_LAST_SECONDS = 5.0
"""Timeout of the services that stop last: HTTP requests in progress."""

_CANCELLATION_SECONDS = 10.0
"""Timeout of a cancelled service's clean-up; then it ends with the event loop."""

_CAUSE_CHARS_MAX = 500


class Service(Protocol):
    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish and return. Returning earlier is a failure."""
        ...


class Stop(asyncio.Event):
    """Stops all services. `cause` is the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.cause: str | None = None

    def request(self, cause: str) -> None:
        """Request the stop. `cause`: for the log, a signal's name or the service that failed."""
        if not self.is_set():
            self.cause = cause
        self.set()


class ServiceEnded(Exception):
    """A service returned before the stop was requested."""


async def supervise(
    services: Mapping[str, Service], stop: Stop, *, grace_seconds: float, last: Collection[str] = ()
) -> None:
    """Run the services until `stop` is set or one of them ends; then give them `grace_seconds` to finish.

    `last`: the names of services that are stopped after the others have ended, such as the HTTP server.

    Not a task group: it would cancel the others as soon as one fails, and they have messages to complete.

    Raises:
        Exception: what the first service that failed raised.
        ServiceEnded: a service returned before the stop.
    """
    ended: list[asyncio.Task[None]] = []  # in the order in which they ended
    end = asyncio.Event()
    first_tasks: list[asyncio.Task[None]] = []
    last_tasks: list[asyncio.Task[None]] = []
    for name, service in services.items():
        task = asyncio.ensure_future(_run(name, service, end if name in last else stop, failed=stop))
        task.add_done_callback(ended.append)
        (last_tasks if name in last else first_tasks).append(task)
    running = first_tasks + last_tasks
    try:
        await stop.wait()
        _log.info(LogEvent.WORKER_STOPPING, cause=stop.cause)
        await _ended(first_tasks, timeout_seconds=grace_seconds)
        end.set()
        await _ended(last_tasks, timeout_seconds=_LAST_SECONDS)
        if hanging := [task for task in running if not task.done()]:
            _log.error(LogEvent.DRAIN_TIMED_OUT, grace_seconds=grace_seconds, services=len(hanging))
    finally:
        stop.set()
        end.set()
        for service_task in running:
            service_task.cancel()
        await asyncio.wait(running, timeout=_CANCELLATION_SECONDS)
    for service_task in ended:
        if service_task.done() and not service_task.cancelled() and (error := service_task.exception()) is not None:
            raise error


async def _ended(tasks: Collection[asyncio.Task[None]], *, timeout_seconds: float) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=timeout_seconds)


async def _run(name: str, service: Service, stop: asyncio.Event, *, failed: Stop) -> None:
    """Run a service until its `stop`; its end stops the whole worker."""
    try:
        await service.run(stop)
    except Exception as error:
        cause = printable(" ".join(str(error).split()))[:_CAUSE_CHARS_MAX] or type(error).__name__
        failed.request(f"service {name} failed: {cause}")
        raise
    else:
        if not stop.is_set():
            failed.request(f"service {name} ended unexpectedly")
            raise ServiceEnded(f"{name} ended unexpectedly")
    finally:
        failed.set()
