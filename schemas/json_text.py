"""JSON in and out, strictly: what two readers could understand differently is refused.

The standard parser takes duplicate keys, NaN, lone surrogates and any depth; RFC 7493 (I-JSON) does not. One wrong
byte must cost one rejection, never an exception that nobody expects, so all that can go wrong is one error class.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import NoReturn, TypeAlias

from schemas.detail import echo, pointer

DEPTH_MAX = 64
INTEGER_DIGITS_MAX = 4300

_BOM = b"\xef\xbb\xbf"
# Outside a string a backslash is an error, so up to the parser's first error this finds the same strings as it does.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_OPENING = b"[{"
_BRACKETS = b"[]{}"
_BLANKS = " \t\n\r"
# The parser's messages that a place is meant to follow.
_PARSER_WORDS = {
    "Invalid control character at": "a control character in a string, which needs an escape such as \\n",
    "Unterminated string starting at": "a string without an end begins here",
    "Invalid \\escape": "a backslash that begins no escape",
    "Invalid \\uXXXX escape": "a \\u without four hexadecimal digits",
}
_TWICE = object()
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")

Place = tuple[str | int, ...]
"""The names and indexes that lead to a value from the outermost one."""

# A place as a linked list: a hundred thousand texts at depth 64 share their way there.
_Trail: TypeAlias = "tuple[_Trail, str | int] | None"


class MalformedJsonError(ValueError):
    """The bytes are not I-JSON; the message says why and where. Of the text it holds names of members, shortened."""


def parse(raw: bytes, *, depth_max: int = DEPTH_MAX) -> object:
    """The value of a JSON text in UTF-8. Raises MalformedJsonError, and nothing else, for whatever is no I-JSON.

    U+0000 is legal JSON and passes; `find_nul` tells where.
    """
    if raw.startswith(_BOM):
        raise MalformedJsonError("begins with a byte order mark")
    # The bound is checked before parsing: the parser recurses, and how deep it may go depends on who called it.
    if raw.count(b"[") + raw.count(b"{") > depth_max and _is_deeper(raw, depth_max):
        raise MalformedJsonError(f"nested deeper than {depth_max} levels")
    try:
        value = _DECODER.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise MalformedJsonError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise MalformedJsonError(_not_json(error)) from None
    # Strict UTF-8 has no surrogates, so only an escape can have brought one.
    if _ESCAPED_SURROGATE.search(raw):
        for trail, text in _strings(value):
            if _SURROGATE.search(text):
                raise MalformedJsonError(f"a lone surrogate in {pointer(_place(trail)) or 'the text'}")
    return value


def compact(value: object) -> str:
    """JSON text without blanks, key order as it is, non-ASCII as is. Raises ValueError for NaN and infinities."""
    return _ENCODER.encode(value)


def may_have_nul(raw: bytes) -> bool:
    """Whether a text of it may have U+0000. This is the only spelling: unescaped, the parser refuses it."""
    return b"\\u0000" in raw


def find_nul(value: object, *, paths_max: int) -> tuple[list[Place], int]:
    """The first places, at most `paths_max`, of names and texts with U+0000 in `value`, and how many there are.

    A name's place ends with itself.
    """
    places: list[Place] = []
    count = 0
    for trail, text in _strings(value):
        if "\0" in text:
            count += 1
            if count <= paths_max:
                places.append(_place(trail))
    return places, count


def _is_deeper(raw: bytes, depth_max: int) -> bool:
    depth = 0
    for byte in _STRING.sub(b"", raw).translate(None, _NO_BRACKETS):
        if byte in _OPENING:
            depth += 1
            if depth > depth_max:
                return True
        else:
            depth -= 1
    return False


def _strings(value: object) -> Iterator[tuple[_Trail, str]]:
    """Each text in a JSON value, names of members too (an object's before its values)."""
    stack: list[tuple[_Trail, object]] = [(None, value)]
    while stack:
        trail, node = stack.pop()
        if isinstance(node, str):
            yield trail, node
        elif isinstance(node, dict):
            for name in node:
                yield (trail, name), name
            stack.extend(((trail, name), child) for name, child in reversed(node.items()))
        elif isinstance(node, list):
            stack.extend(((trail, index), node[index]) for index in reversed(range(len(node))))


def _place(trail: _Trail) -> Place:
    steps: list[str | int] = []
    while trail is not None:
        trail, step = trail
        steps.append(step)
    return tuple(reversed(steps))


def _not_json(error: json.JSONDecodeError) -> str:
    # Python 3.13 calls this fault by its name and place, and earlier ones by what they expect after it. The text ends
    # up in rows, which must not depend on the interpreter.
    before = error.doc[: error.pos].rstrip(_BLANKS)
    if before.endswith(",") and error.doc[error.pos : error.pos + 1] in {"}", "]"}:
        return f"not JSON at character {len(before) - 1}: a comma before a closing bracket"
    if error.msg.startswith("Illegal trailing comma"):
        return f"not JSON at character {error.pos}: a comma before a closing bracket"
    return f"not JSON at character {error.pos}: {_PARSER_WORDS.get(error.msg, error.msg)}"


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = next(name for name, _ in pairs if members.pop(name, _TWICE) is _TWICE)
        raise MalformedJsonError(f"an object names the member {echo(twice)} twice")
    return members


def _integer(text: str) -> int:
    # Python has the same limit, but an environment variable moves it: up, and a hostile number costs seconds; down, and
    # int() fails.
    if len(text) - text.startswith("-") <= INTEGER_DIGITS_MAX:
        try:
            return int(text)
        except ValueError:
            pass
    raise MalformedJsonError(f"an integer of more than {INTEGER_DIGITS_MAX} digits")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise MalformedJsonError("a number beyond the range of a double")
    return number


def _constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
