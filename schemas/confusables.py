"""Confusable keys: two ids collide if a database may treat them as equal, although they differ.

SQL Server compares texts by a collation. Its default collations ignore case, width and trailing blanks. Some ignore
accents, and the older ones ignore characters that Unicode added later, such as emoji. `Prod`, `prod` and `prod ` are
one key of such a unique constraint, and three in PostgreSQL and SQLite. Rows must be equal on every database, so an id
that collides with a different existing id is rejected on all of them. Confusable keys are coarser than every collation.

The key must not depend on the interpreter's Unicode version. So weightless characters are read from Unicode 3.2, which
every Python includes; it is also the closest to the weights of SQL Server's default collations (Windows 2000). Later
characters are dropped first. Unicode guarantees that the case folding of the others never changes.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

UNICODE_VERSION: Final = unicodedata.ucd_3_2_0.unidata_version
DIFFERENCES: Final = (
    "names collide if they differ only in case, width, accents, surrounding blanks, or characters without weight in "
    "SQL Server's default collations (emoji, marks, invisible characters, and those that are not in Unicode "
    f"{UNICODE_VERSION} or not among its first 65,536 code points)"
)
"""The explanation in the detail of a rejection."""

_unicode: Final = unicodedata.ucd_3_2_0
_BASIC_PLANE_MAX: Final = 0xFFFF
_EXPANSIONS: Final = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h", "\u0131": "i"}
)
"""Letters that collations treat as others, and that Unicode does not decompose."""

_HIRAGANA: Final = {katakana: katakana - 0x60 for katakana in range(0x30A1, 0x30F7)}
"""By the katakana. Collations without KS in their name treat both as equal."""

_WEIGHTLESS: Final = frozenset({"Mn", "Mc", "Me", "Cc", "Cf", "Cn", "Co", "Cs", "So", "Sk"})
"""Unicode's categories of marks, controls, formats, unassigned code points and symbols."""

_WEIGHTLESS_SINCE: Final = frozenset("\u00ad\u166d\u1885\u1886\u200b\u23b4\u23b5\u23b6")
"""Characters that later versions moved to these categories, such as the soft hyphen and the zero width space."""


@lru_cache(maxsize=4_096)
def confusable_key(text: str) -> str:
    """The text without case, width, accents, symbols, invisible characters and surrounding blanks."""
    plain = text.casefold() if text.isascii() else _plain(text)
    return plain.strip()


def collides(text: str, others: Iterable[str]) -> str | None:
    """The first of `others` with the same confusable key as `text`; None: none has it."""
    wanted = confusable_key(text)
    return next((other for other in others if confusable_key(other) == wanted), None)


def _plain(text: str) -> str:
    known = "".join(filter(_has_weight, _unicode.normalize("NFKD", "".join(filter(_is_known, text)))))
    folded = _unicode.normalize("NFKD", known.casefold()).translate(_EXPANSIONS).translate(_HIRAGANA)
    return "".join(filter(_has_weight, folded))


def _is_known(character: str) -> bool:
    return ord(character) <= _BASIC_PLANE_MAX and _unicode.category(character) != "Cn"


def _has_weight(character: str) -> bool:
    return _is_known(character) and (
        _unicode.category(character) not in _WEIGHTLESS and character not in _WEIGHTLESS_SINCE
    )
