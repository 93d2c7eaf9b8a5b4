"""`rudder-worker run`: the worker, in one process or in several, until a signal."""

import asyncio
import gc
import math
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Annotated

import structlog
import typer

from worker.cli import signals
from worker.cli.exits import EXIT_INTERRUPTED, EXIT_PROBLEM, EXIT_USAGE, clear_errors
from worker.environment_variables import environment
from worker.rules.errors import ConfigurationError, Unavailable
from worker.service import log_setup, parent_death
from worker.service.clock import SystemClock
from worker.service.processes import Launch, ProcessSupervisor
from worker.service.supervisor import Stop, supervise
from worker.settings import Settings, load, unknown_names
from worker.telemetry import LogEvent

GRACE_SECONDS = 20.0
"""Time limit of a stop, in addition to the drain: the last commit, leaving the group, closing connections."""

_MARGIN_SECONDS = 15.0
"""Time limit in addition to that for cancelling hanging tasks; then a process is killed."""

_NUMBER_OPTION = "--process-number"

_REPLACEMENT_VARIABLES = {"RUDDER_STARTUP_TIMEOUT_SECONDS": "inf"}
"""Of a process that replaces a dead one: the timeout is for the start of all. A database or broker that is unavailable
later is waited for, by a replacement as by the others."""

_GC_THRESHOLDS = (10_000, 3, 3)
"""Python's default of 700 allocations between two collections costs 5 % of the time. Libraries create cycles, so the
oldest generation is collected as well."""


def run(
    context: typer.Context,
    processes: Annotated[
        int | None,
        typer.Option(help="Number of worker processes; at most one per core.", show_default="RUDDER_PROCESSES"),
    ] = None,
    process_number: Annotated[int | None, typer.Option(_NUMBER_OPTION, hidden=True)] = None,
) -> None:
    """Consume events, write rows and publish status events, until SIGTERM, SIGINT, SIGHUP or SIGQUIT.

    With RUDDER_MAPPING_FILE, SIGHUP reads the mapping again instead.

    The first signal waits for messages in flight. A second one does not; their events are delivered again.

    With several processes, this one supervises them: it restarts a process that exits, and stops all of them.
    """
    with clear_errors(interruptible=False), nullcontext() if process_number is None else _of_several(process_number):
        log_setup.configure(level="info", log_format=context.obj)
        settings = load(**({} if processes is None else {"processes": processes}))
        log_setup.configure(level=settings.log_level, log_format=context.obj)
        if process_number is not None:
            own = settings.of_process(process_number)
            run_until_signal(lambda stop, hang_up: _work(own, stop, hang_up, supervised=True), supervised=True)
            return
        for problem in unknown_names(environment()):
            structlog.get_logger("worker.settings").warning(LogEvent.SETTING_UNKNOWN, problem=problem)
        serve = _work if settings.processes == 1 else _supervise_processes
        run_until_signal(lambda stop, hang_up: serve(settings, stop, hang_up))


@contextmanager
def _of_several(process_number: int) -> Iterator[None]:
    """Around one of several processes: its log lines have its number, and its parent reports why it cannot run."""
    with structlog.contextvars.bound_contextvars(process=process_number):
        try:
            yield
        except (ConfigurationError, Unavailable) as error:
            parent_death.refuse(str(error))
            raise typer.Exit(EXIT_USAGE) from error


class HangUp:
    """What SIGHUP does. `react`: None: it stops the worker."""

    def __init__(self) -> None:
        self.react: Callable[[], None] | None = None


def run_until_signal(serve: Callable[[Stop, HangUp], Awaitable[None]], *, supervised: bool = False) -> None:
    """Run `serve`, whose `stop` the first signal requests; the second one cancels it. `supervised`: this is one of
    several processes.

    Raises:
        typer.Exit: with the exit code of an interrupted command.
    """

    async def stoppable() -> signal.Signals | None:
        # Installed before slow imports, until the loop is closed.
        stop, hang_up, received = Stop(), HangUp(), _Received(supervised=supervised)
        with received.installed(stop, hang_up):
            await serve(stop, hang_up)
        return received.signal

    try:
        with ExitStack() as closing, asyncio.Runner(loop_factory=_loop_factory()) as runner:
            try:
                received = runner.run(stoppable())
            finally:
                closing.enter_context(signals.bounded_exit(EXIT_PROBLEM))  # the loop waits for drivers' threads
    except asyncio.CancelledError as error:  # by the second signal
        raise typer.Exit(EXIT_INTERRUPTED) from error
    if received == signal.SIGINT:
        raise typer.Exit(EXIT_INTERRUPTED)


