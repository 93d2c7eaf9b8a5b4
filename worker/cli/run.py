"""`rudder-worker run`: the worker, in this process or in several, until a signal ends it."""

import asyncio
import gc
import math
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Annotated

import structlog
import typer

from worker.cli import signals
from worker.cli.exits import EXIT_INTERRUPTED, EXIT_PROBLEM, EXIT_USAGE, clear_errors
from worker.cli.processes import NUMBER_OPTION, process_keepers
from worker.environment_variables import environment
from worker.rules.errors import ConfigurationError, Unavailable
from worker.service import log_setup, parent_death
from worker.service.supervisor import Stop, supervise
from worker.settings import Settings, load, unknown_names
from worker.telemetry import LogEvent

GRACE_SECONDS = 20.0
"""What a stop may take beyond the drain: the last commit's timeout, leaving the group, closing connections."""

_MARGIN_SECONDS = 15.0
"""What a process may take beyond that to cancel what hangs and say so; who is then still there is killed."""

_GC_THRESHOLDS = (10_000, 3, 3)
"""Allocations between two collections, and how many of one generation make one of the next: Python's 700 cost a
twentieth of all time. Libraries leave cycles behind all the same, so the oldest generation has its turn as well."""


def run(
    context: typer.Context,
    processes: Annotated[
        int | None,
        typer.Option(help="Worker processes, one for each core to use.", show_default="RUDDER_PROCESSES"),
    ] = None,
    process_number: Annotated[int | None, typer.Option(NUMBER_OPTION, hidden=True)] = None,
) -> None:
    """Consume events, write rows, publish status changes, until SIGTERM, SIGINT, SIGHUP or SIGQUIT.

    A second signal does not wait for work in flight; nothing is lost, the events will be delivered again.

    With several processes, this one does no work: it restarts any that dies, and stops them all.
    """
    with clear_errors(interruptible=False), nullcontext() if process_number is None else _of_several(process_number):
        log_setup.configure(level="info", log_format=context.obj)
        settings = load(**({} if processes is None else {"processes": processes}))
        log_setup.configure(level=settings.log_level, log_format=context.obj)
        if process_number is not None:
            own = settings.of_process(process_number)
            _run(lambda stop: _work(own, stop, supervised=True), supervised=True)
            return
        for problem in unknown_names(environment()):
            structlog.get_logger("worker.settings").warning(LogEvent.SETTING_UNKNOWN, problem=problem)
        serve = _work if settings.processes == 1 else _watch
        _run(lambda stop: serve(settings, stop))


@contextmanager
def _of_several(process_number: int) -> Iterator[None]:
    """Around one of several processes: its log lines say which it is, and its parent says why none can run."""
    with structlog.contextvars.bound_contextvars(process=process_number):
        try:
            yield
        except (ConfigurationError, Unavailable) as error:
            parent_death.refuse(str(error))
            raise typer.Exit(EXIT_USAGE) from error


def _run(serve: Callable[[Stop], Awaitable[None]], *, supervised: bool = False) -> None:
    """`supervised`: this is one of several processes."""

    async def stoppable() -> signal.Signals | None:
        # Before anything is imported that takes time, and until the loop is closed.
        stop, received = Stop(), _Received(supervised=supervised)
        with received.installed(stop):
            await serve(stop)
        return received.signal

    try:
        with ExitStack() as closing, asyncio.Runner(loop_factory=_loop_factory()) as runner:
            try:
                received = runner.run(stoppable())
            finally:
                closing.enter_context(signals.bounded_exit(EXIT_PROBLEM))  # the loop waits for a driver's threads
    except asyncio.CancelledError as error:  # by a signal that does not wait
        raise typer.Exit(EXIT_INTERRUPTED) from error
    if received == signal.SIGINT:
        raise typer.Exit(EXIT_INTERRUPTED)


async def _work(settings: Settings, stop: Stop, *, supervised: bool = False) -> None:
    """Be a worker."""
    from worker.assembly import LAST_SERVICES, services

    grace_seconds = settings.drain_timeout_seconds + GRACE_SECONDS
    working = services(settings)
    # What is there now stays, so that no collection looks through it again.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)

    def orphaned() -> None:
        structlog.get_logger("worker.processes").warning(LogEvent.PROCESS_ORPHANED)
        signal.alarm(math.ceil(grace_seconds + _MARGIN_SECONDS))  # nobody else is left to kill this one if it hangs
        stop.ask("the parent process is gone")

    if supervised:
        parent_death.when_cut(orphaned)
    await supervise(working, stop, grace_seconds=grace_seconds, last=LAST_SERVICES)


async def _watch(settings: Settings, stop: Stop) -> None:
    """Be the parent of several workers."""
    from worker.db.engine import parse_url
    from worker.sources_file import allowed_sources

    parse_url(settings.database_url.get_secret_value())
    allowed_sources(settings.sources_file)
    grace_seconds = settings.drain_timeout_seconds + GRACE_SECONDS + _MARGIN_SECONDS
    keepers = process_keepers(settings, grace_seconds=grace_seconds)
    await supervise(keepers, stop, grace_seconds=grace_seconds + _MARGIN_SECONDS)
    if any(keeper.failed for keeper in keepers.values()):
        raise typer.Exit(EXIT_PROBLEM)


class _Received:
    """The first signal asks the worker to stop, the second ends it.

    One of several processes may be sent SIGTERM by its parent and, as some service managers do, by whoever sent it to
    the parent as well. It is SIGINT that ends it at once.
    """

    def __init__(self, *, supervised: bool) -> None:
        self._supervised = supervised
        self.signal: signal.Signals | None = None

    def installed(self, stop: Stop) -> AbstractContextManager[None]:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def receive(number: signal.Signals) -> None:
            at_once = number == signal.SIGINT if self._supervised else self.signal is not None
            if at_once and task is not None:
                task.cancel()
            self.signal = number
            stop.ask(number.name)

        def wake(number: signal.Signals) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(receive, number)

        return signals.handled(wake, always=(signal.SIGTERM, signal.SIGINT))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not to be had on Windows
        return None
    return uvloop.Loop
