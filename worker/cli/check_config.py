"""`rudder-worker check-config`: the effective settings, before anything depends on them."""

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Annotated

import typer

from worker.cli.exits import clear_errors, warn
from worker.domain.errors import Misconfigured, Unavailable
from worker.settings import PREFIX, Settings, environment, load, unknown_names
from worker.sources_file import allowed_sources

_MASK = "********"

_LOOK_TIMEOUT_SECONDS = 5.0
"""How long the database is waited for: the settings are what was asked for."""


def check_config(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the effective settings, secrets masked; refuse contradictions in one line, with exit code 2.

    Of SQL Server it also says what should be otherwise, where the server answers.
    """
    with clear_errors():
        settings = load()
        from worker.db.engine import parse_url

        parse_url(settings.database_url.get_secret_value())
        allowed_sources(settings.sources_file)
        values = {PREFIX + name.upper(): _shown(settings, name) for name in Settings.model_fields}
        if as_json:
            print(json.dumps(values, indent=2))
        else:
            for name, value in values.items():
                print(f"{name}={'' if value is None else value}")
        for problem in (*unknown_names(environment()), *_advice(settings)):
            warn(problem)


def _advice(settings: Settings) -> Sequence[str]:
    """What there is to say of the database, where there may be anything and it answers."""
    from worker.assembly import store
    from worker.db.engine import dialect_of

    if not dialect_of(settings.database_url.get_secret_value()).advises:
        return ()
    timeout_seconds = min(settings.database_timeout_seconds, _LOOK_TIMEOUT_SECONDS)

    async def look() -> Sequence[str]:
        database = store(settings.model_copy(update={"database_timeout_seconds": timeout_seconds}))
        try:
            return await database.advice()
        finally:
            await database.close()

    try:
        return asyncio.run(look())
    except (Misconfigured, Unavailable) as error:
        return (f"the database was not looked at: {' '.join(str(error).split())}",)


def _shown(settings: Settings, name: str) -> str | int | float | None:
    value = getattr(settings, name)
    if name == "database_url":
        from worker.db.engine import masked

        return masked(value.get_secret_value())
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, tuple):
        return ",".join(value)
    return _MASK if hasattr(value, "get_secret_value") else str(value)
