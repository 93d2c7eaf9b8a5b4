"""Strict JSON, in and out: text that two parsers could read differently is refused.

The standard parser accepts duplicate keys, NaN, lone surrogates and any depth; RFC 7493 (I-JSON) does not. Every
failure is a MalformedJsonError, so that any bytes cause at most a rejection.

pydantic's parser (`pydantic_core.from_json`) and jiter 0.19, on which it is built, do not give these guarantees. The
first keeps the last of two members with one name (jiter can refuse it). Both read `1e400` as infinity even with
`allow_inf_nan=False`, have one depth limit of about 200, and name errors by a text of their own, which changes with
their version; here the text is stored in rows. Lone surrogates, NaN, byte order marks and long integers they refuse.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import NoReturn, TypeAlias

from pydantic_core import to_json

from schemas.detail import echo, pointer

DEPTH_MAX = 64
INTEGER_DIGITS_MAX = 4300

_BOM = b"\xef\xbb\xbf"
# Outside a string a backslash is an error, so up to the parser's first error this pattern finds the same strings.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_OPENING = b"[{"
_BRACKETS = b"[]{}"
_BLANKS = " \t\n\r"
# The parser's messages that end before a position.
_PARSER_MESSAGES = {
    "Invalid control character at": "a control character in a string, which needs an escape such as \\n",
    "Unterminated string starting at": "a string without an end begins here",
    "Invalid \\escape": "a backslash that begins no escape",
    "Invalid \\uXXXX escape": "a \\u without four hexadecimal digits",
}
_MISSING = object()
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")

Path = tuple[str | int, ...]
"""The names and indexes from the outermost value to a value."""

# A path as a linked list: a hundred thousand strings at depth 64 share their parents.
_Node: TypeAlias = "tuple[_Node, str | int] | None"


class MalformedJsonError(ValueError):
    """The bytes are not I-JSON. The message: why, and where; of the text it contains only shortened member names."""


def parse(raw: bytes, *, depth_max: int = DEPTH_MAX) -> object:
    """The value of a JSON text in UTF-8. Raises MalformedJsonError, and nothing else, if the text is not I-JSON.

    U+0000 is valid JSON and accepted; see `find_nul`.
    """
    if raw.startswith(_BOM):
        raise MalformedJsonError("begins with a byte order mark")
    # Checked before parsing: the parser recurses, and its maximum depth depends on the caller's stack.
    if raw.count(b"[") + raw.count(b"{") > depth_max and _is_deeper(raw, depth_max):
        raise MalformedJsonError(f"nested deeper than {depth_max} levels")
    try:
        value = _DECODER.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise MalformedJsonError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise MalformedJsonError(_not_json(error)) from None
    # Strict UTF-8 has no surrogates, so only an escape can contain one.
    if _ESCAPED_SURROGATE.search(raw):
        for node, text in _strings(value):
            if _SURROGATE.search(text):
                raise MalformedJsonError(f"a lone surrogate in {pointer(_path_of(node)) or 'the text'}")
    return value


def compact(value: object) -> str:
    """JSON text without blanks; key order and non-ASCII are kept. Raises ValueError for NaN and infinities."""
    return _ENCODER.encode(value)


def compact_bytes(value: object) -> bytes:
    """The bytes of `compact`, for a value without floats and without lone surrogates: pydantic's serializer takes a
    quarter of the time, and writes some floats otherwise (`1e16` where Python writes `1e+16`).
    """
    return to_json(value)


def may_have_nul(raw: bytes) -> bool:
    """Whether a string may contain U+0000. Only this escape is valid: the parser refuses the character itself."""
    return b"\\u0000" in raw


def find_nul(value: object, *, paths_max: int) -> tuple[list[Path], int]:
    """The paths of the first `paths_max` names and strings with U+0000 in `value`, and the number of all.

    A name's path ends with the name.
    """
    paths: list[Path] = []
    count = 0
    for node, text in _strings(value):
        if "\0" in text:
            count += 1
            if count <= paths_max:
                paths.append(_path_of(node))
    return paths, count


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


def _strings(value: object) -> Iterator[tuple[_Node, str]]:
    """Each string in a JSON value, member names included (an object's before its values)."""
    stack: list[tuple[_Node, object]] = [(None, value)]
    while stack:
        node, child = stack.pop()
        if isinstance(child, str):
            yield node, child
        elif isinstance(child, dict):
            for name in child:
                yield (node, name), name
            stack.extend(((node, name), member) for name, member in reversed(child.items()))
        elif isinstance(child, list):
            stack.extend(((node, index), child[index]) for index in reversed(range(len(child))))


def _path_of(node: _Node) -> Path:
    steps: list[str | int] = []
    while node is not None:
        node, step = node
        steps.append(step)
    return tuple(reversed(steps))


def _not_json(error: json.JSONDecodeError) -> str:
    # Python 3.13 changed this error's message and position. The text is stored in rows, which must not depend on the
    # interpreter.
    before = error.doc[: error.pos].rstrip(_BLANKS)
    if before.endswith(",") and error.doc[error.pos : error.pos + 1] in {"}", "]"}:
        return f"not JSON at character {len(before) - 1}: a comma before a closing bracket"
    if error.msg.startswith("Illegal trailing comma"):
        return f"not JSON at character {error.pos}: a comma before a closing bracket"
    return f"not JSON at character {error.pos}: {_PARSER_MESSAGES.get(error.msg, error.msg)}"


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        duplicate = next(name for name, _ in pairs if members.pop(name, _MISSING) is _MISSING)
        raise MalformedJsonError(f"an object contains the member {echo(duplicate)} twice")
    return members


def _integer(text: str) -> int:
    # Python has the same limit, but an environment variable changes it. Higher, a hostile number costs seconds; lower,
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
    raise MalformedJsonError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
