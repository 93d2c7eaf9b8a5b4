"""A rejected event for people: as CloudEvents' JSON format has it, and with the members that its rejection names."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.detail import pointer
from schemas.json_text import DEPTH_MAX, MalformedJsonError, parse
from schemas.media_type import parse_media_type
from schemas.record import Record

_PROBLEM = re.compile(r"(?P<pointer>/[^ ]*|[a-z0-9]+): (?P<text>.*)", re.DOTALL)
_INDENT = "  "


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a printed JSON text. `problem`: what the rejection's detail says of the value that begins here."""

    text: str
    problem: str | None = None


def event_of(record: Record) -> dict[str, Any] | None:
    """The attributes and the data of a record in either content mode, valid or not. None: its value is no JSON object,
    or its data is no JSON.
    """
    try:
        value = parse(record.value or b"", depth_max=DEPTH_MAX + 1)
    except MalformedJsonError:
        return None
    attributes, content_type = _headers(record)
    if attributes and not (content_type and parse_media_type(content_type).is_structured):
        data_type = {} if content_type is None else {"datacontenttype": content_type}
        return {**attributes, **data_type, "data": value}
    return value if isinstance(value, dict) else None


def marked_lines(event: dict[str, Any], detail: str) -> Sequence[Line]:
    """The event as indented JSON. A problem of a member that is missing stands at the object that lacks it."""
    lines = list(_lines("", (), event, "", ""))
    numbers: dict[str, int] = {}
    for number, (path, _) in enumerate(lines):
        numbers.setdefault(path, number)
    problems: dict[int, list[str]] = {}
    for problem in detail.split("; "):
        if (found := _PROBLEM.fullmatch(problem)) is None:
            continue
        path = found["pointer"] if found["pointer"].startswith("/") else f"/{found['pointer']}"
        while path not in numbers:
            path = path.rpartition("/")[0]
        problems.setdefault(numbers[path], []).append(problem)
    return [Line(text, "; ".join(problems.get(number, ())) or None) for number, (_, text) in enumerate(lines)]


def _headers(record: Record) -> tuple[dict[str, str], str | None]:
    attributes: dict[str, str] = {}
    content_type: str | None = None
    for header, raw in record.headers:
        name, text = header.lower(), (raw or b"").decode("utf-8", "repath")
        if name.startswith("ce_"):
            attributes[name.removeprefix("ce_")] = text
        elif name == "content-type":
            content_type = text
    return attributes, content_type


def _lines(
    before: str, path: tuple[str | int, ...], value: object, indent: str, after: str
) -> Iterator[tuple[str, str]]:
    """Each line with the JSON pointer of the value that begins in it; a closing bracket has the text as its pointer."""
    members: list[tuple[str | int, object]]
    if isinstance(value, dict) and value:
        members, (begin, end) = list(value.items()), "{}"
    elif isinstance(value, list) and value:
        members, (begin, end) = list(enumerate(value)), "[]"
    else:
        yield pointer(path), f"{indent}{before}{json.dumps(value, ensure_ascii=False)}{after}"
        return
    yield pointer(path), f"{indent}{before}{begin}"
    for number, (name, member) in enumerate(members, 1):
        label = f"{json.dumps(name, ensure_ascii=False)}: " if isinstance(name, str) else ""
        yield from _lines(label, (*path, name), member, indent + _INDENT, "," if number < len(members) else "")
    yield f"{pointer(path)}\n", f"{indent}{end}{after}"
