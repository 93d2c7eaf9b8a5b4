"""`rudder-worker check-config`: the effective settings, checked."""

import asyncio
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.detail import printable
from worker.cli.exits import EXIT_PROBLEM, clear_errors, warn, warn_of_unknown_names
from worker.environment_variables import PREFIX
from worker.rules.errors import ConfigurationError, Unavailable
from worker.service import log_setup
from worker.settings import Settings, load
from worker.sources_file import allowed_sources

if TYPE_CHECKING:
    from worker.service.connection_check import Checked

_MASK = "********"

_ADVICE_TIMEOUT_SECONDS = 5.0
"""The command prints settings; it must not wait long for a database."""


def check_config(
    context: typer.Context,
    connect: Annotated[
        bool,
        typer.Option("--connect", help="Also check database, broker, topics and group, read-only; 1 on failure."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the effective settings, with secrets masked. If settings contradict each other, the exit code is 2.

    If SQL Server answers, also print recommendations for the database.
    """
    with clear_errors():
        settings = load()
        from worker.assembly.run_services import require_extras

        require_extras(settings)
        allowed_sources(settings.sources_file)
        if settings.gateway_keys_file is not None:
            from worker.keys_file import gateway_keys

            gateway_keys(settings.gateway_keys_file)
        values = {PREFIX + name.upper(): _shown(settings, name) for name in Settings.model_fields}
        checked = _connected(settings, context) if connect else ()
        if as_json:
            more = {"connections": [one.as_json() for one in checked]} if connect else {}
            print(json.dumps({**values, **more}, indent=2))
        else:
            for name, value in values.items():
                print(f"{name}={'' if value is None else value}")
            for one in checked:
                print(printable(one.line()))
        advice = tuple(line for one in checked for line in one.advice) if connect else _advice(settings)
        warn_of_unknown_names()
        for problem in advice:
            warn(problem)
        if any(one.problem is not None for one in checked):
            raise typer.Exit(EXIT_PROBLEM)


def _connected(settings: Settings, context: typer.Context) -> "Sequence[Checked]":
    """The result of each check. The clients' own log lines are off, since they would repeat it."""
    from worker.assembly.run_services import connection_checks
    from worker.service.connection_check import connect

    log_setup.configure(level="critical", log_format=context.obj or "console")
    return asyncio.run(connect(connection_checks(settings)))


def _advice(settings: Settings) -> Sequence[str]:
    """Recommendations for the database, if its dialect has any and it answers."""
    from worker.assembly.databases import store
    from worker.db.dialect import dialect_of

    if not dialect_of(settings.database_url.get_secret_value()).advises:
        return ()
    timeout_seconds = min(settings.database_timeout_seconds, _ADVICE_TIMEOUT_SECONDS)

    async def look() -> Sequence[str]:
        database = store(settings.model_copy(update={"database_timeout_seconds": timeout_seconds}))
        try:
            return await database.advice()
        finally:
            await database.close()

    try:
        return asyncio.run(look())
    except (ConfigurationError, Unavailable) as error:
        return (f"the database was not checked: {' '.join(str(error).split())}",)


def _shown(settings: Settings, name: str) -> str | int | float | None:
    value = getattr(settings, name)
    if name == "database_url":
        from worker.db.database_url import masked

        return masked(value.get_secret_value())
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, tuple):
        return ",".join(value)
    return _MASK if hasattr(value, "get_secret_value") else str(value)
