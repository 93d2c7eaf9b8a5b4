"""Findings: what `verify` reports. Each names a position or a row, what was expected there, and what was found.

A damaged system may have a million findings. The report lists a bounded number of them and counts all.
"""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from schemas.described import Described
from schemas.detail import printable
from worker.rules.message import RecordPosition

_TEXT_CHARS_MAX = 600


class Kind(Described):
    LOST = (
        "lost",
        (
            "something required is missing: a committed record's activity or rejection, a row, a status event, a "
            "state, or a dead letter. If the record was not handled, stop the workers, reset the group's offset to it, "
            "and start them: events that are known already change nothing"
        ),
    )
    DOUBLED = (
        "doubled",
        (
            "an event has its effect twice: it is in the activity log and among the rejections, or twice in the "
            "activity log; or two releases have one release number. Look for another program that writes to these "
            "tables"
        ),
    )
    INVENTED = (
        "invented",
        (
            "a row, a status event or a dead letter that no record explains. Look for another program that writes to "
            "the table or the topic, and check that RUDDER_INPUT_TOPICS names every input topic"
        ),
    )
    OUT_OF_ORDER = (
        "out_of_order",
        (
            "an effect or a status event precedes one that it must follow. Look for two groups that write to one "
            "database, and for another producer of the status topics"
        ),
    )
    CONTRADICTORY = (
        "contradictory",
        (
            "a row, a status event or a dead letter differs from what the records result in. Look for manual changes "
            "and for other programs that write to the table or the topic"
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`position`: the record in question, of an input or an output topic. `row`: the id of a row of `table`, present or
    missing. `release`: None where no release is concerned.
    """

    kind: Kind
    expected: str
    found: str
    position: RecordPosition | None = None
    table: str | None = None
    row: UUID | None = None
    release: UUID | None = None

    def line(self) -> str:
        """One line for an operator, whatever text a publisher sent."""
        where = [str(self.position)] if self.position else []
        if self.table:
            where.append(f"{self.table} {self.row}" if self.row else self.table)
        if self.release and self.release != self.row:
            where.append(f"release {self.release}")
        return printable(f"{self.kind} {', '.join(where)}: expected {_cut(self.expected)}; found {_cut(self.found)}")

    def as_json(self) -> dict[str, object]:
        position = self.position
        return {
            "kind": self.kind.value,
            "topic": position.topic if position else None,
            "partition": position.partition if position else None,
            "offset": position.offset if position else None,
            "table": self.table,
            "row": self.row and str(self.row),
            "release": self.release and str(self.release),
            "expected": self.expected,
            "found": self.found,
        }


@dataclass(slots=True)
class Findings:
    """The first `kept_max` findings, and the number of each kind."""

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
    return text if len(text) <= _TEXT_CHARS_MAX else text[: _TEXT_CHARS_MAX - 1] + "…"
