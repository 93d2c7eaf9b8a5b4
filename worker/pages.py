"""Pages of long lists, and their counts. A page begins behind a key, not at a number: new rows shift nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from schemas.times import format_time, parse_time


class PageKey(NamedTuple):
    """The time and the id of the last row of a page; the next page begins behind it."""

    at: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{format_time(self.at)}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> "PageKey":
        """Raises ValueError: the text is no key as `str` writes it."""
        at, _, id_ = text.partition("/")
        return cls(parse_time(at), UUID(id_))


@dataclass(frozen=True, slots=True)
class CappedCount:
    """A number that is counted up to a limit only; `capped`: there are more."""

    number: int
    capped: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.capped else ''}"
