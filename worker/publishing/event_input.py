"""The events that `publish` and `validate` read: completed, and decoded as the worker would decode them.

`decode` itself finds the problems of an event's form, so the worker accepts the form of every event that passes. The
rules are not applied: they depend on the database.
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
from worker.publishing.spelling import accepted_types, closest_type, misspelt_attributes, misspelt_names
from worker.rules.allowed_sources import AllowedSources
from worker.rules.decide import source_problem
from worker.rules.message import REDRIVE_HEADER

_CONTENT_TYPE: Headers = (("content-type", STRUCTURED_CONTENT_TYPE.encode()),)
_PLACEHOLDER_ID = "-"
_DETAIL_CHARS_HINTED = 500
"""Details that are longer get no hints: a detail has at most 1,000 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why the worker would reject an event input, and the location of that input."""

    location: str
    reason: str
    detail: str


def complete(event_input: EventInput, *, id: str, source: str, time: datetime) -> EventInput:
    """The input with its type's full name, and with its missing attributes; null counts as missing, as in CloudEvents.
    An input that is not a JSON object is returned unchanged.
    """
    fields = members(event_input)
    if fields is None:
        return event_input
    defaults = {"specversion": "1.0", "id": id, "source": source, "time": format_time(time)}
    given = {name: value for name, value in fields.items() if value is not None or name not in defaults}
    return _written(event_input.location, {**{n: v for n, v in defaults.items() if n not in given}, **given})


def with_id(
    event_input: EventInput, id_of: Callable[[Event], str], *, source: str, time: datetime
) -> tuple[EventInput, bool]:
    """The completed input, and whether its id is from `id_of`.

    An event that is invalid apart from its id gets a placeholder: it will not be sent.
    """
    fields = members(event_input)
    if fields is not None and fields.get("id") is not None:
        return complete(event_input, id="", source=source, time=time), False
    probe = complete(event_input, id=_PLACEHOLDER_ID, source=source, time=time)
    decoded = decode(_record(probe, timestamp_ms=0), bytes_max=len(probe.value), ahead_seconds_max=0)
    if isinstance(decoded, Invalid):
        return probe, False
    return complete(event_input, id=id_of(decoded), source=source, time=time), True


def with_full_type(event_input: EventInput) -> EventInput:
    """The input with its type's full name, as `publish` would send it."""
    fields = members(event_input)
    given = None if fields is None else fields.get("type")
    if fields is None or not isinstance(given, str) or full_type(given) == given:
        return event_input
    return _written(event_input.location, fields)


def decode_input(
    event_input: EventInput,
    *,
    bytes_max: int,
    timestamp_ms: int = 0,
    ahead_seconds_max: int = 0,
    sources: AllowedSources | None = None,
) -> Event | Problem:
    """The result of `schemas.decode` for a record with this timestamp and the input as its value. `sources` as in
    `worker.rules.decide`, `ahead_seconds_max` as in `schemas.decode`.
    """
    record = _record(event_input, timestamp_ms=timestamp_ms)
    match decode(record, bytes_max=bytes_max, ahead_seconds_max=ahead_seconds_max):
        case Invalid(reason=Reason.UNSUPPORTED_TYPE, type=str(given)):
            return _problem(event_input, Reason.UNSUPPORTED_TYPE, _no_such_type(given))
        case Invalid(reason=Reason.MALFORMED_JSON) if event_input.value.startswith(UTF16_BOMS):
            return _problem(event_input, Reason.MALFORMED_JSON, "the text is UTF-16; write it as UTF-8")
        case Invalid(reason=Reason.NOT_A_CLOUDEVENT, detail=detail) if len(detail) < _DETAIL_CHARS_HINTED:
            hints = misspelt_attributes(members(event_input) or {})
            return _problem(event_input, Reason.NOT_A_CLOUDEVENT, joined([detail, *hints]))
        case Invalid(reason=Reason.INVALID_DATA, type=str(given), detail=detail) if len(detail) < _DETAIL_CHARS_HINTED:
            hints = misspelt_names(members(event_input) or {}, EventType(given))
            return _problem(event_input, Reason.INVALID_DATA, joined([detail, *hints]))
        case Invalid(reason=reason, detail=detail):
            return _problem(event_input, reason, detail)
        case event if problem := source_problem(event, sources):
            return _problem(event_input, Reason.SOURCE_NOT_ALLOWED, problem)
        case event:
            return event


def envelope_problem(event_input: EventInput) -> Problem | None:
    """Why CloudEvents does not allow the envelope of a valid event. The worker ignores this; other readers may not."""
    problems = _attribute_problems(event_input)
    if not problems:
        return None
    return _problem(event_input, Reason.NOT_A_CLOUDEVENT, joined(problems))


def spelling_warnings(event_input: EventInput, event: Event) -> tuple[str, ...]:
    """Warnings about names in a valid event that are probably misspelt."""
    return tuple(map(printable, misspelt_names(members(event_input) or {}, event.type)))


def publish_differences(event_input: EventInput) -> tuple[str, ...]:
    """Warnings about a valid event that `publish` and the worker treat differently."""
    given = (members(event_input) or {}).get("type")
    found = [
        f"{problem}; the worker ignores the attribute, `publish` rejects it"
        for problem in _attribute_problems(event_input)
    ]
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
    """The record to produce, keyed by the release id: the input itself in structured mode; in binary mode a header for
    each of its attributes, and its data as the value.
    """
    fields = members(event_input) or {}
    if content_mode == "structured":
        value, headers = event_input.value, _CONTENT_TYPE
    elif (encoded := fields.get("data_base64")) is not None:
        value, headers = b64decode(encoded), attribute_headers(fields)
    else:
        value, headers = compact(fields["data"]).encode(), attribute_headers(fields)
    if redrive:
        headers = (*headers, (REDRIVE_HEADER, b"1"))
    return OutgoingRecord(topic=topic, key=str(event.data.release_id).encode(), value=value, headers=headers)


def members(event_input: EventInput) -> dict[str, Any] | None:
    """The input as a JSON object; None if it is not one."""
    try:
        fields = parse(event_input.value, depth_max=DEPTH_MAX + 1)
    except MalformedJsonError:
        return None
    return fields if isinstance(fields, dict) else None


def _problem(event_input: EventInput, reason: Reason, detail: str) -> Problem:
    return Problem(location=event_input.location, reason=reason.value, detail=detail)


def _attribute_problems(event_input: EventInput) -> tuple[str, ...]:
    return attribute_problems(members(event_input) or {})


def _written(location: str, event: dict[str, Any]) -> EventInput:
    if isinstance(given := event.get("type"), str):
        event = {**event, "type": full_type(given)}
    return EventInput(location=location, value=compact(event).encode())


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
    found = closest_type(given)
    hint = f"; did you mean {found}?" if found else "."
    return joined([f"type: {echo(given)} is not accepted{hint} Accepted types: {accepted_types(given)}"])
