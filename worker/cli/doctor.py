"""`rudder-worker doctor`: check everything around the worker that can be checked."""

import asyncio
import json
from typing import Annotated

import typer

from schemas.detail import printable
from worker.cli.exits import EXIT_PROBLEM, clear_errors, note, warn_of_unknown_names
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import load

_DAYS_MAX = 36_500


def doctor(
    context: typer.Context,
    replay_days: Annotated[
        int, typer.Option("--replay", min=0, max=_DAYS_MAX, help="Days that a replay must be able to read back.")
    ] = 7,
    lag_records: Annotated[int, typer.Option("--lag", min=0, help="Records of lag from where on it is a warning.")] = (
        10_000
    ),
    clock_seconds: Annotated[
        int, typer.Option("--clock", min=0, help="Seconds of clock difference from where on it is a warning.")
    ] = 5,
    certificate_days: Annotated[
        int, typer.Option("--certificates", min=0, max=_DAYS_MAX, help="Days before a certificate expires to warn.")
    ] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check broker, topics, privileges, database, group, breaker, dead letters, clocks and certificates. Writes
    nothing.

    Each check is ok, a warning, a fault, or not checked, with the reason. With a fault, the exit code is 1.
    """
    with clear_errors():
        log_setup.configure(level="critical", log_format=context.obj or "console")  # the findings have it
        settings = load()
        warn_of_unknown_names()
        from worker.assembly.doctor_checks import doctor as examined
        from worker.assembly.run_services import require_extras
        from worker.doctor.facts import Bounds
        from worker.doctor.findings import Level, worst

        require_extras(settings)
        bounds = Bounds(
            replay_seconds=replay_days * 86_400.0,
            lag_records=lag_records,
            clock_seconds=clock_seconds,
            certificate_days=certificate_days,
        )
        try:
            findings = asyncio.run(examined(settings, bounds))
        except ConfigurationError as error:
            raise ConfigurationError(f"nothing was checked: {error}") from error
        if as_json:
            whole = {"level": worst(findings), "findings": [finding.as_json() for finding in findings]}
            print(json.dumps(whole, ensure_ascii=False, indent=2))
        else:
            for finding in findings:
                print(printable(f"{finding.level:<11}  {finding.check}: {finding.text}"))
                if finding.action is not None:
                    print(printable(f"{'':<13}{finding.action}"))
            counts = {level: sum(finding.level is level for finding in findings) for level in Level}
            note(", ".join(f"{count} {level}" for level, count in counts.items()))
        if worst(findings) is Level.FAULT:
            raise typer.Exit(EXIT_PROBLEM)
