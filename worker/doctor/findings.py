"""What a check of `doctor` found."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """FAULT: events are lost, rejected or not processed, or will be. WARNING: worth a change. NOT_CHECKED: the check
    could not be made, or there is nothing that could be measured.
    """

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`text`: the fact, with its object. `action`: what to do; None where there is nothing to do."""

    check: str
    level: Level
    text: str
    action: str | None = None

    def as_json(self) -> dict[str, str | None]:
        return {"check": self.check, "level": self.level, "text": self.text, "action": self.action}


def ok(check: str, text: str) -> Finding:
    return Finding(check=check, level=Level.OK, text=text)


def warning(check: str, text: str, action: str | None = None) -> Finding:
    return Finding(check=check, level=Level.WARNING, text=text, action=action)


def fault(check: str, text: str, action: str | None = None) -> Finding:
    return Finding(check=check, level=Level.FAULT, text=text, action=action)


def not_checked(check: str, cause: str) -> Finding:
    return Finding(check=check, level=Level.NOT_CHECKED, text=cause)


def worst(findings: Iterable[Finding]) -> Level:
    """FAULT or WARNING if there is one, else OK."""
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.FAULT, Level.WARNING) if level in levels), Level.OK)
