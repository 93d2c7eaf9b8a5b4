"""Which ids a database may take for one, though they are two.

SQL Server compares texts by a collation. Its defaults ignore case, width and trailing blanks, some ignore accents, and
the older ones give no weight to what Unicode added later, emoji among them: `Prod`, `prod` and `prod ` are one key to
such a unique constraint, and three to PostgreSQL and SQLite. Rows must be the same function of the topic everywhere.
So an id is itself and nothing else, to the letter; and one that is only *alike* to an id that is there already is
refused, on every database. What is alike is wider than what any of them takes for equal.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_BASIC_PLANE_MAX: Final = 0xFFFF
_EXPANSIONS: Final = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h", "\u0131": "i"}
)
"""Letters that collations sort as others, and that Unicode does not decompose."""

_HIRAGANA: Final = {katakana: katakana - 0x60 for katakana in range(0x30A1, 0x30F7)}
"""By the katakana: without KS in its name, a collation takes the one for the other."""

_WEIGHTLESS: Final = frozenset({"Mn", "Mc", "Me", "Cc", "Cf", "Cn", "Co", "Cs", "So", "Sk"})
"""Unicode's categories of marks, controls, formats, what is not assigned, and pictures."""


@lru_cache(maxsize=4_096)
def likeness(text: str) -> str:
    """The same for texts that are alike: no case, width, accent, picture or invisible character, no blanks around."""
    plain = text.casefold() if text.isascii() else _plain(text)
    return plain.strip()


def alike(text: str, others: Iterable[str]) -> str | None:
    """The first of `others`, in their order, that is alike to `text`, be it the same; None if there is none."""
    wanted = likeness(text)
    return next((other for other in others if likeness(other) == wanted), None)


def _plain(text: str) -> str:
    folded = (
        unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        .translate(_EXPANSIONS)
        .translate(_HIRAGANA)
    )
    return "".join(
        character
        for character in folded
        if ord(character) <= _BASIC_PLANE_MAX and unicodedata.category(character) not in _WEIGHTLESS
    )
