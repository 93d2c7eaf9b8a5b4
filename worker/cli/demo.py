"""`rudder-worker demo`: a day of CI/CD on this machine, verified."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.exits import clear_errors
from worker.rules.errors import ConfigurationError


def demo(
    serve: Annotated[bool, typer.Option("--serve", help="Keep everything running afterwards, until Ctrl-C.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the events: the same seed gives the same events.")] = 2026,
    output: Annotated[Path, typer.Option(help="Folder of the database file and the worker's log.")] = Path(
        "demo-output"
    ),
) -> None:
    """Play a day of CI/CD through an embedded broker, a real worker process and SQLite, and recount it."""
    with clear_errors():
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"--output: {output} cannot be created: {error.strerror}") from error
        from worker.demo.broker import DemoExtraMissing, broker_binary
        from worker.demo.demonstration import run_demo

        try:
            broker_binary()
        except DemoExtraMissing as error:
            raise ConfigurationError(str(error)) from error

        raise typer.Exit(asyncio.run(run_demo(seed=seed, serve=serve, output_path=output)))
