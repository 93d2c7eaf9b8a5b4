"""The command `rudder-worker`: its subcommands and its global options."""

import errno
import os
import sys
from itertools import pairwise
from typing import Annotated

import typer
from typer.exceptions import TyperException

from worker.cli import (
    breaker,
    check_config,
    dead_letters,
    demo,
    doctor,
    migrate,
    publish,
    redrive,
    replay,
    run,
    status,
    validate,
    verify,
)
from worker.cli.exits import EXIT_INTERRUPTED, EXIT_PROBLEM, EXIT_USAGE, complain
from worker.cli.log_format import LogFormatOption, with_log_format
from worker.service import log_setup
from worker.version import __version__

app = typer.Typer(
    name="rudder-worker",
    help="Consume release and deployment events from Kafka, and record them in a database.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text on terminals too
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(with_log_format(run.run))
app.command("demo")(with_log_format(demo.demo))
app.command("migrate")(with_log_format(migrate.migrate))
app.command("check-config")(with_log_format(check_config.check_config))
app.command("publish")(with_log_format(publish.publish))
app.command("validate")(with_log_format(validate.validate))
app.command("replay")(with_log_format(replay.replay))
app.add_typer(breaker.commands, name="breaker")
app.command("doctor")(with_log_format(doctor.doctor))
app.command("verify")(with_log_format(verify.verify))
dead_letters.commands.command("redrive")(with_log_format(redrive.redrive))
app.add_typer(dead_letters.commands)
app.add_typer(status.commands)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"rudder-worker {__version__}")
        raise typer.Exit


@app.callback()
def options(
    log_format: LogFormatOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del log_format, version


def main() -> int:
    """Run the command of `sys.argv`; its exit code. A bug in the worker is reported here, with its traceback, in the
    format of the logs.
    """
    try:
        code = _invoked()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO}:
            log_setup.log_fault(error)
            return EXIT_PROBLEM
        _redirect_standard_output()
        if error.errno != errno.EPIPE:  # the reader closed the pipe, as `head` does
            complain(f"standard output cannot be written: {error.strerror}")
            return EXIT_USAGE
        return EXIT_PROBLEM
    except Exception as error:  # noqa: BLE001 - reported with its traceback
        log_setup.log_fault(error)
        return EXIT_PROBLEM
    return code


def _invoked() -> int:
    as_json = "--log-format=json" in sys.argv or ("--log-format", "json") in pairwise(sys.argv)
    try:
        ended = app(prog_name="rudder-worker", standalone_mode=not as_json)
    except SystemExit as exit_:
        ended = exit_.code
    except TyperException as error:  # wrong usage; Typer would print plain text
        log_setup.configure(level="info", log_format="json")
        complain(error.format_message())
        return error.exit_code
    return ended if isinstance(ended, int) else 0


def _redirect_standard_output() -> None:
    """Discard buffered output, which the interpreter would write again at exit."""
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, sys.stdout.fileno())
    os.close(null_device)
