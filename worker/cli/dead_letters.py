"""`rudder-worker dead-letters`: list rejected events."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Any

import typer

from schemas.times import format_time
from schemas.types import short_type
from worker.cli.dead_letter_dismissal import dismiss
from worker.cli.dead_letter_filters import with_filters
from worker.cli.exits import clear_errors, note, warn_of_unknown_names
from worker.cli.log_format import with_log_format
from worker.cli.tables import print_table
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load
from worker.stored_dead_letters import CappedCount, DeadLetter, DeadLetterState, Filters, Place

commands = typer.Typer(
    name="dead-letters", help="Find, inspect and settle rejected events.", no_args_is_help=True, rich_markup_mode=None
)

_COUNT_MAX = 10_000


@with_filters()
def list_(
    context: typer.Context,
    filters: Callable[[], Filters],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="List at most this many.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="<place>", help="Continue behind this place, as printed by the page before.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List dead letters, newest first.

    Where there are more, the option for the next page is printed on standard error. Numbers above 10,000 are not
    counted exactly.
    """
    with clear_errors():
        log_setup.configure(level="warning", log_format=context.obj or "console")
        wanted, place = filters(), _place(after)
        settings = load()
        warn_of_unknown_names()
        found, count = asyncio.run(_listed(settings, wanted, place, limit))
        next_place = found[limit - 1].place if len(found) > limit else None
        if as_json:
            _print_json(found[:limit], count, next_place)
        elif found:
            print_table(("ID", "TIME", "REASON", "TYPE", "RECORD", "DETAIL"), [_row(one) for one in found[:limit]])
        note(_summary(wanted, count))
        if next_place is not None:
            note(f"next page: --after {next_place}")


async def _listed(
    settings: Settings, filters: Filters, after: Place | None, limit: int
) -> tuple[Sequence[DeadLetter], CappedCount]:
    from worker.assembly import operators_database

    database = operators_database(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        await database.check()
        found = await database.dead_letters.page(filters, after, limit + 1)
        return found, await database.dead_letters.count(filters, _COUNT_MAX)


def _place(text: str | None) -> Place | None:
    try:
        return None if text is None else Place.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"--after: {text} is no place; use what the page before has printed") from error


def _summary(filters: Filters, count: CappedCount) -> str:
    state = "" if filters.state is DeadLetterState.ALL else f"{filters.state} "
    noun = "dead letter" if str(count) == "1" else "dead letters"
    return f"{count} {state}{noun}{' of this selection' if filters.narrowed else ''}"


def _row(one: DeadLetter) -> Sequence[str]:
    rejection = one.rejection
    return (
        str(one.id),
        f"{rejection.created_at:%Y-%m-%d %H:%M:%S}Z",
        rejection.reason,
        short_type(rejection.event_type or "-"),
        f"{rejection.topic}/{rejection.partition}@{rejection.offset}",
        rejection.detail,
    )


def _print_json(found: Sequence[DeadLetter], count: CappedCount, next_place: Place | None) -> None:
    whole = {
        "count": count.number,
        "count_capped": count.capped,
        "next": None if next_place is None else str(next_place),
        "dead_letters": [as_json_object(one) for one in found],
    }
    print(json.dumps(whole, ensure_ascii=False, indent=2))


def as_json_object(one: DeadLetter) -> dict[str, Any]:
    """A dead letter as all `--json` output has it."""
    rejection, dismissal = one.rejection, one.dismissal
    return {
        "id": str(one.id),
        "state": one.state.value,
        "created_at": format_time(rejection.created_at),
        "reason": rejection.reason,
        "detail": rejection.detail,
        "source": rejection.event_source,
        "event_id": rejection.event_id,
        "type": rejection.event_type,
        "release_id": None if rejection.release_id is None else str(rejection.release_id),
        "record": {"topic": rejection.topic, "partition": rejection.partition, "offset": rejection.offset},
        "resolved_at": None if rejection.resolved_at is None else format_time(rejection.resolved_at),
        "dismissal": dismissal
        and {
            "dismissed_at": format_time(dismissal.dismissed_at),
            "dismissed_by": dismissal.dismissed_by,
            "note": dismissal.note,
        },
    }


commands.command("list")(with_log_format(list_))
commands.command("dismiss")(with_log_format(dismiss))
