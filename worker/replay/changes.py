"""The rows that a replay would add or change, as cells before and after."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from schemas.detail import printable
from worker.prediction import Prediction
from worker.release_simulation import ReleaseSimulation
from worker.replay.pointers import PointerPrediction
from worker.rules.rows import Activity, Rejection
from worker.stored_rows import ReleaseRows

_TEXT_CHARS_MAX = 2_000
_LINE_CHARS_MAX = 160


class Change(StrEnum):
    ADDED = "added"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A column's value before and after, as JSON values. Of an added row `before` is None."""

    column: str
    before: Any
    after: Any

    def line(self) -> str:
        return f"{self.column} {_shown(self.before)} → {_shown(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """`key`: the row's id, or what identifies it. Of an added row the listed columns, of a changed row the cells that
    differ.
    """

    table: str
    key: str
    change: Change
    release: str | None
    cells: tuple[Cell, ...]

    def lines(self) -> Iterator[str]:
        release = f", release {self.release}" if self.release not in {None, self.key} else ""
        if self.change is Change.ADDED:
            cells = "; ".join(f"{cell.column} {_shown(cell.after)}" for cell in self.cells)
            yield printable(f"+ {self.table} {self.key}{release}: {cells}")
            return
        yield printable(f"~ {self.table} {self.key}{release}")
        for cell in self.cells:
            yield printable(f"    {cell.line()}")

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "change": self.change.value, "cells": [asdict(cell) for cell in self.cells]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RowChange":
        cells = tuple(Cell(**cell) for cell in value["cells"])
        return cls(**{**value, "change": Change(value["change"]), "cells": cells})


@dataclass(slots=True)
class RowChanges:
    """All changes counted by table; the first `kept_max` of them."""

    kept_max: int
    kept: list[RowChange] = field(default_factory=list)
    counts: Counter[tuple[str, Change]] = field(default_factory=Counter)

    def add(self, change: RowChange) -> None:
        self.counts[change.table, change.change] += 1
        if len(self.kept) < self.kept_max:
            self.kept.append(change)


def row_changes(
    prediction: Prediction, pointers: PointerPrediction, rejections_before: Mapping[UUID, Rejection | None]
) -> Iterator[RowChange]:
    """Everything that the decisions of a prediction change. `rejections_before`: of each event that was decided."""
    for release_id, simulation in prediction.releases.items():
        yield from _of_release(release_id, simulation, prediction.stored.get(release_id))
    for event, before in rejections_before.items():
        after = prediction.rejections.get(event)
        if after is not None and after != before:
            yield _of_rejection(before, after)
    for moved in pointers.changes():
        row = moved.before
        names = {"release": "release_mgt_release_id", "attempt": "release_mgt_deployment_id"}
        names |= {"name": "release_mgt_deployment_name"}
        yield RowChange(
            table="app_environments",
            key=f"{row.environment}/{row.component}/{row.track}",
            change=Change.CHANGED,
            release=moved.after.release,
            cells=_cells(
                {column: getattr(moved.before, name) for name, column in names.items()},
                {column: getattr(moved.after, name) for name, column in names.items()},
            ),
        )


def _of_release(release_id: UUID, simulation: ReleaseSimulation, stored: ReleaseRows | None) -> Iterator[RowChange]:
    release = str(release_id)
    if simulation.release is not None:
        yield from _of_row("releases", release_id, stored.release if stored else None, simulation.release, release)
    if simulation.version is not None:
        before = None if stored is None or stored.version is None else {"version": stored.version}
        yield from _of_row("release_versions", release_id, before, {"version": simulation.version}, release)
    deployments = {row["id"]: row for row in stored.deployments} if stored else {}
    for id_, row in simulation.deployments.items():
        yield from _of_row("release_deployments", id_, deployments.get(id_), row, release)
    if stored is None:
        for revision, count in simulation.base_revisions.items():
            for _ in range(count):
                yield _added(
                    "release_apim_base_revisions",
                    f"{revision.api_id}/{revision.revision_id}",
                    asdict(revision),
                    release,
                )
    for activities in simulation.activities.values():
        for activity in activities:
            yield _added("release_activity_logs", str(activity.id), _activity(activity), release)


_LISTED = ("environment_id", "config_revision", "attempt", "status", "release_date", "release_number", "version")
"""The columns of an added row that are listed; the others follow from the event."""


def _of_row(
    table: str, key: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any], release: str
) -> Iterator[RowChange]:
    if before is None:
        yield _added(table, str(key), {name: after[name] for name in _LISTED if name in after}, release)
    elif cells := _cells({name: before[name] for name in after}, after):
        yield RowChange(table=table, key=str(key), change=Change.CHANGED, release=release, cells=cells)


def _of_rejection(before: Rejection | None, after: Rejection) -> RowChange:
    table, key = "release_event_rejections", str(after.id)
    release = None if after.release_id is None else str(after.release_id)
    cells = _rejection(after)
    if before is None:
        return _added(table, key, {name: cells[name] for name in _REJECTION_LISTED}, release)
    return RowChange(
        table=table, key=key, change=Change.CHANGED, release=release, cells=_cells(_rejection(before), cells)
    )


_REJECTION_LISTED = (
    "reason",
    "event_type",
    "event_source",
    "event_id",
    "topic",
    "topic_partition",
    "topic_offset",
)


def _rejection(rejection: Rejection) -> Mapping[str, Any]:
    """By the names of its columns."""
    columns = {"partition": "topic_partition", "offset": "topic_offset", "release_id": "release_mgt_id"}
    return {columns.get(name, name): value for name, value in asdict(rejection).items()}


def _activity(activity: Activity) -> Mapping[str, Any]:
    return {
        "activity_type": activity.activity_type,
        "environment_id": activity.environment_id,
        "status": activity.status,
        "created_at": activity.created_at,
    }


def _added(table: str, key: str, values: Mapping[str, Any], release: str | None) -> RowChange:
    cells = tuple(Cell(column=name, before=None, after=_json(value)) for name, value in values.items())
    return RowChange(table=table, key=key, change=Change.ADDED, release=release, cells=cells)


def _cells(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Cell, ...]:
    return tuple(
        Cell(column=name, before=_json(before[name]), after=_json(after[name]))
        for name in after
        if before[name] != after[name]
    )


def _json(value: Any) -> Any:
    match value:
        case datetime() | date():
            return value.isoformat()
        case UUID():
            return str(value)
        case str() if len(value) > _TEXT_CHARS_MAX:
            return value[: _TEXT_CHARS_MAX - 1] + "…"
        case str():
            return str(value)
        case _:
            return value


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= _LINE_CHARS_MAX else text[: _LINE_CHARS_MAX - 1] + "…"
