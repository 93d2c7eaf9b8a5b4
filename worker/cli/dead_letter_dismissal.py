"""`rudder-worker dead-letters dismiss`."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from schemas.text import utf16_units
from worker.cli.dead_letter_filters import with_filters
from worker.cli.exits import clear_errors, note, warn_of_unknown_names
from worker.cli.tables import print_table
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load
from worker.stored_dead_letters import DeadLetter, DeadLetterState, Dismissal, Filters

if TYPE_CHECKING:
    from worker.db.operators_database import OperatorsDatabase
    from worker.dead_letters.dismissal import DismissalPlan

_LIMIT = 10_000


@with_filters("only_open", "resolved", "dismissed", "every_state")
def dismiss(
    context: typer.Context,
    filters: Callable[[], Filters],
    ids: Annotated[
        list[UUID] | None, typer.Argument(help="Ids of dead letters. Default: those that the options select.")
    ] = None,
    reason_note: Annotated[
        str, typer.Option("--note", help="Why no redrive is necessary; kept with the dead letter.")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="Select all open dead letters.")] = False,
    execute: Annotated[bool, typer.Option("--execute", help="Dismiss them. Default: only print the plan.")] = False,
    plan_sha256: Annotated[
        str | None,
        typer.Option(metavar="<text>", help="With --execute and filters: the hash that the plan has printed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Settle dead letters without a redrive.

    Without --execute only the plan is printed. Resolved and dismissed ones stay as they are, so a repeated call changes
    nothing. A dismissed dead letter can still be redriven or corrected.
    """
    with clear_errors():
        log_setup.configure(level="warning", log_format=context.obj or "console")
        text, selected = _note(reason_note), filters()
        _check_selection(ids or [], selected, everything=everything)
        settings = load()
        warn_of_unknown_names()
        pinned = "" if ids and execute else plan_sha256
        if execute and pinned is None:
            raise ConfigurationError(
                "--execute with filters requires --plan-sha256; run the command without --execute, and review its plan"
            )
        arguments = {"filters": _given(selected), "all": everything, "note": text}
        asyncio.run(
            _dismissed(settings, ids or [], selected, text, pinned, arguments, execute=execute, as_json=as_json)
        )


async def _dismissed(
    settings: Settings,
    ids: Sequence[UUID],
    filters: Filters,
    text: str,
    pinned: str | None,
    arguments: Mapping[str, object],
    *,
    execute: bool,
    as_json: bool,
) -> None:
    from worker.assembly.databases import operators_database
    from worker.dead_letters import selection
    from worker.dead_letters.dismissal import DismissalPlan

    database = operators_database(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        await database.check()
        dead_letters = database.dead_letters
        if ids:
            selected = await selection.by_ids(dead_letters, ids)
        else:
            selected = await selection.by_filters(dead_letters, filters, _LIMIT)
            if len(selected) > _LIMIT:
                raise ConfigurationError(
                    f"more than {_LIMIT:,} dead letters are selected; narrow the selection with --since and --until"
                )
        plan = DismissalPlan(selected=selected, note=text)
        if not execute:
            _print(plan, {}, as_json=as_json)
            _print_next_step(plan, by_ids=bool(ids))
            return
        if pinned and plan.sha256 != pinned:
            raise ConfigurationError(
                "the selection is not that of the plan: dead letters were added, settled, or the note is another; "
                "run the command without --execute, and review its plan"
            )
        outcomes = await _executed(database, plan, settings, arguments)
        _print(plan, outcomes, as_json=as_json)


async def _executed(
    database: "OperatorsDatabase", plan: "DismissalPlan", settings: Settings, arguments: Mapping[str, object]
) -> Mapping[UUID, str]:
    from worker.dead_letters import dismissal
    from worker.operator_actions import Operator, recorded

    operator, dismissed = Operator.current(settings.operator), set[UUID]()
    pinned = {**arguments, "ids": [str(id_) for id_ in plan.open_ids]}
    async with recorded(
        database.actions,
        operator=operator,
        command="dead-letters dismiss",
        arguments=pinned,
        plan_sha256=plan.sha256,
    ) as progress:
        try:
            row = Dismissal(dismissed_at=datetime.now(UTC), dismissed_by=operator.name, note=plan.note)
            await dismissal.execute(plan, database.dead_letters, row, dismissed)
        finally:
            progress.counts |= {"selected": len(plan.selected), "dismissed": len(dismissed)}
    note(f"{len(dismissed):,} dismissed, {len(plan.selected) - len(dismissed):,} left as they were")
    now = await database.dead_letters.by_ids([one.id for one in plan.selected])
    return {one.id: "dismissed" if one.id in dismissed else _left(one) for one in now}


def _left(one: DeadLetter) -> str:
    match one.state:
        case DeadLetterState.RESOLVED:
            return "left: it is resolved"
        case DeadLetterState.DISMISSED if one.dismissal is not None:
            return f"left: dismissed before by {one.dismissal.dismissed_by}"
        case _:
            return "to dismiss"


def _print(plan: "DismissalPlan", outcomes: Mapping[UUID, str], *, as_json: bool) -> None:
    rows = [(one, outcomes.get(one.id) or _left(one)) for one in plan.selected]
    if as_json:
        whole: dict[str, Any] = {
            "plan_sha256": plan.sha256,
            "executed": bool(outcomes),
            "dead_letters": [
                {"id": str(one.id), "reason": one.rejection.reason, "outcome": text} for one, text in rows
            ],
        }
        print(json.dumps(whole, ensure_ascii=False, indent=2))
    else:
        print_table(
            ("ID", "REASON", "OUTCOME", "DETAIL"),
            [(str(one.id), one.rejection.reason, text, one.rejection.detail) for one, text in rows],
        )


def _print_next_step(plan: "DismissalPlan", *, by_ids: bool) -> None:
    open_count = len(plan.open_ids)
    note(f"plan: {open_count:,} to dismiss, {len(plan.selected) - open_count:,} left as they are; nothing was changed")
    if open_count:
        sha256 = "" if by_ids else f" --plan-sha256 {plan.sha256}"
        note(f"to execute it: the same command with --execute{sha256}")


def _note(text: str) -> str:
    from worker.dead_letters.dismissal import NOTE_CHARS_MAX

    if not text.strip():
        raise ConfigurationError("--note is required: why is no redrive necessary?")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError("--note is not UTF-8 text") from error
    if utf16_units(text) > NOTE_CHARS_MAX:
        raise ConfigurationError(f"--note has more than {NOTE_CHARS_MAX} characters")
    return text


def _check_selection(ids: Sequence[UUID], filters: Filters, *, everything: bool) -> None:
    ways = [name for name, given in (("ids", ids), ("filters", filters.narrowed), ("--all", everything)) if given]
    if not ways:
        raise ConfigurationError("nothing is selected: name ids or filters, or --all for all open dead letters")
    if len(ways) > 1:
        raise ConfigurationError(f"{' and '.join(ways)} cannot be used together")


def _given(filters: Filters) -> Mapping[str, object]:
    return {name: value for name, value in asdict(filters).items() if value is not None}
