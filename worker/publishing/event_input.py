"""Events that a person or a script hands to `publish` and `validate`: completed, and decided on as the worker would.

What is wrong with an event's form is found by `decode` itself, so what passes here is what the worker can read. What it
then does with the event depends on the database, which is not asked.
"""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from schemas.context_attributes import attribute_headers, attribute_problems
from schemas.decode import decode
from schemas.detail import echo, joined, printable
from schemas.envelope import STRUCTURED_CONTENT_TYPE
from schemas.event import Event, Invalid
from schemas.json_text import DEPTH_MAX, MalformedJsonError, compact, parse
from schemas.reasons import Reason
from schemas.record import Headers, Record
from schemas.times import format_time
from schemas.types import EventType, full_type
from worker.ports import OutgoingRecord
from worker.publishing.event_texts import UTF16_BOMS, EventInput
from worker.publishing.spelling import accepted_types, doubtful_attributes, doubtful_names, likely_type
from worker.rules.allowed_sources import AllowedSources
from worker.rules.decide import unallowed
from worker.rules.message import REDRIVE_HEADER

_CONTENT_TYPE: Headers = (("content-type", STRUCTURED_CONTENT_TYPE.encode()),)
_PLACEHOLDER_ID = "-"
_DETAIL_CHARS_HINTED = 500
"""A longer detail leaves no room for hints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the worker would reject the draft for, and where it stands."""

    place: str
    reason: str
    detail: str


def complete(event_input: EventInput, *, id: str, source: str, time: datetime) -> EventInput:
    """The draft with its type's full name, and with the attributes that it lacks; null counts as lacking, as in
    CloudEvents. One that is no JSON object stays as it is.
    """
    said = members(event_input)
    if said is None:
        return event_input
    defaults = {"specversion": "1.0", "id": id, "source": source, "time": format_time(time)}
    given = {name: value for name, value in said.items() if value is not None or name not in defaults}
    return _written(event_input.place, {**{n: v for n, v in defaults.items() if n not in given}, **given})


def with_id(
    event_input: EventInput, id_of: Callable[[Event], str], *, source: str, time: datetime
) -> tuple[EventInput, bool]:
    """The completed draft, and whether it has an id that `id_of` derived from the event.

    An event that is invalid whatever its id may be gets a placeholder: it will not be sent.
    """
    said = members(event_input)
    if said is not None and said.get("id") is not None:
        return complete(event_input, id="", source=source, time=time), False
    probe = complete(event_input, id=_PLACEHOLDER_ID, source=source, time=time)
    decoded = decode(_record(probe, timestamp_ms=0), bytes_max=len(probe.value), ahead_seconds_max=0)
    if isinstance(decoded, Invalid):
        return probe, False
    return complete(event_input, id=id_of(decoded), source=source, time=time), True


def with_full_type(event_input: EventInput) -> EventInput:
    """The draft with its type's full name, as `publish` would send it."""
    said = members(event_input)
    given = None if said is None else said.get("type")
    if said is None or not isinstance(given, str) or full_type(given) == given:
        return event_input
    return _written(event_input.place, said)


def decider(
    event_input: EventInput,
    *,
    bytes_max: int,
    timestamp_ms: int = 0,
    ahead_seconds_max: int = 0,
    sources: AllowedSources | None = None,
) -> Event | Problem:
    """The draft as the worker would decode it from a record of that time; `sources` as in `worker.rules.decide`,
    `ahead_seconds_max` as in `schemas.decode`.
    """
    record = _record(event_input, timestamp_ms=timestamp_ms)
    match decode(record, bytes_max=bytes_max, ahead_seconds_max=ahead_seconds_max):
        case Invalid(reason=Reason.UNSUPPORTED_TYPE, type=str(given)):
            return Problem(place=event_input.place, reason=Reason.UNSUPPORTED_TYPE.value, detail=_no_such_type(given))
        case Invalid(reason=Reason.MALFORMED_JSON) if event_input.value.startswith(UTF16_BOMS):
            detail = "the text is UTF-16; write it as UTF-8"
            return Problem(place=event_input.place, reason=Reason.MALFORMED_JSON.value, detail=detail)
        case Invalid(reason=Reason.NOT_A_CLOUDEVENT, detail=detail) if len(detail) < _DETAIL_CHARS_HINTED:
            hints = doubtful_attributes(members(event_input) or {})
            return Problem(
                place=event_input.place, reason=Reason.NOT_A_CLOUDEVENT.value, detail=joined([detail, *hints])
            )
        case Invalid(reason=Reason.INVALID_DATA, type=str(given), detail=detail) if len(detail) < _DETAIL_CHARS_HINTED:
            hints = doubtful_names(members(event_input) or {}, EventType(given))
            return Problem(place=event_input.place, reason=Reason.INVALID_DATA.value, detail=joined([detail, *hints]))
        case Invalid(reason=reason, detail=detail):
            return Problem(place=event_input.place, reason=reason.value, detail=detail)
        case event if stranger := unallowed(event, sources):
            return Problem(place=event_input.place, reason=Reason.SOURCE_NOT_ALLOWED.value, detail=stranger)
        case event:
            return event


