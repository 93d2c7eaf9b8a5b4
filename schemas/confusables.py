"""Which ids a database may take for one, though they are two.

SQL Server compares texts by a collation. Its defaults ignore case, width and trailing blanks, some ignore accents, and
the older ones give no weight to what Unicode added later, emoji among them: `Prod`, `prod` and `prod ` are one key to
such a unique constraint, and three to PostgreSQL and SQLite. Rows must be the same function of the topic everywhere.
So an id is itself and nothing else, to the letter; and one that is only *alike* to an id that is there already is
refused, on every database. What is alike is wider than what any of them takes for equal.

The result must not depend on the interpreter either, each of which has a newer Unicode: what is weightless is read from
Unicode 3.2, which every Python has beside its own. It is also the one that comes nearest to the weights of SQL Server's
default collations, which are those of Windows 2000. Characters that came later are dropped before anything else;
Unicode promises that case folding never changes for those that remain.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

UNICODE_VERSION: Final = unicodedata.ucd_3_2_0.unidata_version
DIFFERENCES: Final = (
    "names are one if they differ only in case, width, accents, blanks around them, or characters without weight, as "
    "SQL Server's default collations compare them (emoji, marks, invisible ones, and all that Unicode "
    f"{UNICODE_VERSION} or its first 65,536 code points do not have)"
)
"""What a detail says where a name may be alike to another, or the same."""

_unicode: Final = unicodedata.ucd_3_2_0
_BASIC_PLANE_MAX: Final = 0xFFFF
_EXPANSIONS: Final = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h", "\u0131": "i"}
)
"""Letters that collations sort as others, and that Unicode does not decompose."""

_HIRAGANA: Final = {katakana: katakana - 0x60 for katakana in range(0x30A1, 0x30F7)}
"""By the katakana: without KS in its name, a collation takes the one for the other."""

_WEIGHTLESS: Final = frozenset({"Mn", "Mc", "Me", "Cc", "Cf", "Cn", "Co", "Cs", "So", "Sk"})
"""Unicode's categories of marks, controls, formats, what is not assigned, and pictures."""

_WEIGHTLESS_SINCE: Final = frozenset("\u00ad\u166d\u1885\u1886\u200b\u23b4\u23b5\u23b6")
"""Characters that only later versions put into those categories, the soft hyphen and the zero width space for two."""


@lru_cache(maxsize=4_096)
def confusable_key(text: str) -> str:
    """The same for texts that are alike: no case, width, accent, picture or invisible character, no blanks around."""
    plain = text.casefold() if text.isascii() else _plain(text)
    return plain.strip()


def collides(text: str, others: Iterable[str]) -> str | None:
    """The first of `others`, in their order, that is alike to `text`, be it the same; None if there is none."""
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
