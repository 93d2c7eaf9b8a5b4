"""The event inputs of a file or of standard input: JSON lines, JSON texts over several lines, arrays, in any mixture.

A text ends where its brackets are balanced, so a stream is read as it arrives. A malformed text must not hide the ones
after it: each malformed line of JSON lines is one event input, and so is a malformed text over several lines.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from schemas.json_text import DEPTH_MAX, MalformedJsonError, compact, parse

_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
# A JSON string ends on its line. An unterminated one includes the rest of the line.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ADJACENT_OBJECTS = re.compile(rb"}\s*{")
_EVENT_MEMBERS = frozenset({"specversion", "type", "source"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInput:
    """A CloudEvent in structured form, as text. `location`: its file and the number of its first line."""

    location: str
    value: bytes


_Lines = list[tuple[int, bytes]]
"""Lines without their line ends, and their numbers."""


def event_inputs(name: str, lines: Iterable[bytes]) -> Iterator[EventInput]:
    """The event inputs of one file or stream, `name`. Blank lines are skipped, and counted in line numbers.

    A byte order mark before a text is dropped. Malformed JSON is an event input too: `decode_input` reports it.
    """
    pending: _Lines = []
    depth = 0
    for number, line in _numbered(lines):
        if number == 1 and line.startswith(UTF16_BOMS):
            yield EventInput(location=f"{name}:1", value=line)  # the rest cannot be read either
            return
        if pending and _begins_another(pending, line):
            yield from _malformed(name, pending)
            pending, depth = [], 0
        text = line if pending else line.removeprefix(_BOM)
        pending.append((number, text))
        depth += _depth(text)
        if depth <= 0 or not pending[0][1].lstrip().startswith((b"{", b"[")):
            yield from _complete(name, pending)
            pending, depth = [], 0
    yield from _malformed(name, pending)


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line.rstrip()


def _depth(line: bytes) -> int:
    bare = _STRING.sub(b"", line)
    return sum(map(bare.count, (b"{", b"["))) - sum(map(bare.count, (b"}", b"]")))


def _begins_another(pending: _Lines, line: bytes) -> bool:
    """Whether a line cannot continue the incomplete text before it, which is therefore malformed."""
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


def _malformed(name: str, pending: _Lines) -> Iterator[EventInput]:
    """An incomplete text: one event input if it looks like a text over several lines, else one for each line."""
    if not pending:
        return
    first = pending[0][1]
    wrapped = first in {b"{", b"["} or all(text.startswith((b" ", b"\t", b"}", b"]")) for _, text in pending[1:])
    if wrapped:
        yield _event_input(name, pending)
    else:
        for number, text in pending:
            yield EventInput(location=f"{name}:{number}", value=text.strip())


def _complete(name: str, pending: _Lines) -> Iterator[EventInput]:
    event_input = _event_input(name, pending)
    if event_input.value.startswith(b"["):
        yield from _elements(event_input)
    elif _ADJACENT_OBJECTS.search(_STRING.sub(b"", event_input.value)):
        yield from _adjacent(event_input)
    else:
        yield event_input


def _event_input(name: str, pending: _Lines) -> EventInput:
    return EventInput(location=f"{name}:{pending[0][0]}", value=b"\n".join(text for _, text in pending).strip())


def _elements(event_input: EventInput) -> Iterator[EventInput]:
    """The events of an array; the array itself if it is malformed."""
    try:
        elements = parse(event_input.value, depth_max=DEPTH_MAX + 2)  # of the event, and of the array around it
    except MalformedJsonError:
        yield event_input
        return
    if isinstance(elements, list):
        for index, element in enumerate(elements):
            yield EventInput(location=f"{event_input.location}[{index}]", value=compact(element).encode())


def _adjacent(event_input: EventInput) -> Iterator[EventInput]:
    """Several events on one line; the whole line if one of them is malformed."""
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
        yield EventInput(location=event_input.location, value=text.encode())
