"""The detail of a rejection: short, printable, and safe in a log line, a header and a column.

A detail contains JSON pointers and rules. The publisher's text is repeated only if necessary, and shortened.
"""

import re
from collections.abc import Iterable, Sequence

from schemas.text import utf16_units

DETAIL_CHARS_MAX = 1000
ECHO_CHARS_MAX = 100
PROBLEMS_MAX = 10
# Controls, formats, private use, surrogates and separators of Unicode 14. `str.isprintable` depends on the interpreter,
# and rows must not.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f"
    "\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ud800-\uf8ff\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U00013438\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    "\U000f0000-\U000ffffd\U00100000-\U0010fffd]"
)
_MORE_CHARS_MAX = 30  # "… and 1000000 more", with its separator


def echo(text: str) -> str:
    """A publisher's own text, shortened to 100 characters."""
    return text if len(text) <= ECHO_CHARS_MAX else text[: ECHO_CHARS_MAX - 1] + "…"


def printable(text: str) -> str:
    """The text, with escapes for control characters, lone surrogates and separators except the blank."""
    return text if text.isascii() and text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def pointer(path: Sequence[str | int]) -> str:
    """RFC 6901: `/data/release/release_number`."""
    return "".join("/" + echo(str(step)).replace("~", "~0").replace("/", "~1") for step in path)


def joined(problems: Iterable[str], *, omitted: int = 0) -> str:
    """Up to ten problems, joined with `; `, and the number of further ones; at most 1,000 characters.

    `omitted`: the number of further problems that are not in `problems`.
    """
    parts: list[str] = []
    chars, more = 0, omitted
    for problem in problems:
        text = printable(problem)
        if len(parts) == PROBLEMS_MAX or (parts and chars + utf16_units(text) > DETAIL_CHARS_MAX - _MORE_CHARS_MAX):
            more += 1
            continue
        parts.append(
            text if utf16_units(text) < DETAIL_CHARS_MAX - _MORE_CHARS_MAX else text[: DETAIL_CHARS_MAX // 3] + "…"
        )
        chars += utf16_units(parts[-1]) + 2
    return "; ".join([*parts, f"… and {more} more"] if more else parts)