async def _work(settings: Settings, stop: Stop, hang_up: HangUp, *, supervised: bool = False) -> None:
    """Run the worker's services."""
    from worker.assembly.run_services import LAST_SERVICES, MAPPING_SERVICE, services
    from worker.mapping_file import LiveMapping

    grace_seconds = settings.drain_timeout_seconds + GRACE_SECONDS
    working = services(settings)
    if isinstance(mapping := working.get(MAPPING_SERVICE), LiveMapping):
        hang_up.react = mapping.request_reload
    # Exclude all objects of the start from collections.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)

    def orphaned() -> None:
        structlog.get_logger("worker.processes").warning(LogEvent.PROCESS_ORPHANED)
        signal.alarm(math.ceil(grace_seconds + _MARGIN_SECONDS))  # no parent is left to kill this process if it hangs
        stop.request("the parent process has exited")

    if supervised:
        parent_death.on_parent_death(orphaned)
    await supervise(working, stop, grace_seconds=grace_seconds, last=LAST_SERVICES)


async def _supervise_processes(settings: Settings, stop: Stop, hang_up: HangUp) -> None:
    """Supervise several worker processes."""
    from worker.db.database_url import parse_url
    from worker.mapping_file import load_mapping
    from worker.sources_file import allowed_sources

    parse_url(settings.database_url.get_secret_value())
    allowed_sources(settings.sources_file)
    if settings.mapping_file is not None:
        load_mapping(settings.mapping_file)
    grace_seconds = settings.drain_timeout_seconds + GRACE_SECONDS + _MARGIN_SECONDS
    supervisors = process_supervisors(settings, grace_seconds=grace_seconds)
    if settings.mapping_file is not None:

        def forward() -> None:
            for supervisor in supervisors.values():
                supervisor.send(signal.SIGHUP)

        hang_up.react = forward
    await supervise(supervisors, stop, grace_seconds=grace_seconds + _MARGIN_SECONDS)
    if any(supervisor.failed for supervisor in supervisors.values()):
        raise typer.Exit(EXIT_PROBLEM)


def process_supervisors(settings: Settings, *, grace_seconds: float) -> Mapping[str, ProcessSupervisor]:
    """A service for each worker process. Not in `worker.assembly`, whose `run_services` imports every edge: a parent
    needs none.
    """
    clock = SystemClock()
    return {
        f"process {number}": ProcessSupervisor(
            number=number, launch=_launch(number), grace_seconds=grace_seconds, clock=clock
        )
        for number in range(settings.processes)
    }


def _launch(number: int) -> Launch:
    # As this very process was started, with the same interpreter, flags and options, whatever the way.
    command = (sys.executable, *sys.orig_argv[1:], _NUMBER_OPTION, str(number))

    async def launch(died: int, standard_input: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **(_REPLACEMENT_VARIABLES if died else {})},
            stdin=standard_input,
            # Ctrl-C in a terminal reaches a whole process group; the parent signals its worker processes itself.
            start_new_session=True,
        )

    return launch


class _Received:
    """The first signal stops the worker in order, the second at once.

    One of several processes may get SIGTERM twice: from its parent, and from a service manager that signals all
    processes. There, only SIGINT stops it at once.
    """

    def __init__(self, *, supervised: bool) -> None:
        self._supervised = supervised
        self.signal: signal.Signals | None = None

    def installed(self, stop: Stop, hang_up: HangUp) -> AbstractContextManager[None]:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def receive(number: signal.Signals) -> None:
            if number == signal.SIGHUP and hang_up.react is not None:
                hang_up.react()
                return
            at_once = number == signal.SIGINT if self._supervised else self.signal is not None
            if at_once and task is not None:
                task.cancel()
            self.signal = number
            stop.request(number.name)

        def wake(number: signal.Signals) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(receive, number)

        return signals.handled(wake, always=(signal.SIGTERM, signal.SIGINT))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not available on Windows
        return None
    return uvloop.Loop
