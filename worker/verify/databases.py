"""Two databases compared cell by cell: one that workers write, and a rebuilt or a restored one.

Each is read in pages by key, and the same keys are looked up in the other: no order is assumed that both share, as
databases sort UUIDs differently. Rows in memory are bounded by the pages, and by the rows of one release.
"""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeVar
from uuid import UUID

from schemas.detail import printable
from worker.rules.rows import Rejection
from worker.stored_rows import EnvironmentRow, ReleaseRows

_PAGE = 200
_TEXT_CHARS_MAX = 300

_T = TypeVar("_T")
_Rows = Mapping[str, Mapping[str, Any]]


class ComparedTables(Protocol):
    """Read only. Every method raises Unavailable where the database does not answer."""

    def releases(self) -> AsyncIterator[ReleaseRows]:
        """Every release, one by one, each as it was at one moment."""
        ...

    async def rows_of(self, release_ids: Sequence[UUID]) -> Sequence[ReleaseRows]: ...

    def release_ids(self) -> AsyncIterator[UUID]: ...

    async def existing(self, release_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these releases exist."""
        ...

    def rejections(self) -> AsyncIterator[Rejection]: ...

    async def rejections_of(self, event_ids: Sequence[UUID]) -> Mapping[UUID, Rejection]: ...

    def environments(self) -> AsyncIterator[EnvironmentRow]: ...


class Side(StrEnum):
    """Where a row is."""

    HERE = "only in RUDDER_DATABASE_URL"
    THERE = "only in --against"
    BOTH = "different"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that is in one database only, or whose `cells` differ: the column, the value here, the value there."""

    side: Side
    table: str
    row: str
    release: str | None
    cells: tuple[tuple[str, Any, Any], ...] = ()

    def line(self) -> str:
        release = f", release {self.release}" if self.release not in {None, self.row} else ""
        cells = "; ".join(f"{name} {_shown(here)} | {_shown(there)}" for name, here, there in self.cells)
        return printable(f"{self.side}: {self.table} {self.row}{release}{': ' if cells else ''}{cells}")

    def as_json(self) -> dict[str, Any]:
        cells = [{"column": name, "here": _json(here), "there": _json(there)} for name, here, there in self.cells]
        return {
            "side": self.side.name.lower(),
            "table": self.table,
            "row": self.row,
            "release": self.release,
            "cells": cells,
        }


COUNTS = {
    "releases": "releases in both databases",
    "deployments": "deployments of these",
    "activities": "activities of these",
    "rejections": "rejections in both databases",
    "environments": "rows of app_environments in both databases",
    "foreign": "releases of other applications in one database only: not compared",
    "unsettled": "releases that changed during every attempt to read them: not compared",
}

EXPLANATIONS = (
    (
        "A rebuilt database lacks what retention deleted from the topics: releases, and the events of these releases "
        "that are still in the topics are rejected there as release_not_found."
    ),
    "A release that another application created is in no topic: events about it are rejected in a rebuilt database.",
    "A worker that runs during the comparison changes rows: compare again when it has no lag.",
    "Two partitions have no common order: events of one release in several partitions can be decided differently.",
)
"""What differs legitimately."""


@dataclass(slots=True)
class Comparison:
    """The first `kept_max` differences; all are counted by table and side."""

    kept_max: int
    kept: list[Difference] = field(default_factory=list)
    by_table: Counter[tuple[str, Side]] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTS, 0)))

    def add(self, difference: Difference) -> None:
        self.by_table[difference.table, difference.side] += 1
        if len(self.kept) < self.kept_max:
            self.kept.append(difference)

    @property
    def total(self) -> int:
        return self.by_table.total()

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": not self.total,
            "counts": dict(self.counts),
            "differences_total": self.total,
            "differences_by_table": [
                {"table": table, "side": side.name.lower(), "count": count}
                for (table, side), count in sorted(self.by_table.items())
            ],
            "differences": [one.as_json() for one in self.kept],
        }


async def compare(here: ComparedTables, there: ComparedTables, *, differences_max: int) -> Comparison:
    """Compare all tables that are a function of the topics, and environment pointers where both have the row."""
    comparison = Comparison(kept_max=differences_max)
    await _compare_releases(here, there, comparison)
    await _compare_rejections(here, there, comparison)
    await _compare_environments(here, there, comparison)
    return comparison


async def _compare_releases(here: ComparedTables, there: ComparedTables, comparison: Comparison) -> None:
    async for page in _pages(here.releases()):
        found = {rows.release["id"]: rows for rows in await there.rows_of([rows.release["id"] for rows in page])}
        for rows in page:
            other = found.get(rows.release["id"])
            if other is None:
                _add_one_sided(rows, Side.HERE, comparison)
            else:
                await _compare_release(here, there, (rows, other), comparison)
    async for ids in _pages(there.release_ids()):
        known = await here.existing(ids)
        for rows in await there.rows_of([id_ for id_ in ids if id_ not in known]):
            _add_one_sided(rows, Side.THERE, comparison)


