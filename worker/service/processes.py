"""A service that keeps one worker process running: it starts the process, starts another when it dies, and ends it.

One interpreter uses one core. Several worker processes are several members of the group, which shares the partitions
among them; none knows of another. What a dead one had under way is delivered again, as after any crash.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping

import structlog

from worker.pipeline.backoff import Backoff
from worker.ports import Clock
from worker.rules.errors import ConfigurationError
from worker.service.parent_death import ParentDeathPipe
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.processes")

Launch = Callable[[int, int], Awaitable[asyncio.subprocess.Process]]
"""Starts the process. Given how many have died before it, and the descriptor that is to be its standard input."""

RAN_WELL_SECONDS = 60.0
"""A process that lived so long is no sign that the next one will die too."""

_BACKOFF = Backoff(initial_seconds=0.5, max_seconds=30.0)
_HURRY_SECONDS = 5.0
"""What a process gets to give up in; less than the supervisor gives a cancelled service."""

_IN_ORDER: tuple[Mapping[str, str | int], ...] = ({"exit_code": 0}, {"signal": "SIGTERM"})
"""How a process ends that was asked to; by the signal itself if it had not come to listen for it."""


class ProcessKeeper:
    """A service. In the process, SIGTERM has to mean a stop in order, however often, and SIGINT an end at once."""

    def __init__(self, *, number: int, launch: Launch, grace_seconds: float, clock: Clock) -> None:
        """`grace_seconds`: what the process may take to stop before it is killed."""
        self._number = number
        self._launch = launch
        self._grace_seconds = grace_seconds
        self._clock = clock
        self.failed = False
        """Whether the process, asked to stop, ended in any other way than in order."""

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a process running until `stop`, then end it and return. Cancelled, it ends the process at once.

        Raises:
            ConfigurationError: the first process said that it cannot run. Another one could not either.
        """
        died = failures = 0
        while not stop.is_set():
            started_at_seconds = self._clock.monotonic_seconds()
            end = await self._life(stop, died=died)
            if stop.is_set():
                self._judge(end)
                return
            died += 1
            ran_well = self._clock.monotonic_seconds() - started_at_seconds >= RAN_WELL_SECONDS
            failures = 1 if ran_well else failures + 1
            delay_seconds = _BACKOFF.delay_seconds(failures=failures, chance=self._clock.chance())
            _log.error(LogEvent.PROCESS_EXITED, process=self._number, **end, delay_seconds=round(delay_seconds, 3))
            await self._clock.wait(stop, timeout_seconds=delay_seconds)

    async def _life(self, stop: asyncio.Event, *, died: int) -> Mapping[str, str | int]:
        """One process from its start to its end, and how it ended."""
        try:
            pipe = ParentDeathPipe()
        except OSError as error:  # no file left to have; that may pass
            return {"cause": str(error)}
        with pipe:
            try:
                process = await self._launch(died, pipe.child_end)
            except OSError as error:  # nor memory, nor a process
                return {"cause": str(error)}
            pipe.handed_down()
            _log.info(LogEvent.PROCESS_STARTED, process=self._number, pid=process.pid)
            try:
                async with asyncio.TaskGroup() as group:
                    ending = group.create_task(self._end(process, stop), name=f"end process {self._number}")
                    code = await process.wait()
                    ending.cancel()
            except asyncio.CancelledError:
                await self._end_at_once(process)
                raise
            refusal = pipe.refusal() if code != 0 else None
            if refusal and not died:
                raise ConfigurationError(refusal)
            if refusal:  # of a replacement: the others work, so something changed that may change back
                return {"cause": refusal}
        return {"exit_code": code} if code >= 0 else {"signal": _signal_name(-code)}

    async def _end(self, process: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
        await stop.wait()
        _send(process, signal.SIGTERM)
        never = asyncio.Event()  # this is cancelled when the process has ended
        await self._clock.wait(never, timeout_seconds=self._grace_seconds)
        self._kill(process)

    async def _end_at_once(self, process: asyncio.subprocess.Process) -> None:
        _send(process, signal.SIGINT)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HURRY_SECONDS):
                    await process.wait()
        finally:
            if process.returncode is None:
                self._kill(process)

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        self.failed = True
        _log.error(LogEvent.PROCESS_KILLED, process=self._number, pid=process.pid)
        _send(process, signal.SIGKILL)

    def _judge(self, end: Mapping[str, str | int]) -> None:
        """Say once that a stop did not go well."""
        if end not in _IN_ORDER and not self.failed:
            self.failed = True
            _log.error(LogEvent.PROCESS_EXITED, process=self._number, **end)


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
        process.send_signal(number)


def _signal_name(number: int) -> str:
    return next((known.name for known in signal.Signals if known == number), str(number))
