"""`rudder-worker run`: the worker, until a signal ends it."""

import asyncio
import signal

import structlog
import typer

from worker.cli import logs
from worker.cli.exits import EXIT_INTERRUPTED, clear_errors
from worker.settings import environment, load, unknown_names
from worker.telemetry import LogEvent

GRACE_SECONDS = 10.0
"""What a stop may take beyond the drain: committing, leaving the group, closing connections."""


def run(context: typer.Context) -> None:
    """Consume events, write rows, publish status changes, until SIGTERM or SIGINT.

    A second signal does not wait for what is being worked on; nothing is lost, it will be delivered again.
    """
    with clear_errors():
        settings = load()
        logs.configure(level=settings.log_level, log_format=context.obj)
        for problem in unknown_names(environment()):
            structlog.get_logger("worker.settings").warning(LogEvent.SETTING_UNKNOWN, problem=problem)
        from worker.assembly import services
        from worker.runtime.supervisor import supervise

        async def serve() -> int | None:
            stop, received = asyncio.Event(), _Received()
            received.install(stop)
            grace_seconds = settings.drain_timeout_seconds + GRACE_SECONDS
            await supervise(services(settings), stop, grace_seconds=grace_seconds)
            return received.signal

        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                received = runner.run(serve())
        except asyncio.CancelledError as error:  # by the second signal
            raise typer.Exit(EXIT_INTERRUPTED) from error
        if received == signal.SIGINT:
            raise typer.Exit(EXIT_INTERRUPTED)


class _Received:
    """The first signal asks the worker to stop, the second ends it."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def install(self, stop: asyncio.Event) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def receive(number: signal.Signals) -> None:
            if self.signal is not None and task is not None:
                task.cancel()
            self.signal = number
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, receive, number)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not to be had on Windows
        return None
    return uvloop.Loop
