"""How commands end: the exit codes of the contract, and errors as one clear line instead of a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from schemas.detail import printable
from worker.domain.errors import Broken, Misconfigured, Unavailable

EXIT_PROBLEM = 1
"""The work found a problem, which it reports."""

EXIT_USAGE = 2
"""Wrong usage or configuration."""

EXIT_INTERRUPTED = 130


@contextmanager
def clear_errors() -> Iterator[None]:
    """Around a command's work: what an operator can mend is said in one line on standard error."""
    try:
        yield
    except (Misconfigured, Unavailable) as error:
        complain(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    except ExceptionGroup as group:
        if (broken := group.subgroup(Broken)) is None:
            raise
        complain(str(broken.exceptions[0]))
        raise typer.Exit(EXIT_PROBLEM) from group
    except KeyboardInterrupt as error:
        raise typer.Exit(EXIT_INTERRUPTED) from error


def complain(line: str) -> None:
    """Write one line to standard error; what it quotes cannot steer the terminal."""
    if sys.stderr is None:
        return
    with suppress(OSError):  # whoever read it is gone, and there is nowhere else to report that
        print(f"rudder-worker: {printable(' '.join(line.split()))}", file=sys.stderr)
