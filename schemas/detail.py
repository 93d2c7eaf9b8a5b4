"""What is said about an invalid event: short, printable, and safe in a log line, a header and a column.

A detail names places and rules. What the publisher wrote is repeated only where a reader needs it, and never at length.
"""

from collections.abc import Iterable, Sequence

from schemas.text import utf16_units

DETAIL_CHARS_MAX = 1000
ECHO_CHARS_MAX = 100
PAIRS_MAX = 10
_MORE_CHARS_MAX = 30  # "… and 1000000 more", with its separator


def echo(text: str) -> str:
    """A publisher's own text, shortened to 100 characters."""
    return text if len(text) <= ECHO_CHARS_MAX else text[: ECHO_CHARS_MAX - 1] + "…"


def printable(text: str) -> str:
    """The text with every control character, lone surrogate and line separator spelled as an escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
        for char in text
    )


def pointer(place: Sequence[str | int]) -> str:
    """RFC 6901: `/data/release/release_number`."""
    return "".join("/" + echo(str(step)).replace("~", "~0").replace("/", "~1") for step in place)


def joined(problems: Iterable[str], *, unsaid: int = 0) -> str:
    """Up to ten problems joined with `; `, then how many more there are; never longer than 1,000 characters.

    `unsaid` counts further problems that the caller knows of and does not spell out.
    """
    said: list[str] = []
    chars, more = 0, unsaid
    for problem in problems:
        text = printable(problem)
        if len(said) == PAIRS_MAX or (said and chars + utf16_units(text) > DETAIL_CHARS_MAX - _MORE_CHARS_MAX):
            more += 1
            continue
        said.append(
            text if utf16_units(text) < DETAIL_CHARS_MAX - _MORE_CHARS_MAX else text[: DETAIL_CHARS_MAX // 3] + "…"
        )
        chars += utf16_units(said[-1]) + 2
    return "; ".join([*said, f"… and {more} more"] if more else said)
