"""The process supervisor: starts a worker process, replaces it when it exits, and stops it at a stop.

One interpreter uses one core. Several worker processes are several members of the group, which shares the partitions
among them; they share nothing else. What a dead one had in flight is delivered again, as after any crash.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping

import structlog

from worker.pipeline.backoff import Backoff
from worker.ports import Clock
from worker.rules.errors import ConfigurationError
from worker.service.parent_death import refusal
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.processes")

Launch = Callable[[int, int], Awaitable[asyncio.subprocess.Process]]
"""Starts the process. Arguments: the number of processes that exited before it, and its standard input's descriptor."""

RAN_WELL_SECONDS = 60.0
"""After this uptime the delay before the next start begins again at its minimum."""

_BACKOFF = Backoff(initial_seconds=0.5, max_seconds=30.0)
_INTERRUPTED_SECONDS = 5.0
"""Time limit of an interrupted process; less than that of a cancelled service."""

_IN_ORDER: tuple[Mapping[str, str | int], ...] = ({"exit_code": 0}, {"signal": "SIGTERM"})
"""The orderly ends of a stopped process; by the signal itself if its handler is not installed yet."""


class ProcessSupervisor:
    """A service. The process must stop in order at SIGTERM, however often it comes, and end at once at SIGINT.

    `grace_seconds`: what the process may take to stop before it is killed.
    """

    def __init__(self, *, number: int, launch: Launch, grace_seconds: float, clock: Clock) -> None:
        self._number = number
        self._launch = launch
        self._grace_seconds = grace_seconds
        self._clock = clock
        self.failed = False
        """Whether the process, after the request to stop, ended in any other way than in order."""
        self._process: asyncio.subprocess.Process | None = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None:
            _send(self._process, number)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a process running until `stop`, then end it and return. Cancelled, it ends the process at once.

        Raises:
            ConfigurationError: the first process cannot run. Another one could not either.
        """
        died = failures = 0
        while not stop.is_set():
            started_at_seconds = self._clock.monotonic_seconds()
            end = await self._run_process(stop, died=died)
            if stop.is_set():
                if end not in _IN_ORDER and not self.failed:  # one that was killed is logged already
                    self.failed = True
                    _log.error(LogEvent.PROCESS_EXITED, process=self._number, **end)
                return
            died += 1
            ran_well = self._clock.monotonic_seconds() - started_at_seconds >= RAN_WELL_SECONDS
            failures = 1 if ran_well else failures + 1
            delay_seconds = _BACKOFF.delay_seconds(failures=failures, chance=self._clock.chance())
            _log.error(LogEvent.PROCESS_EXITED, process=self._number, **end, delay_seconds=round(delay_seconds, 3))
            await self._clock.wait(stop, timeout_seconds=delay_seconds)

    async def _run_process(self, stop: asyncio.Event, *, died: int) -> Mapping[str, str | int]:
        """Run one process; how it ended."""
        with contextlib.ExitStack() as closing:
            try:
                parent_end, child_end = map(closing.enter_context, socket.socketpair())
                process = await self._launch(died, child_end.fileno())
            except OSError as error:  # too many open files or processes, or no memory: that may pass
                return {"cause": str(error)}
            child_end.close()
            self._process = process
            _log.info(LogEvent.PROCESS_STARTED, process=self._number, pid=process.pid)
            try:
                async with asyncio.TaskGroup() as group:
                    ending = group.create_task(self._end(process, stop), name=f"end process {self._number}")
                    code = await process.wait()
                    ending.cancel()
            except asyncio.CancelledError:
                await self._interrupt(process)
                raise
            self._process = None
            refused = refusal(parent_end) if code != 0 else ""
            if refused and not died:
                raise ConfigurationError(refused)
            if refused:  # a replacement's: the other processes run, so what changed may change back
                return {"cause": refused}
        return {"exit_code": code} if code >= 0 else {"signal": _signal_name(-code)}

    async def _end(self, process: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
        await stop.wait()
        _send(process, signal.SIGTERM)
        never = asyncio.Event()  # this is cancelled when the process has ended
        await self._clock.wait(never, timeout_seconds=self._grace_seconds)
        self._kill(process)

    async def _interrupt(self, process: asyncio.subprocess.Process) -> None:
        _send(process, signal.SIGINT)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INTERRUPTED_SECONDS):
                    await process.wait()
        finally:
            if process.returncode is None:
                self._kill(process)

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        self.failed = True
        _log.error(LogEvent.PROCESS_KILLED, process=self._number, pid=process.pid)
        _send(process, signal.SIGKILL)


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        process.send_signal(number)


def _signal_name(number: int) -> str:
    return next((known.name for known in signal.Signals if known == number), str(number))
