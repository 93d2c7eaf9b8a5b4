"""Events that a person or a script hands to `publish` and `validate`: completed, and judged as the worker would.

The judge is `decode` itself, so what passes here is what the worker accepts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from schemas.decode import decode
from schemas.envelope import STRUCTURED_CONTENT_TYPE, write_binary
from schemas.event import Event, Invalid
from schemas.json_text import MalformedJsonError, compact, parse
from schemas.reasons import Reason
from schemas.record import Record
from schemas.times import format_time
from worker.domain.decide import unallowed
from worker.domain.sources import AllowedSources
from worker.ports import Publication

_CONTENT_TYPE = (("content-type", STRUCTURED_CONTENT_TYPE.encode()),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A CloudEvent in structured form, as text, and where it stood."""

    place: str
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the worker would reject the draft for, and where."""

    place: str
    reason: str
    detail: str


def drafts(name: str, lines: Iterable[bytes]) -> Iterator[Draft]:
    """The events of a file: JSON lines; or, where the first line is no JSON by itself, one JSON text over all lines."""
    numbered = ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())
    first = next(numbered, None)
    if first is None:
        return
    number, line = first
    if not _is_json(line):
        rest = list(numbered)
        yield Draft(place=f"{name}:{number}", value=b"\n".join([line, *(text for _, text in rest)]))
        return
    yield Draft(place=f"{name}:{number}", value=line)
    for number, line in numbered:
        yield Draft(place=f"{name}:{number}", value=line)


def complete(draft: Draft, *, id: str, source: str, time: datetime) -> Draft:
    """The draft with the envelope attributes that it does not have; one that is no JSON object stays as it is."""
    try:
        said = parse(draft.value)
    except MalformedJsonError:
        return draft
    if not isinstance(said, dict):
        return draft
    defaults = {"specversion": "1.0", "id": id, "source": source}
    completed: dict[str, Any] = defaults | said
    completed.setdefault("time", format_time(time))
    return Draft(place=draft.place, value=compact(completed).encode())


def judge(draft: Draft, *, bytes_max: int, sources: AllowedSources | None = None) -> Event | Problem:
    """The draft as the worker would decode it; `sources` as in `worker.domain.decide`."""
    record = Record(topic="", partition=0, offset=0, timestamp_ms=0, key=None, value=draft.value, headers=_CONTENT_TYPE)
    match decode(record, bytes_max=bytes_max):
        case Invalid(reason=reason, detail=detail):
            return Problem(place=draft.place, reason=reason.value, detail=detail)
        case event if stranger := unallowed(event, sources):
            return Problem(place=draft.place, reason=Reason.SOURCE_NOT_ALLOWED.value, detail=stranger)
        case event:
            return event


def publication(
    draft: Draft, event: Event, *, topic: str, content_mode: Literal["binary", "structured"]
) -> Publication:
    """The record to produce, keyed by the release: the publisher's own text in structured mode."""
    release_id = str(event.data.release_id)
    if content_mode == "structured":
        return Publication(topic=topic, key=release_id.encode(), value=draft.value, headers=_CONTENT_TYPE)
    said = parse(draft.value)
    data = said["data"] if isinstance(said, dict) and "data" in said else event.data
    value, headers = write_binary(
        source=event.source, id=event.id, type=event.type, time=event.time, subject=release_id, data=data
    )
    return Publication(topic=topic, key=release_id.encode(), value=value, headers=headers)


def _is_json(line: bytes) -> bool:
    try:
        parse(line)
    except MalformedJsonError:
        return False
    return True
