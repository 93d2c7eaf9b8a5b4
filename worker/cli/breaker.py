"""`rudder-worker breaker`: whether the breaker of the group is open, and how an operator closes it."""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.exits import EXIT_PROBLEM, clear_errors, warn_of_unknown_names
from worker.cli.log_format import with_log_format
from worker.service import log_setup
from worker.settings import Settings, load

if TYPE_CHECKING:
    from worker.group_breaker import Opening

commands = typer.Typer(
    help="Show or close the breaker of the consumer group.", no_args_is_help=True, rich_markup_mode=None
)


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    past: Annotated[int, typer.Option(min=0, help="List at most this many past openings.")] = 5,
) -> None:
    """Show whether the breaker of RUDDER_GROUP_ID is open: since when, by which worker, and why.

    Exit code 1 if it is open.
    """
    with clear_errors():
        settings = _settings(context)
        current, closed = asyncio.run(_openings(settings, past))
        if as_json:
            shown = {
                "group": settings.group_id,
                "open": current is not None,
                "opening": current and current.as_json(),
                "past": [opening.as_json() for opening in closed],
            }
            print(json.dumps(shown, ensure_ascii=False, indent=2))
        else:
            _print(settings.group_id, current, closed)
        if current is not None:
            raise typer.Exit(EXIT_PROBLEM)


def close(
    context: typer.Context,
    note: Annotated[str, typer.Option(metavar="TEXT", help="The cause, and what was done about it.")],
) -> None:
    """Close the breaker of RUDDER_GROUP_ID. Its workers continue within seconds, at the first event not completed.

    The note and the operator are recorded.
    """
    with clear_errors():
        settings = _settings(context)
        opening = asyncio.run(_closed(settings, note))
        print(f"the breaker of group {settings.group_id} is closed; it was opened by {opening.opened_by}")


commands.command("status")(with_log_format(status))
commands.command("close")(with_log_format(close))


def _settings(context: typer.Context) -> Settings:
    log_setup.configure(level="warning", log_format=context.obj or "console")
    settings = load()
    warn_of_unknown_names()
    return settings


async def _openings(settings: Settings, past: int) -> "tuple[Opening | None, Sequence[Opening]]":
    from worker.assembly.databases import operators_database

    database = operators_database(settings)
    try:
        await database.check()
        current = await database.openings.current(settings.group_id)
        return current, await database.openings.past(settings.group_id, limit=past)
    finally:
        await database.close()


async def _closed(settings: Settings, note: str) -> "Opening":
    from worker.assembly.databases import operators_database
    from worker.group_breaker import close
    from worker.operator_actions import Operator

    database = operators_database(settings)
    try:
        await database.check()
        operator = Operator.current(settings.operator)
        return await close(database.openings, database.actions, settings.group_id, note=note, operator=operator)
    finally:
        await database.close()


def _print(group_id: str, current: "Opening | None", past: "Sequence[Opening]") -> None:
    from worker.group_breaker import utc

    if current is None:
        print(f"the breaker of group {group_id} is closed")
    else:
        tripped = current.tripped
        print(f"the breaker of group {group_id} is OPEN since {utc(current.opened_at)}")
        print(f"  opened by  {current.opened_by}")
        print(f"  rejected   {tripped.rejected} of the last {tripped.events} events")
        for title, counts in (("reasons", tripped.reasons), ("sources", tripped.sources)):
            print(f"  {title:<10} {', '.join(f'{name} {count}' for name, count in counts.items())}")
        print(f"  positions  {tripped.first} to {tripped.last}")
        print("close it with rudder-worker breaker close --note TEXT")
    for opening in past:
        closed_at = "" if opening.closed_at is None else utc(opening.closed_at)
        print(
            f"{utc(opening.opened_at)} to {closed_at}: {opening.tripped}; closed by {opening.closed_by}: {opening.note}"
        )
