"""`rudder-worker status`: what runs where, releases, one release, and delivery metrics. Reads only."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from schemas.statuses import ReleaseStatus
from worker.cli.exits import clear_errors, note, warn_of_unknown_names
from worker.cli.log_format import with_log_format
from worker.cli.moments import moment
from worker.cli.redrawing import require_terminal, run_redrawing
from worker.pages import PageKey
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load

if TYPE_CHECKING:
    from worker.status.delivery import By
    from worker.status.tables import StatusTables

commands = typer.Typer(name="status", help="Show what runs where.", invoke_without_command=True, rich_markup_mode=None)

_PRODUCTION = "production"

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RedrawOption = Annotated[bool, typer.Option("--watch", help="Print again every few seconds, until Ctrl-C.")]


def status(
    context: typer.Context,
    environment: Annotated[str | None, typer.Option(help="Only this environment.")] = None,
    component: Annotated[UUID | None, typer.Option(help="Only the component with this id.")] = None,
    organization: Annotated[str | None, typer.Option(help="Only this organization.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Print at most this many.")] = 1_000,
    as_json: JsonOption = False,
    redraw: RedrawOption = False,
) -> None:
    """Show what runs in each environment: for each component and deployment track the attempt that succeeded last and
    was not rolled back, since when, and who deployed it.

    LATEST is the attempt of the latest event, if it is another one.
    """
    if context.invoked_subcommand is not None:
        if (environment, component, organization, as_json, redraw) != (None, None, None, False, False):
            with clear_errors():
                raise ConfigurationError(f"put options behind `status {context.invoked_subcommand}`, not before it")
        return

    async def read(tables: "StatusTables") -> "_Shown":
        from worker.cli.status_texts import environment_lines
        from worker.status.environments import environment_statuses
        from worker.stored_status import EnvironmentFilters

        filters = EnvironmentFilters(environment=environment, component=component, organization=organization)
        found, more = await tables.environments(filters, limit)
        statuses = environment_statuses(found)
        notes = [f"only the first {limit} are printed; use --environment, --component or --limit"] if more else []
        if not statuses:
            notes.append("no deployment matches")
        return _Shown(
            {"environments": [one.as_json() for one in statuses], "more": more}, environment_lines(statuses), notes
        )

    _show(context, read, as_json=as_json, redraw=redraw)


def releases(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(help="Only this status, for example FAILED.")] = None,
    component: Annotated[UUID | None, typer.Option(help="Only the component with this id.")] = None,
    environment: Annotated[str | None, typer.Option(help="Only with a deployment in this environment.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Changed at this time or later: 2026-03-01T09:30:00Z, or 2h ago as 2h.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Last changed before this time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Print at most this many.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="<cursor>", help="Continue where the page before ended: what it printed.")
    ] = None,
    as_json: JsonOption = False,
    redraw: RedrawOption = False,
) -> None:
    """List releases, those with the latest changes first.

    Where there are more, the option for the next page is printed on standard error. Numbers above 10,000 are not
    counted exactly.
    """

    async def read(tables: "StatusTables") -> "_Shown":
        from worker.cli.status_texts import release_lines
        from worker.status.releases import page_as_json
        from worker.stored_status import ReleaseFilters

        now = datetime.now(UTC)
        begin = None if since is None else moment(since, option="since", now=now)
        end = None if until is None else moment(until, option="until", now=now)
        filters = ReleaseFilters(
            status=_release_status(status), component=component, environment=environment, since=begin, until=end
        )
        try:
            cursor = None if after is None else PageKey.parse(after)
        except ValueError as error:
            raise ConfigurationError(f"--after: {after} is no cursor; use what the page before has printed") from error
        page = await tables.releases(filters, cursor, limit)
        notes = [f"{page.count} release{'' if str(page.count) == '1' else 's'}"]
        if page.next is not None:
            notes.append(f"next page: --after {page.next}")
        return _Shown(page_as_json(page), release_lines(page.releases), notes)

    _show(context, read, as_json=as_json, redraw=redraw)


def release(
    context: typer.Context,
    named: Annotated[str, typer.Argument(metavar="<release>", help="Its id, or its name such as 20260301-7.")],
    component: Annotated[UUID | None, typer.Option(help="Of this component, where a name is that of several.")] = None,
    as_json: JsonOption = False,
    redraw: RedrawOption = False,
) -> None:
    """Show one release: its attempts, its log, its status events and its open dead letters.

    Of attempts and activities the latest 200 are read, of dead letters the latest 50.
    """

    async def read(tables: "StatusTables") -> "_Shown":
        from worker.cli.status_texts import report_lines
        from worker.status.releases import release_report

        report = await release_report(tables, named, component)
        notes = [f"there are more {name.replace('_', ' ')} than were read" for name in report.detail.cut]
        return _Shown(report.as_json(), report_lines(report), notes)

    _show(context, read, as_json=as_json, redraw=redraw)


def delivery(
    context: typer.Context,
    begin: Annotated[
        str, typer.Option("--from", help="From this time: 2026-03-01T00:00:00Z, or 4w ago as 4w.")
    ] = "30d",
    end: Annotated[str | None, typer.Option("--to", help="To before this time. Default: now.")] = None,
    by: Annotated[str, typer.Option(metavar="<component|environment>", help="What the metrics are grouped by.")] = (
        "component"
    ),
    environment: Annotated[
        list[str] | None,
        typer.Option(
            help="An environment that counts as production; repeatable. Default: production; with --by environment all."
        ),
    ] = None,
    as_json: JsonOption = False,
    redraw: RedrawOption = False,
) -> None:
    """Measure deployment frequency, change fail rate and failed deployment recovery time, by the definitions of
    dora.dev, from the activity log.

    Change lead time and deployment rework rate need `committed_at` and `unplanned` in the metadata of releases.
    """

    async def read(tables: "StatusTables") -> "_Shown":
        from worker.cli.status_texts import delivery_lines
        from worker.status.delivery import delivery_report

        now = datetime.now(UTC)
        since = moment(begin, option="from", now=now)
        until = now if end is None else moment(end, option="to", now=now)
        if since >= until:
            raise ConfigurationError("--to is not after --from")
        grouping = _by(by)
        environments = environment or ([_PRODUCTION] if grouping == "component" else [])
        report = await delivery_report(tables, environments, begin=since, end=until, by=grouping)
        whole = {**report.as_json(), "environments": list(environments) or None}
        return _Shown(whole, delivery_lines(report, environments), [])

    _show(context, read, as_json=as_json, redraw=redraw)


class _Shown:
    """One result: as JSON, as lines, and the notes on it."""

    def __init__(self, whole: dict[str, Any], lines: Sequence[str], notes: Sequence[str]) -> None:
        self.whole, self.lines, self.notes = whole, lines, notes


def _show(
    context: typer.Context,
    read: Callable[["StatusTables"], Awaitable[_Shown]],
    *,
    as_json: bool,
    redraw: bool,
) -> None:
    with clear_errors():
        if redraw:
            require_terminal(as_json=as_json)
        log_setup.configure(level="warning", log_format=context.obj or "console")
        settings = load()
        warn_of_unknown_names()
        if redraw:

            async def lines(tables: "StatusTables") -> Sequence[str]:
                shown = await read(tables)
                return [*shown.lines, *shown.notes]

            run_redrawing(_with_tables(settings), lines)
            return
        shown = asyncio.run(_once(settings, read))
        if as_json:
            print(json.dumps(shown.whole, ensure_ascii=False, indent=2))
        else:
            for line in shown.lines:
                print(line)
        for line in shown.notes:
            note(line)


async def _once(settings: Settings, read: Callable[["StatusTables"], Awaitable[_Shown]]) -> _Shown:
    async with _with_tables(settings) as tables:
        return await read(tables)


@asynccontextmanager
async def _with_tables(settings: Settings) -> AsyncIterator["StatusTables"]:
    from worker.assembly.databases import status_tables

    tables = status_tables(settings)
    try:
        await tables.check()
        yield tables
    finally:
        await tables.close()


def _by(text: str) -> "By":
    from worker.status.delivery import By

    if text not in set(By):
        raise ConfigurationError(f"--by: {text} is none of {', '.join(By)}")
    return By(text)


def _release_status(text: str | None) -> str | None:
    if text is not None and text not in set(ReleaseStatus):
        raise ConfigurationError(f"--status: {text} is no status; statuses are {', '.join(ReleaseStatus)}")
    return text


commands.callback()(with_log_format(status))
commands.command("releases")(with_log_format(releases))
commands.command("release")(with_log_format(release))
commands.command("delivery")(with_log_format(delivery))
