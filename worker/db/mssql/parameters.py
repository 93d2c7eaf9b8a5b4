"""Parameters as pyodbc takes them, with types that do not depend on the values.

Left to itself the driver declares a text as `nvarchar` of its very length, and the server makes and keeps another plan
for every combination of lengths. Three lengths are enough.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from schemas.text import utf16_units

_WVARCHAR: Final = -9
"""SQL_WVARCHAR, as <sqlucode.h> and pyodbc have it."""

_LENGTHS: Final = (255, 4_000)
"""In UTF-16 units: most columns, and the most that is not `nvarchar(max)`."""

_MAX: Final = 0

Size = tuple[int, int, int]

UNBOUNDED: Final[Size] = (_WVARCHAR, _MAX, 0)
"""`nvarchar(max)`, whatever the length of the text."""


def bound(parameters: Sequence[object]) -> list[object]:
    """Times without their zone, which is UTC: datetime2 has none."""
    return [value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in parameters]


def sizes(parameters: Sequence[object]) -> list[Size | None]:
    """For `setinputsizes`: what texts are declared as; the other types have one declaration each."""
    return [_size(value) if isinstance(value, str) else None for value in parameters]


def _size(text: str) -> Size:
    units = utf16_units(text)
    length = next((length for length in _LENGTHS if units <= length), _MAX)
    return (_WVARCHAR, length, 0)


@lru_cache(maxsize=512)
def with_nulls(sql: str, nulls: tuple[bool, ...]) -> str:
    """The driver asks the server for the type of a parameter that is None: one more round trip. NULL has no type."""
    first, *rest = sql.split("?")
    return first + "".join(("NULL" if null else "?") + text for null, text in zip(nulls, rest, strict=True))
