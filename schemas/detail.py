"""What is said about an invalid event: short, printable, and safe in a log line, a header and a column.

A detail names places and rules. What the publisher wrote is repeated only where a reader needs it, and never at length.
"""

import re
from collections.abc import Iterable, Sequence

from schemas.text import utf16_units

DETAIL_CHARS_MAX = 1000
ECHO_CHARS_MAX = 100
PROBLEMS_MAX = 10
# Controls, formats, private use, surrogates and separators, as Unicode 14 has them. `str.isprintable` would have each
# interpreter decide by its own Unicode, and a row's text must not depend on that.
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
    """The text with every control character, lone surrogate and separator but the blank spelled as an escape."""
    return text if text.isascii() and text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def pointer(place: Sequence[str | int]) -> str:
    """RFC 6901: `/data/release/release_number`."""
    return "".join("/" + echo(str(step)).replace("~", "~0").replace("/", "~1") for step in place)


def joined(problems: Iterable[str], *, omitted: int = 0) -> str:
    """Up to ten problems joined with `; `, then how many more there are; never longer than 1,000 characters.

    `omitted` counts further problems that the caller knows of and does not spell out.
    """
    said: list[str] = []
    chars, more = 0, omitted
    for problem in problems:
        text = printable(problem)
        if len(said) == PROBLEMS_MAX or (said and chars + utf16_units(text) > DETAIL_CHARS_MAX - _MORE_CHARS_MAX):
            more += 1
            continue
        said.append(
            text if utf16_units(text) < DETAIL_CHARS_MAX - _MORE_CHARS_MAX else text[: DETAIL_CHARS_MAX // 3] + "…"
        )
        chars += utf16_units(said[-1]) + 2
    return "; ".join([*said, f"… and {more} more"] if more else said)
