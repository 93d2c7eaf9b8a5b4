"""Groups of dead letters with a common reason, source, type or fingerprint, and the times of each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from worker.stored_dead_letters import Filters, Group, Summary

FINGERPRINTED_MAX = 100_000
"""Dead letters whose fingerprints are computed: the newest."""

GROUPS_MAX = 1_000

_UUID = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEXADECIMAL = re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b")
_NUMBER = re.compile("[0-9]+(?:[.,][0-9]+)*")


class GroupBy(StrEnum):
    REASON = "reason"
    SOURCE = "source"
    TYPE = "type"
    FINGERPRINT = "fingerprint"
    """The reason and the detail, without ids and numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """`groups`: the largest first, at most GROUPS_MAX. `capped`: the newest FINGERPRINTED_MAX dead letters only."""

    groups: Sequence[Group]
    capped: bool = False


class Grouped(Protocol):
    """Both methods raise Unavailable if the database does not answer."""

    async def groups(self, filters: Filters, column: str, limit: int) -> Sequence[Group]:
        """By `reason`, `source` or `type`, the largest first."""
        ...

    async def summaries(self, filters: Filters, limit: int) -> Sequence[Summary]:
        """The newest dead letters, at most `limit`."""
        ...


async def grouped(dead_letters: Grouped, filters: Filters, by: GroupBy) -> Groups:
    """Raises Unavailable: the database does not answer."""
    if by is not GroupBy.FINGERPRINT:
        return Groups(groups=await dead_letters.groups(filters, by.value, GROUPS_MAX))
    summaries = await dead_letters.summaries(filters, FINGERPRINTED_MAX + 1)
    found: dict[str, _Members] = {}
    for summary in summaries[:FINGERPRINTED_MAX]:
        found.setdefault(fingerprint(summary.reason, summary.detail), _Members()).add(summary)
    groups = sorted((members.group(name) for name, members in found.items()), key=lambda one: -one.count)
    return Groups(groups=groups[:GROUPS_MAX], capped=len(summaries) > FINGERPRINTED_MAX)


def fingerprint(reason: str, detail: str) -> str:
    """The same for details that differ in ids and numbers only. Of a fingerprint it is that fingerprint."""
    text = _HEXADECIMAL.sub("<id>", _UUID.sub("<id>", detail))
    return f"{reason}: {_NUMBER.sub('#', text)}"


@dataclass(slots=True)
class _Members:
    """`times`: of the first and the last."""

    count: int = 0
    times: tuple[datetime, datetime] | None = None
    releases: set[UUID] = field(default_factory=set)

    def add(self, summary: Summary) -> None:
        self.count += 1
        first, last = self.times or (summary.created_at, summary.created_at)
        self.times = min(first, summary.created_at), max(last, summary.created_at)
        if summary.release_id is not None:
            self.releases.add(summary.release_id)

    def group(self, name: str) -> Group:
        if self.times is None:
            raise ValueError("a group without members")
        first, last = self.times
        return Group(value=name, count=self.count, first=first, last=last, releases=len(self.releases))
