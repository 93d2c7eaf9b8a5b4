"""How commands end: exit codes (docs/contract.md#commands), and errors as one line instead of a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import structlog
import typer

from schemas.detail import printable
from worker.cli import signals
from worker.environment_variables import environment
from worker.rules.errors import ConfigurationError, FatalClientError, Unavailable
from worker.service import log_setup
from worker.settings import unknown_names
from worker.telemetry import LogEvent

EXIT_PROBLEM = 1
"""The command found a problem, and reports it."""

EXIT_USAGE = 2
"""Wrong usage or configuration."""

EXIT_INTERRUPTED = 130


@contextmanager
def clear_errors(*, interruptible: bool = True) -> Iterator[None]:
    """Around a command: print an operator's error as one line on standard error; end the command on a signal.
    Not `interruptible`: the command handles signals itself.
    """
    try:
        with signals.interrupting() if interruptible else nullcontext():
            yield
    except (ConfigurationError, Unavailable) as error:
        complain(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    except ExceptionGroup as group:
        if (fatal := group.subgroup(FatalClientError)) is None:
            raise
        complain(str(fatal.exceptions[0]))
        raise typer.Exit(EXIT_PROBLEM) from group
    except KeyboardInterrupt as error:
        raise typer.Exit(EXIT_INTERRUPTED) from error


def complain(line: str) -> None:
    """Print why the command failed: a JSON line among JSON logs, else one line without control characters."""
    text = printable(" ".join(line.split()))
    if log_setup.json_chosen():
        _log().critical(LogEvent.COMMAND_FAILED, problem=text)
    else:
        _print(f"rudder-worker: {text}")


def warn(line: str) -> None:
    """Print a warning of a command that goes on, as `complain` does."""
    text = printable(" ".join(line.split()))
    if log_setup.json_chosen():
        _log().warning(LogEvent.COMMAND_WARNING, problem=text)
    else:
        _print(f"rudder-worker: warning: {text}")


def warn_of_unknown_names() -> None:
    """Warn of each variable that looks like a misspelt setting."""
    for problem in unknown_names(environment()):
        warn(problem)


def note(line: str) -> None:
    """Print information on the command's progress, as `complain` does."""
    text = printable(" ".join(line.split()))
    if log_setup.json_chosen():
        _log().info(LogEvent.COMMAND_NOTE, note=text)
    else:
        _print(f"rudder-worker: {text}")


def _log() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("worker.command")
    return logger


def _print(line: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError):  # the reader is gone, and there is no other stream to report that
            print(line, file=sys.stderr)
