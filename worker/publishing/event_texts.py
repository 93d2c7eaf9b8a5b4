"""The events in a file or on standard input: JSON lines, JSON texts over many lines, arrays of events, in any mixture.

A text ends where its brackets are balanced, so events are handed on while the input still comes. A broken text must not
hide the ones after it: each broken line of JSON lines is one draft, and so is a broken text over many lines.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from schemas.json_text import DEPTH_MAX, MalformedJsonError, compact, parse

_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
# A JSON string ends on its line, or never: then it swallows the rest of the line.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ADJACENT_OBJECTS = re.compile(rb"}\s*{")
_EVENT_MEMBERS = frozenset({"specversion", "type", "source"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInput:
    """A CloudEvent in structured form, as text; `place` names its file and the line where it begins."""

    place: str
    value: bytes


_Lines = list[tuple[int, bytes]]
"""Lines with their numbers, as they are but for the line end."""


def event_inputs(name: str, lines: Iterable[bytes]) -> Iterator[EventInput]:
    """The events of one input, called `name`; blank lines separate nothing, but count as lines.

    A byte order mark before a text is dropped. What is no JSON is a draft all the same: `judge` reports it.
    """
    pending: _Lines = []
    depth = 0
    for number, line in _numbered(lines):
        if number == 1 and line.startswith(UTF16_BOMS):
            yield EventInput(place=f"{name}:1", value=line)  # the rest is as unreadable
            return
        if pending and _begins_anew(pending, line):
            yield from _broken(name, pending)
            pending, depth = [], 0
        text = line if pending else line.removeprefix(_BOM)
        pending.append((number, text))
        depth += _depth(text)
        if depth <= 0 or not pending[0][1].lstrip().startswith((b"{", b"[")):
            yield from _complete(name, pending)
            pending, depth = [], 0
    yield from _broken(name, pending)


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line.rstrip()


def _depth(line: bytes) -> int:
    bare = _STRING.sub(b"", line)
    return sum(map(bare.count, (b"{", b"["))) - sum(map(bare.count, (b"}", b"]")))


def _begins_anew(pending: _Lines, line: bytes) -> bool:
    """Whether a line cannot belong to the unfinished text before it, which is therefore broken."""
    if not line.startswith((b"{", b"[", _BOM)):
        return False
    first, last = pending[0][1], pending[-1][1]
    if last in {b"}", b"]"}:  # no JSON text has a bracket after a closing one without a comma
        return True
    if first.startswith(b"[") or first == b"{" or _depth(line) != 0:
        return False
    try:
        value = parse(line.removeprefix(_BOM))
    except MalformedJsonError:
        return False
    return isinstance(value, dict) and not _EVENT_MEMBERS.isdisjoint(value)


def _broken(name: str, pending: _Lines) -> Iterator[EventInput]:
    """An unfinished text: one draft where it looks like one text over many lines, else one for each line."""
    if not pending:
        return
    first = pending[0][1]
    wrapped = first in {b"{", b"["} or all(text.startswith((b" ", b"\t", b"}", b"]")) for _, text in pending[1:])
    if wrapped:
        yield _draft(name, pending)
    else:
        for number, text in pending:
            yield EventInput(place=f"{name}:{number}", value=text.strip())


def _complete(name: str, pending: _Lines) -> Iterator[EventInput]:
    event_input = _draft(name, pending)
    if event_input.value.startswith(b"["):
        yield from _elements(event_input)
    elif _ADJACENT_OBJECTS.search(_STRING.sub(b"", event_input.value)):
        yield from _adjacent(event_input)
    else:
        yield event_input


def _draft(name: str, pending: _Lines) -> EventInput:
    return EventInput(place=f"{name}:{pending[0][0]}", value=b"\n".join(text for _, text in pending).strip())


def _elements(event_input: EventInput) -> Iterator[EventInput]:
    """The events of an array; the array itself where it is no JSON."""
    try:
        elements = parse(event_input.value, depth_max=DEPTH_MAX + 2)  # of the event, and of the array around it
    except MalformedJsonError:
        yield event_input
        return
    if isinstance(elements, list):
        for index, element in enumerate(elements):
            yield EventInput(place=f"{event_input.place}[{index}]", value=compact(element).encode())


def _adjacent(event_input: EventInput) -> Iterator[EventInput]:
    """Events that follow each other on one line; the whole line where one of them is no JSON."""
    texts: list[str] = []
    at = 0
    decoder = json.JSONDecoder()
    try:
        whole = event_input.value.decode()
        while at < len(whole):
            _, end = decoder.raw_decode(whole, at)
            texts.append(whole[at:end])
            at = end
            while whole[at : at + 1].isspace():
                at += 1
    except (ValueError, RecursionError):
        yield event_input
        return
    for text in texts:
        yield EventInput(place=event_input.place, value=text.encode())
