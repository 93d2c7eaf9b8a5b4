"""The command `rudder-worker`: its subcommands and its global options."""

import errno
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from worker.cli.exits import EXIT_INTERRUPTED, EXIT_PROBLEM, EXIT_USAGE, complain
from worker.cli.log_format import LogFormatOption, with_log_format
from worker.service import log_setup
from worker.version import __version__

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "run": "run:run",
        "demo": "demo:demo",
        "migrate": "migrate:migrate",
        "check-config": "check_config:check_config",
        "gateway": "gateway:gateway",
        "publish": "publish:publish",
        "validate": "validate:validate",
        "mapping": "mapping:commands",
        "status": "status:commands",
        "doctor": "doctor:doctor",
        "dead-letters": "dead_letters:commands",
        "replay": "replay:replay",
        "state": "state:commands",
        "breaker": "breaker:commands",
        "verify": "verify:verify",
    }
)
"""By name, in the order of `--help`: the module in `worker.cli`, and its function or its group of commands."""


class Commands(TyperGroup):
    """Loads the module of a command when it is used, since all of them together take a second to load."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"worker.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = cmd_name
            return group
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        alone.command(cmd_name, context_settings=_CONTEXT_SETTINGS)(with_log_format(found))
        return typer.main.get_command(alone)


_CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="rudder-worker",
    cls=Commands,
    help="Consume release and deployment events from Kafka, and record them in a database.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text on terminals too
    context_settings=_CONTEXT_SETTINGS,
)


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
