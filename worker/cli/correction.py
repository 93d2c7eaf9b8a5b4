"""`rudder-worker publish --corrects`: one event that corrects a rejected one."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import typer

from schemas.detail import printable
from schemas.event import Event
from worker.cli.exits import EXIT_PROBLEM, note
from worker.cli.standard_input import opened
from worker.publishing.event_input import (
    Problem,
    complete,
    decode_input,
    envelope_problem,
    members,
    outgoing_record,
    spelling_warnings,
)
from worker.publishing.event_texts import EventInput, event_inputs
from worker.rules.allowed_sources import AllowedSources
from worker.rules.errors import ConfigurationError
from worker.rules.identity import activity_id
from worker.rules.message import CORRECTS_HEADER
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.db.operators_database import OperatorsDatabase
    from worker.dead_letters.correction import CorrectionOutcome
    from worker.ports import OutgoingRecord
    from worker.stored_dead_letters import DeadLetter


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What `publish --corrects` was called with."""

    rejection_id: UUID
    file: Path
    mode: Literal["binary", "structured"]
    strict: bool
    wait_seconds: float
    as_json: bool


def publish_correction(correction: Correction, settings: Settings, sources: AllowedSources | None) -> None:
    """Send the event in the file, wait for its decision, and print it.

    Raises:
        ConfigurationError: the event cannot correct this rejection; nothing was sent.
        Unavailable: the database or the broker does not answer.
    """
    event_input, event = _checked(correction, settings, sources)
    asyncio.run(_sent(correction, settings, event_input, event))


def _checked(correction: Correction, settings: Settings, sources: AllowedSources | None) -> tuple[EventInput, Event]:
    with opened(correction.file) as lines:
        inputs = list(event_inputs(str(correction.file), lines))
    if len(inputs) != 1:
        raise ConfigurationError(f"{correction.file} has {len(inputs)} events; --corrects takes one")
    fields = members(inputs[0]) or {}
    for name in ("id", "source"):
        if fields and not fields.get(name):
            raise ConfigurationError(f"{inputs[0].location}: a correction needs its own {name}; nothing was sent")
    event_input = complete(inputs[0], id="", source="", time=datetime.now(UTC))
    decoded = decode_input(
        event_input,
        bytes_max=settings.event_bytes_max,
        ahead_seconds_max=settings.event_ahead_max_seconds,
        timestamp_ms=time.time_ns() // 1_000_000,
        sources=sources,
    )
    problem = decoded if isinstance(decoded, Problem) else envelope_problem(event_input)
    if problem is None and isinstance(decoded, Event):
        warnings = spelling_warnings(event_input, decoded)
        if warnings and correction.strict:
            problem = Problem(location=event_input.location, reason="strict", detail=warnings[0])
        for warning in () if problem else warnings:
            note(f"{event_input.location}: warning: {warning}")
    if problem is not None or isinstance(decoded, Problem):
        described = "" if problem is None else f"{problem.location}: {problem.reason}: {problem.detail}; "
        raise ConfigurationError(f"{described}nothing was sent")
    return event_input, decoded


async def _sent(correction: Correction, settings: Settings, event_input: EventInput, event: Event) -> None:
    from worker.assembly.databases import operators_database
    from worker.dead_letters.selection import by_ids

    database = operators_database(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        await database.check()
        [dead_letter] = await by_ids(database.dead_letters, [correction.rejection_id])
        await _check(dead_letter, event, database)
        record = _record(correction, dead_letter, event_input, event)
        outcome = await _recorded(correction, settings, database, record, event)
    if not outcome.outcome.resolves:
        raise typer.Exit(EXIT_PROBLEM)


async def _check(dead_letter: "DeadLetter", event: Event, database: "OperatorsDatabase") -> None:
    from worker.dead_letters.correction import known, refusal

    if problem := refusal(dead_letter, source=event.source, event_id=event.id):
        raise ConfigurationError(f"{problem}; nothing was sent")
    if (before := await known(database.tables, activity_id(source=event.source, event_id=event.id))) is not None:
        raise ConfigurationError(
            f"the event {event.id} of {event.source} is known and was {before.outcome}; "
            "give the correction a new id; nothing was sent"
        )


def _record(
    correction: Correction, dead_letter: "DeadLetter", event_input: EventInput, event: Event
) -> "OutgoingRecord":
    """To the partition of the rejected record: there the correction is decided after it."""
    rejection = dead_letter.rejection
    made = outgoing_record(event_input, event, topic=rejection.topic, content_mode=correction.mode)
    headers = (*made.headers, (CORRECTS_HEADER, str(dead_letter.id).encode()))
    return replace(made, headers=headers, partition=rejection.partition)


async def _recorded(
    correction: Correction,
    settings: Settings,
    database: "OperatorsDatabase",
    record: "OutgoingRecord",
    event: Event,
) -> "CorrectionOutcome":
    from worker.assembly.kafka_clients import publisher
    from worker.dead_letters.correction import decided
    from worker.operator_actions import Operator, recorded

    arguments = {"corrects": str(correction.rejection_id), "source": event.source, "id": event.id}
    producer = publisher(settings)
    try:
        await producer.start()
        if not await producer.has_topic(record.topic):
            raise ConfigurationError(f"topic {record.topic} of the rejected record does not exist; nothing was sent")
        async with recorded(
            database.actions,
            operator=Operator.current(settings.operator),
            command="publish --corrects",
            arguments=arguments,
        ) as progress:
            partition, offset = await producer.produce(record)
            progress.counts["sent"] = 1
            note(f"sent as {record.topic}/{partition}@{offset}; waiting for its decision")
            outcome = await decided(
                database.tables,
                activity_id(source=event.source, event_id=event.id),
                wait_seconds=correction.wait_seconds,
            )
            progress.counts[outcome.outcome.value] = 1
            progress.detail = outcome.why
    finally:
        await producer.stop()
    _print(correction, event, f"{record.topic}/{partition}@{offset}", outcome)
    return outcome


def _print(correction: Correction, event: Event, at: str, outcome: "CorrectionOutcome") -> None:
    if correction.as_json:
        print(
            json.dumps(
                {
                    "corrects": str(correction.rejection_id),
                    "id": event.id,
                    "source": event.source,
                    "record": at,
                    "outcome": outcome.outcome.value,
                    "why": outcome.why,
                },
                ensure_ascii=False,
            )
        )
        return
    match outcome.outcome.resolves, outcome.why:
        case True, _:
            line = f"{outcome.outcome}: dead letter {correction.rejection_id} is resolved"
        case False, None:
            line = (
                f"not decided within {correction.wait_seconds:g} s; see later with: "
                f"rudder-worker dead-letters show {correction.rejection_id}"
            )
        case _:
            line = f"{outcome.outcome} as {outcome.why}; dead letter {correction.rejection_id} is still open"
    print(printable(line))
