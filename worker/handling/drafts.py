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
from worker.domain.decide import unallowed
from worker.domain.message import REDRIVE_HEADER
from worker.domain.sources import AllowedSources
from worker.handling.event_texts import UTF16_BOMS, Draft
from worker.handling.spelling import accepted_types, doubtful_attributes, doubtful_names, likely_type
from worker.ports import Publication

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


def complete(draft: Draft, *, id: str, source: str, time: datetime) -> Draft:
    """The draft with its type's full name, and with the attributes that it lacks; null counts as lacking, as in
    CloudEvents. One that is no JSON object stays as it is.
    """
    said = members(draft)
    if said is None:
        return draft
    defaults = {"specversion": "1.0", "id": id, "source": source, "time": format_time(time)}
    given = {name: value for name, value in said.items() if value is not None or name not in defaults}
    return _written(draft.place, {**{n: v for n, v in defaults.items() if n not in given}, **given})


def with_id(draft: Draft, id_of: Callable[[Event], str], *, source: str, time: datetime) -> tuple[Draft, bool]:
    """The completed draft, and whether it has an id that `id_of` derived from the event.

    An event that is invalid whatever its id may be gets a placeholder: it will not be sent.
    """
    said = members(draft)
    if said is not None and said.get("id") is not None:
        return complete(draft, id="", source=source, time=time), False
    probe = complete(draft, id=_PLACEHOLDER_ID, source=source, time=time)
    decoded = decode(_record(probe, timestamp_ms=0), bytes_max=len(probe.value), ahead_seconds_max=0)
    if isinstance(decoded, Invalid):
        return probe, False
    return complete(draft, id=id_of(decoded), source=source, time=time), True


def with_full_type(draft: Draft) -> Draft:
    """The draft with its type's full name, as `publish` would send it."""
    said = members(draft)
    given = None if said is None else said.get("type")
    if said is None or not isinstance(given, str) or full_type(given) == given:
        return draft
    return _written(draft.place, said)


def judge(
    draft: Draft,
    *,
    bytes_max: int,
    timestamp_ms: int = 0,
    ahead_seconds_max: int = 0,
    sources: AllowedSources | None = None,
) -> Event | Problem:
    """The draft as the worker would decode it from a record of that time; `sources` as in `worker.domain.decide`,
    `ahead_seconds_max` as in `schemas.decode`.
    """
    record = _record(draft, timestamp_ms=timestamp_ms)
    match decode(record, bytes_max=bytes_max, ahead_seconds_max=ahead_seconds_max):
        case Invalid(reason=Reason.UNSUPPORTED_TYPE, type=str(given)):
            return Problem(place=draft.place, reason=Reason.UNSUPPORTED_TYPE.value, detail=_no_such_type(given))
        case Invalid(reason=Reason.MALFORMED_JSON) if draft.value.startswith(UTF16_BOMS):
            detail = "the text is UTF-16; write it as UTF-8"
            return Problem(place=draft.place, reason=Reason.MALFORMED_JSON.value, detail=detail)
        case Invalid(reason=Reason.NOT_A_CLOUDEVENT, detail=detail) if len(detail) < _DETAIL_CHARS_HINTED:
            hints = doubtful_attributes(members(draft) or {})
            return Problem(place=draft.place, reason=Reason.NOT_A_CLOUDEVENT.value, detail=joined([detail, *hints]))
        case Invalid(reason=Reason.INVALID_DATA, type=str(given), detail=detail) if len(detail) < _DETAIL_CHARS_HINTED:
            hints = doubtful_names(members(draft) or {}, EventType(given))
            return Problem(place=draft.place, reason=Reason.INVALID_DATA.value, detail=joined([detail, *hints]))
        case Invalid(reason=reason, detail=detail):
            return Problem(place=draft.place, reason=reason.value, detail=detail)
        case event if stranger := unallowed(event, sources):
            return Problem(place=draft.place, reason=Reason.SOURCE_NOT_ALLOWED.value, detail=stranger)
        case event:
            return event


def unsendable(draft: Draft) -> Problem | None:
    """What in a valid event's envelope CloudEvents does not allow: the worker ignores it, other readers may not."""
    problems = _problems(draft)
    if not problems:
        return None
    return Problem(place=draft.place, reason=Reason.NOT_A_CLOUDEVENT.value, detail=joined(problems))


def doubts(draft: Draft, event: Event) -> tuple[str, ...]:
    """Warnings about a valid event, given as its publisher wrote it: names that are probably misspelt."""
    return tuple(map(printable, doubtful_names(members(draft) or {}, event.type)))


def unlike_published(draft: Draft) -> tuple[str, ...]:
    """Warnings about what `publish` and the worker take differently in a valid event."""
    given = (members(draft) or {}).get("type")
    found = [f"{problem}; the worker ignores the attribute, `publish` refuses it" for problem in _problems(draft)]
    if isinstance(given, str) and full_type(given) != given:
        found.append(f"type: `publish` completes {echo(given)}; other publishers must write {full_type(given)}")
    return tuple(map(printable, found))


def publication(
    draft: Draft, event: Event, *, topic: str, content_mode: Literal["binary", "structured"], redrive: bool = False
) -> Publication:
    """The record to produce, keyed by the release: in structured mode the publisher's own object; in binary mode each
    of its attributes as a header, and its data as the value. Nothing is left out.
    """
    said = members(draft) or {}
    if content_mode == "structured":
        value, headers = draft.value, _CONTENT_TYPE
    elif (encoded := said.get("data_base64")) is not None:
        value, headers = b64decode(encoded), attribute_headers(said)
    else:
        value, headers = compact(said["data"]).encode(), attribute_headers(said)
    if redrive:
        headers = (*headers, (REDRIVE_HEADER, b"1"))
    return Publication(topic=topic, key=str(event.data.release_id).encode(), value=value, headers=headers)


def members(draft: Draft) -> dict[str, Any] | None:
    """The draft's JSON object; None where it is none."""
    try:
        said = parse(draft.value, depth_max=DEPTH_MAX + 1)
    except MalformedJsonError:
        return None
    return said if isinstance(said, dict) else None


def _problems(draft: Draft) -> tuple[str, ...]:
    return attribute_problems(members(draft) or {})


def _written(place: str, event: dict[str, Any]) -> Draft:
    if isinstance(given := event.get("type"), str):
        event = {**event, "type": full_type(given)}
    return Draft(place=place, value=compact(event).encode())


def _record(draft: Draft, *, timestamp_ms: int) -> Record:
    return Record(
        topic="",
        partition=0,
        offset=0,
        timestamp_ms=timestamp_ms,
        key=None,
        value=draft.value,
        headers=_CONTENT_TYPE,
    )


def _no_such_type(given: str) -> str:
    found = likely_type(given)
    hint = f"; did you mean {found}?" if found else "."
    return joined([f"type: {echo(given)} is not accepted{hint} Accepted types: {accepted_types(given)}"])
