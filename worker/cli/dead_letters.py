"""`rudder-worker dead-letters`: its subcommands, and `list`."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.times import format_time
from schemas.types import short_type
from worker.cli.dead_letter_dismissal import dismiss
from worker.cli.dead_letter_export import export
from worker.cli.dead_letter_filters import with_filters
from worker.cli.dead_letter_json import as_json_object
from worker.cli.dead_letter_show import show
from worker.cli.exits import clear_errors, note, warn_of_unknown_names
from worker.cli.log_format import with_log_format
from worker.cli.redrive import redrive
from worker.cli.tables import print_table
from worker.pages import CappedCount, PageKey
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load
from worker.stored_dead_letters import DeadLetter, DeadLetterState, Filters

if TYPE_CHECKING:
    from worker.dead_letters.grouping import Groups

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
        str | None, typer.Option(metavar="<key>", help="Continue behind this key, as printed by the page before.")
    ] = None,
    group_by: Annotated[
        Literal["reason", "source", "type", "fingerprint"] | None,
        typer.Option(help="Count by this instead. A fingerprint is reason and detail without ids and numbers."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List dead letters, newest first.

    Where there are more, the option for the next page is printed on standard error. Numbers above 10,000 are not
    counted exactly.
    """
    with clear_errors():
        log_setup.configure(level="warning", log_format=context.obj or "console")
        wanted, key = filters(), _page_key(after)
        settings = load()
        warn_of_unknown_names()
        if group_by is not None:
            if after is not None:
                raise ConfigurationError("--group-by and --after cannot be used together")
            _print_groups(asyncio.run(_grouped(settings, wanted, group_by)), group_by, limit=limit, as_json=as_json)
            return
        found, count = asyncio.run(_listed(settings, wanted, key, limit))
        next_key = found[limit - 1].key if len(found) > limit else None
        if as_json:
            _print_json(found[:limit], count, next_key)
        elif found:
            print_table(("ID", "TIME", "REASON", "TYPE", "RECORD", "DETAIL"), [_row(one) for one in found[:limit]])
        note(_summary(wanted, count))
        if wanted.topic is not None and wanted.topic not in settings.input_topics:
            note(f"{wanted.topic} is none of RUDDER_INPUT_TOPICS ({', '.join(settings.input_topics)})")
        if next_key is not None:
            note(f"next page: --after {next_key}")


async def _listed(
    settings: Settings, filters: Filters, after: PageKey | None, limit: int
) -> tuple[Sequence[DeadLetter], CappedCount]:
    from worker.assembly.databases import operators_database

    database = operators_database(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        await database.check()
        found = await database.dead_letters.page(filters, after, limit + 1)
        return found, await database.dead_letters.count(filters, _COUNT_MAX)


async def _grouped(settings: Settings, filters: Filters, by: str) -> "Groups":
    from worker.assembly.databases import operators_database
    from worker.dead_letters.grouping import GroupBy, grouped

    database = operators_database(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        await database.check()
        return await grouped(database.dead_letters, filters, GroupBy(by))


def _print_groups(found: "Groups", by: str, *, limit: int, as_json: bool) -> None:
    from worker.dead_letters.grouping import FINGERPRINTED_MAX, GROUPS_MAX

    if as_json:
        groups = [
            {
                "value": group.value,
                "count": group.count,
                "first": format_time(group.first),
                "last": format_time(group.last),
                "releases": group.releases,
            }
            for group in found.groups[:limit]
        ]
        print(json.dumps({"group_by": by, "capped": found.capped, "groups": groups}, ensure_ascii=False, indent=2))
    elif found.groups:
        print_table(
            ("COUNT", "FIRST", "LAST", "RELEASES", by.upper()),
            [
                (f"{group.count:,}", _time(group.first), _time(group.last), f"{group.releases:,}", group.value or "-")
                for group in found.groups[:limit]
            ],
        )
    if found.capped:
        note(f"only the newest {FINGERPRINTED_MAX:,} dead letters are counted; narrow the selection with --until")
    if len(found.groups) > limit:
        note(f"{len(found.groups) - limit:,} more groups; list them with --limit")
    if len(found.groups) == GROUPS_MAX:
        note(f"only the {GROUPS_MAX:,} largest groups are listed")


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}Z"


def _page_key(text: str | None) -> PageKey | None:
    try:
        return None if text is None else PageKey.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"--after: {text} is no key; use what the page before has printed") from error


def _summary(filters: Filters, count: CappedCount) -> str:
    state = "" if filters.state is DeadLetterState.ALL else f"{filters.state} "
    noun = "dead letter" if str(count) == "1" else "dead letters"
    return f"{count} {state}{noun}{' of this selection' if filters.narrowed else ''}"


def _row(one: DeadLetter) -> Sequence[str]:
    rejection = one.rejection
    return (
        str(one.id),
        _time(rejection.created_at),
        rejection.reason,
        short_type(rejection.event_type or "-"),
        f"{rejection.topic}/{rejection.partition}@{rejection.offset}",
        rejection.detail,
    )


def _print_json(found: Sequence[DeadLetter], count: CappedCount, next_key: PageKey | None) -> None:
    whole = {
        "count": count.number,
        "count_capped": count.capped,
        "next": None if next_key is None else str(next_key),
        "dead_letters": [as_json_object(one) for one in found],
    }
    print(json.dumps(whole, ensure_ascii=False, indent=2))


commands.command("list")(with_log_format(list_))
commands.command("show")(with_log_format(show))
commands.command("dismiss")(with_log_format(dismiss))
commands.command("export")(with_log_format(export))
commands.command("redrive")(with_log_format(redrive))