def unsendable(event_input: EventInput) -> Problem | None:
    """What in a valid event's envelope CloudEvents does not allow: the worker ignores it, other readers may not."""
    problems = _problems(event_input)
    if not problems:
        return None
    return Problem(place=event_input.place, reason=Reason.NOT_A_CLOUDEVENT.value, detail=joined(problems))


def doubts(event_input: EventInput, event: Event) -> tuple[str, ...]:
    """Warnings about a valid event, given as its publisher wrote it: names that are probably misspelt."""
    return tuple(map(printable, doubtful_names(members(event_input) or {}, event.type)))


def unlike_published(event_input: EventInput) -> tuple[str, ...]:
    """Warnings about what `publish` and the worker take differently in a valid event."""
    given = (members(event_input) or {}).get("type")
    found = [f"{problem}; the worker ignores the attribute, `publish` refuses it" for problem in _problems(event_input)]
    if isinstance(given, str) and full_type(given) != given:
        found.append(f"type: `publish` completes {echo(given)}; other publishers must write {full_type(given)}")
    return tuple(map(printable, found))


def outgoing_record(
    event_input: EventInput,
    event: Event,
    *,
    topic: str,
    content_mode: Literal["binary", "structured"],
    redrive: bool = False,
) -> OutgoingRecord:
    """The record to produce, keyed by the release: in structured mode the publisher's own object; in binary mode each
    of its attributes as a header, and its data as the value. Nothing is left out.
    """
    said = members(event_input) or {}
    if content_mode == "structured":
        value, headers = event_input.value, _CONTENT_TYPE
    elif (encoded := said.get("data_base64")) is not None:
        value, headers = b64decode(encoded), attribute_headers(said)
    else:
        value, headers = compact(said["data"]).encode(), attribute_headers(said)
    if redrive:
        headers = (*headers, (REDRIVE_HEADER, b"1"))
    return OutgoingRecord(topic=topic, key=str(event.data.release_id).encode(), value=value, headers=headers)


def members(event_input: EventInput) -> dict[str, Any] | None:
    """The draft's JSON object; None where it is none."""
    try:
        said = parse(event_input.value, depth_max=DEPTH_MAX + 1)
    except MalformedJsonError:
        return None
    return said if isinstance(said, dict) else None


def _problems(event_input: EventInput) -> tuple[str, ...]:
    return attribute_problems(members(event_input) or {})


def _written(place: str, event: dict[str, Any]) -> EventInput:
    if isinstance(given := event.get("type"), str):
        event = {**event, "type": full_type(given)}
    return EventInput(place=place, value=compact(event).encode())


def _record(event_input: EventInput, *, timestamp_ms: int) -> Record:
    return Record(
        topic="",
        partition=0,
        offset=0,
        timestamp_ms=timestamp_ms,
        key=None,
        value=event_input.value,
        headers=_CONTENT_TYPE,
    )


def _no_such_type(given: str) -> str:
    found = likely_type(given)
    hint = f"; did you mean {found}?" if found else "."
    return joined([f"type: {echo(given)} is not accepted{hint} Accepted types: {accepted_types(given)}"])