async def _compare_release(
    here: ComparedTables, there: ComparedTables, pair: tuple[ReleaseRows, ReleaseRows], comparison: Comparison
) -> None:
    differences = list(_of_release(*pair))
    if differences:  # a worker may have changed it between the two reads
        again = [list(await side.rows_of([pair[0].release["id"]])) for side in (here, there)]
        if all(again):
            pair = again[0][0], again[1][0]
            differences = list(_of_release(*pair))
    if not all(rows.settled for rows in pair):
        comparison.counts["unsettled"] += 1
        return
    rows = pair[0]
    comparison.counts.update(releases=1, deployments=len(rows.deployments), activities=len(rows.activities))
    for difference in differences:
        comparison.add(difference)


def _add_one_sided(rows: ReleaseRows, side: Side, comparison: Comparison) -> None:
    if rows.version is None and not rows.activities:  # no event is about it
        comparison.counts["foreign"] += 1
        return
    id_ = str(rows.release["id"])
    comparison.add(Difference(side=side, table="releases", row=id_, release=id_))


def _of_release(here: ReleaseRows, there: ReleaseRows) -> Iterator[Difference]:
    release = str(here.release["id"])
    yield from _of_rows("releases", [{release: here.release}, {release: there.release}], release)
    versions = [{} if rows.version is None else {release: {"version": rows.version}} for rows in (here, there)]
    yield from _of_rows("release_versions", versions, release)
    deployments = [{str(row["id"]): row for row in rows.deployments} for rows in (here, there)]
    yield from _of_rows("release_deployments", deployments, release)
    activities = [{str(one.id): _activity(one) for one in rows.activities} for rows in (here, there)]
    yield from _of_rows("release_activity_logs", activities, release)
    revisions = [
        Counter(tuple(sorted(map(str, row.values()))) for row in rows.base_revisions) for rows in (here, there)
    ]
    for side, missing in ((Side.HERE, revisions[0] - revisions[1]), (Side.THERE, revisions[1] - revisions[0])):
        for row in missing.elements():
            yield Difference(side=side, table="release_apim_base_revisions", row=" ".join(row), release=release)


async def _compare_rejections(here: ComparedTables, there: ComparedTables, comparison: Comparison) -> None:
    table = "release_event_rejections"
    async for page in _pages(here.rejections()):
        found = await there.rejections_of([one.id for one in page])
        for one in page:
            release = None if one.release_id is None else str(one.release_id)
            other = found.get(one.id)
            comparison.counts["rejections"] += other is not None
            rows = {} if other is None else {str(one.id): asdict(other)}
            for difference in _of_rows(table, [{str(one.id): asdict(one)}, rows], release):
                comparison.add(difference)
    async for page in _pages(there.rejections()):
        known = await here.rejections_of([one.id for one in page])
        for one in page:
            if one.id not in known:
                release = None if one.release_id is None else str(one.release_id)
                comparison.add(Difference(side=Side.THERE, table=table, row=str(one.id), release=release))


async def _compare_environments(here: ComparedTables, there: ComparedTables, comparison: Comparison) -> None:
    """The table belongs to another application: rows in one database only are no difference."""
    names = ("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name")
    with closing(sqlite3.connect("")) as kept:  # a temporary file
        kept.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, release TEXT, attempt TEXT, name TEXT)")
        async for row in there.environments():
            kept.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", (_key(row), *_pointer(row)))
        async for row in here.environments():
            other = kept.execute("SELECT release, attempt, name FROM rows WHERE key = ?", (_key(row),)).fetchone()
            if other is None:
                continue
            comparison.counts["environments"] += 1
            pointers = [{_key(row): dict(zip(names, values, strict=True))} for values in (_pointer(row), other)]
            for difference in _of_rows("app_environments", pointers, None):
                comparison.add(difference)


def _of_rows(table: str, sides: Sequence[_Rows], release: str | None) -> Iterator[Difference]:
    """`sides`: the rows here and there, by key."""
    here, there = sides
    for row in sorted(here.keys() | there.keys()):
        one, other = here.get(row), there.get(row)
        if one is None or other is None:
            yield Difference(side=Side.THERE if one is None else Side.HERE, table=table, row=row, release=release)
        elif cells := tuple((name, one[name], other[name]) for name in one if one[name] != other[name]):
            yield Difference(side=Side.BOTH, table=table, row=row, release=release, cells=cells)


async def _pages(rows: AsyncIterator[_T]) -> AsyncIterator[list[_T]]:
    page: list[_T] = []
    async for row in rows:
        page.append(row)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _activity(activity: Any) -> dict[str, Any]:
    found = asdict(activity)
    del found["payload"]
    return found


def _key(row: EnvironmentRow) -> str:
    return f"{row.environment}/{row.component}/{row.track}"


def _pointer(row: EnvironmentRow) -> tuple[str | None, str | None, str | None]:
    return row.release, row.attempt, row.name


def _json(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= _TEXT_CHARS_MAX else text[: _TEXT_CHARS_MAX - 1] + "…"
