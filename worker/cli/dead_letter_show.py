"""`rudder-worker dead-letters show`: everything that is known about one dead letter."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from schemas.detail import printable
from schemas.record import Record
from schemas.times import format_time
from worker.cli.dead_letter_json import as_json_object
from worker.cli.exits import clear_errors, warn, warn_of_unknown_names
from worker.rules.errors import ConfigurationError, Unavailable
from worker.service import log_setup
from worker.settings import Settings, load
from worker.stored_dead_letters import DeadLetter, DeadLetterState

if TYPE_CHECKING:
    from worker.db.operators_database import OperatorsDatabase
    from worker.dead_letters.inspection import DecisionNow, FoundRecord, Surroundings

_VALUE_CHARS_MAX = 1_000
"""Of one header as printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """`found`: None if the topics could not be read. `decision`: None without a record, and for a resolved one."""

    dead_letter: DeadLetter
    around: "Surroundings"
    found: "FoundRecord | None" = None
    decision: "DecisionNow | None" = None


def show(
    context: typer.Context,
    id_: Annotated[UUID, typer.Argument(metavar="<id>", help="Id of the dead letter.")],
    payload: Annotated[
        bool, typer.Option("--payload", help="Print the event, with the faulty members marked.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one dead letter: its record and headers, what a redrive would result in now, and what was done before.

    The record is read from its input topic, or else from the dead-letter topic. If retention has deleted both, that is
    printed, and the exit code is 0.
    """
    with clear_errors():
        log_setup.configure(level="error", log_format=context.obj or "console")
        settings = load()
        warn_of_unknown_names()
        shown = asyncio.run(_shown(settings, id_))
        if as_json:
            print(json.dumps(_as_json(shown, payload=payload), ensure_ascii=False, indent=2))
        else:
            for line in _lines(shown, payload=payload):
                print(printable(line))


async def _shown(settings: Settings, id_: UUID) -> _Shown:
    from worker.assembly.databases import operators_database
    from worker.dead_letters import inspection, selection

    database = operators_database(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        await database.check()
        [dead_letter] = await selection.by_ids(database.dead_letters, [id_])
        around = await inspection.surroundings(dead_letter, database.dead_letters)
        try:
            found, decision = await _read(settings, dead_letter, database)
        except (Unavailable, ConfigurationError) as error:
            warn(f"the record was not read: {error}")
            return _Shown(dead_letter=dead_letter, around=around)
        return _Shown(dead_letter=dead_letter, around=around, found=found, decision=decision)


async def _read(
    settings: Settings, dead_letter: DeadLetter, database: "OperatorsDatabase"
) -> tuple["FoundRecord", "DecisionNow | None"]:
    from worker.assembly.handling import dead_letter_reader as record_decoder
    from worker.assembly.handling import prediction
    from worker.assembly.kafka_clients import topic_reader
    from worker.dead_letters import inspection

    decode, reader = record_decoder(settings), topic_reader(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(reader.stop)
        await reader.start()
        topic = settings.dead_letter_topic
        found = (await inspection.find_records([dead_letter], reader, decode, dead_letter_topic=topic))[dead_letter.id]
    if not isinstance(found.record, Record) or dead_letter.state is DeadLetterState.RESOLVED:
        return found, None
    now = datetime.now(UTC)
    predicted = prediction(settings, database.tables)
    return found, await inspection.decision_now(dead_letter, found.record, predicted, decode, now=now)


def _lines(shown: _Shown, *, payload: bool) -> Iterator[str]:
    dead_letter = shown.dead_letter
    rejection, dismissal = dead_letter.rejection, dead_letter.dismissal
    yield f"id        {dead_letter.id}"
    yield f"state     {dead_letter.state}"
    if rejection.resolved_at is not None:
        yield f"resolved  {format_time(rejection.resolved_at)}"
    if dismissal is not None:
        yield f"dismissed {format_time(dismissal.dismissed_at)} by {dismissal.dismissed_by}: {dismissal.note}"
    yield f"time      {format_time(rejection.created_at)}"
    yield f"reason    {rejection.reason}"
    yield f"detail    {rejection.detail}"
    yield f"type      {rejection.event_type or 'unknown'}"
    source = f"of {rejection.event_source}" if rejection.event_source else "(no source)"
    yield f"event     {rejection.event_id or '(no id)'} {source}"
    yield f"release   {rejection.release_id or 'none named'}"
    yield f"record    {rejection.topic}/{rejection.partition}@{rejection.offset}{_origin(shown)}"
    if shown.found is not None and isinstance(record := shown.found.record, Record):
        yield f"key       {_text(record.key)}"
        for name, value in record.headers:
            yield f"header    {name}: {_text(value)}"
    yield from _decision_lines(shown)
    for redrive in shown.around.redrives:
        outcome = redrive.outcome or redrive.state.lower()
        detail = f": {redrive.detail}" if redrive.detail else ""
        yield f"redriven  {format_time(redrive.started_at)} by {redrive.operator}: {outcome}{detail}"
    yield from _other_lines(shown)
    if payload:
        yield from _payload_lines(shown)


def _origin(shown: _Shown) -> str:
    found = shown.found
    if found is None:
        return ""
    if isinstance(found.record, Record):
        return " (deleted by retention; read from the dead-letter topic)" if found.copied else ""
    if found.incomplete:
        from worker.dead_letters.inspection import COPIES_MAX

        return f" (not in its topic, and not among the {COPIES_MAX:,} dead letters after the event)"
    return {
        "expired": " (expired by retention, and the dead-letter topic has no complete copy)",
        "replaced": " (another record is at this position, since the topic was created again; no copy was found)",
        "unreadable": " (its batch cannot be decompressed)",
    }[found.record.value]


def _decision_lines(shown: _Shown) -> Iterator[str]:
    decision = shown.decision
    if decision is None:
        reason = "it is resolved" if shown.dead_letter.state is DeadLetterState.RESOLVED else "without the record"
        yield f"now       no decision: {reason}"
        return
    why = f": {decision.why}" if decision.why else ""
    yield f"now       a redrive would be {decision.decision}{why}"
    for row in decision.rows:
        yield f"          {row}"


def _other_lines(shown: _Shown) -> Iterator[str]:
    around, release = shown.around, shown.dead_letter.rejection.release_id
    if release is None:
        return
    yield f"others    {around.others_count} other open of this release"
    for other in around.others:
        yield f"          {other.id} {other.rejection.reason}"
    if around.others_count.capped or around.others_count.number > len(around.others):
        yield f"          … all: rudder-worker dead-letters list --release {release}"


def _payload_lines(shown: _Shown) -> Iterator[str]:
    from worker.dead_letters.event_form import event_of, marked_lines

    record = None if shown.found is None else shown.found.record
    yield ""
    if not isinstance(record, Record):
        reason = "expired by retention" if shown.found and not shown.found.incomplete else "it was not found"
        yield f"the event is not available: {reason}" if shown.found else "the event was not read"
        return
    event = event_of(record)
    if event is None:
        yield f"the value is no JSON object ({len(record.value or b''):,} bytes):"
        yield (record.value or b"").decode("utf-8", "backslashreplace")
        return
    for line in marked_lines(event, shown.dead_letter.rejection.detail):
        yield f"{'>' if line.problem else ' '} {line.text}{f'   <-- {line.problem}' if line.problem else ''}"


def _text(value: bytes | None) -> str:
    if value is None:
        return "null"
    text = value.decode("utf-8", "backslashreplace")
    return text if len(text) <= _VALUE_CHARS_MAX else f"{text[:_VALUE_CHARS_MAX]}… ({len(value):,} bytes)"


def _as_json(shown: _Shown, *, payload: bool) -> dict[str, Any]:
    from worker.dead_letters.event_form import event_of

    found, decision, around = shown.found, shown.decision, shown.around
    record = found.record if found is not None and isinstance(found.record, Record) else None
    whole: dict[str, Any] = {
        **as_json_object(shown.dead_letter),
        "record_found": None if found is None else "complete" if record is not None else str(found.record),
        "record_copied": found is not None and found.copied,
        "key": None if record is None or record.key is None else _text(record.key),
        "headers": None
        if record is None
        else [{"name": n, "value": None if v is None else _text(v)} for n, v in record.headers],
        "decision_now": decision
        and {"decision": decision.decision.value, "why": decision.why, "rows": list(decision.rows)},
        "redrives": [
            {
                "started_at": format_time(one.started_at),
                "operator": one.operator,
                "state": one.state,
                "outcome": one.outcome,
                "detail": one.detail,
            }
            for one in around.redrives
        ],
        "other_open": {
            "count": around.others_count.number,
            "count_capped": around.others_count.capped,
            "newest": [str(other.id) for other in around.others],
        },
    }
    if payload and record is not None:
        whole["event"] = event_of(record)
        if whole["event"] is None:
            whole["value_base64"] = b64encode(record.value or b"").decode()
    return whole
