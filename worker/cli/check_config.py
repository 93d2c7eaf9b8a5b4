"""`rudder-worker check-config`: the effective settings, before anything depends on them."""

import json
import math
from typing import Annotated

import typer

from worker.cli.exits import clear_errors, complain
from worker.settings import PREFIX, Settings, environment, load, unknown_names

_MASK = "********"


def check_config(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the effective settings, secrets masked; refuse contradictions in one line, with exit code 2."""
    with clear_errors():
        settings = load()
        from worker.db.engine import parse_url

        parse_url(settings.database_url.get_secret_value())
        values = {PREFIX + name.upper(): _shown(settings, name) for name in Settings.model_fields}
        if as_json:
            print(json.dumps(values, indent=2))
        else:
            for name, value in values.items():
                print(f"{name}={'' if value is None else value}")
        for problem in unknown_names(environment()):
            complain(f"warning: {problem}")


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
