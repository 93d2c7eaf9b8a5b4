"""How commands end: the exit codes of the contract, and errors as one clear line instead of a traceback."""

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
"""The work found a problem, which it reports."""

EXIT_USAGE = 2
"""Wrong usage or configuration."""

EXIT_INTERRUPTED = 130


@contextmanager
def clear_errors(*, interruptible: bool = True) -> Iterator[None]:
    """Around a command's work: an error that an operator can correct is one line on standard error, and a signal ends
    the command. Not `interruptible`: the command handles signals itself.
    """
    try:
        with signals.interrupting() if interruptible else nullcontext():
            yield
    except (ConfigurationError, Unavailable) as error:
        complain(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    except ExceptionGroup as group:
        if (broken := group.subgroup(FatalClientError)) is None:
            raise
        complain(str(broken.exceptions[0]))
        raise typer.Exit(EXIT_PROBLEM) from group
    except KeyboardInterrupt as error:
        raise typer.Exit(EXIT_INTERRUPTED) from error


def complain(line: str) -> None:
    """Why the command failed, in one line: among JSON logs a JSON line, else text that cannot steer a terminal."""
    text = printable(" ".join(line.split()))
    if log_setup.json_chosen():
        _log().critical(LogEvent.COMMAND_FAILED, problem=text)
    else:
        _print(f"rudder-worker: {text}")


def warn(line: str) -> None:
    """What an operator should know although the command did not fail, as `complain` writes it."""
    text = printable(" ".join(line.split()))
    if log_setup.json_chosen():
        _log().warning(LogEvent.COMMAND_WARNING, problem=text)
    else:
        _print(f"rudder-worker: warning: {text}")


def warn_of_unknown_names() -> None:
    """A warning for each variable that looks like a misspelt setting: the command works with that setting's default."""
    for problem in unknown_names(environment()):
        warn(problem)


def note(line: str) -> None:
    """What the command has to say of its work beside its results, as `complain` writes it."""
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
        with suppress(OSError):  # whoever read it is gone, and there is nowhere else to report that
            print(line, file=sys.stderr)
