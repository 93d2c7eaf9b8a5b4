"""What is wrong, as values: each finding names the place, the row, what had to be there and what is.

A damaged system may have a million findings; what is kept of them is bounded, what is counted is not.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from schemas.described import Described
from schemas.detail import printable

_SAID_CHARS_MAX = 600


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"

    def same_partition(self, other: "Place") -> bool:
        return self[:2] == other[:2]


class Kind(Described):
    LOST = (
        "lost",
        (
            "what had to be there is not: a committed record that is in neither the log nor the rejections, a row, a "
            "status event, a dead letter"
        ),
    )
    DOUBLED = "doubled", "one event's effect is there twice: in the log and the rejections, or in the log once more"
    INVENTED = "invented", "a row, a status event or a dead letter that no record explains"
    OUT_OF_ORDER = "out_of_order", "it is there, and came before what it had to come after"
    CONTRADICTORY = "contradictory", "it is there, and says something else than what the records come to"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`place`: the record in question, of an input or an output topic. `row`: the id of a row of `table`, there or
    missed. `release`: None for what belongs to none.
    """

    kind: Kind
    expected: str
    found: str
    place: Place | None = None
    table: str | None = None
    row: UUID | None = None
    release: UUID | None = None

    def line(self) -> str:
        """For an operator: one line, whatever a publisher wrote into it."""
        where = [str(self.place)] if self.place else []
        if self.table:
            where.append(f"{self.table} {self.row}" if self.row else self.table)
        if self.release and self.release != self.row:
            where.append(f"release {self.release}")
        told = f"{self.kind} {', '.join(where)}: expected {_cut(self.expected)}; found {_cut(self.found)}"
        return printable(told)

    def as_json(self) -> dict[str, object]:
        place = self.place
        return {
            "kind": self.kind.value,
            "topic": place.topic if place else None,
            "partition": place.partition if place else None,
            "offset": place.offset if place else None,
            "table": self.table,
            "row": self.row and str(self.row),
            "release": self.release and str(self.release),
            "expected": self.expected,
            "found": self.found,
        }


@dataclass(slots=True)
class Findings:
    """The first `kept_max` findings, and how many there are of each kind."""

    kept_max: int
    kept: list[Finding] = field(default_factory=list)
    by_kind: Counter[Kind] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        self.by_kind[finding.kind] += 1
        if len(self.kept) < self.kept_max:
            self.kept.append(finding)

    @property
    def total(self) -> int:
        return self.by_kind.total()


def _cut(text: str) -> str:
    return text if len(text) <= _SAID_CHARS_MAX else text[: _SAID_CHARS_MAX - 1] + "…"
