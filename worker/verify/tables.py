"""The rows of a release, its activities and its rejections, compared with what its events result in."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any
from uuid import UUID

from worker.release_simulation import ReleaseSimulation
from worker.rules.identity import activity_id, activity_ids
from worker.rules.rows import Activity, BaseRevision, Rejection
from worker.stored_rows import Row, version_of
from worker.verify.comparison import LOG, REJECTIONS
from worker.verify.findings import Finding, Kind
from worker.verify.history import History, cause_of, position_of

_NOT_COMPARED = ("detail", "reason", "resolved_at")
"""The reason was compared with the decision; a detail's wording may change with the version. `resolved_at` is compared
apart: events of other releases may set it.
"""


def release_findings(history: History, expected_rows: ReleaseSimulation) -> Iterator[Finding]:
    """`releases`, `release_versions`, `release_deployments` and `release_apim_base_revisions`, column by column."""
    release_id, rows = history.key, history.rows
    if rows is not None and expected_rows.release is not None and rows.version != expected_rows.version:
        yield _of_version(rows.version, release_id, expected=f"version {expected_rows.version}")
    found = {rows.release["id"]: rows.release} if rows else {}
    expected = {expected_rows.release["id"]: expected_rows.release} if expected_rows.release else {}
    yield from _compare("releases", found, expected, release_id)
    deployments = {row["id"]: row for row in rows.deployments} if rows else {}
    yield from _compare("release_deployments", deployments, expected_rows.deployments, release_id)
    revisions = Counter(map(_revision, rows.base_revisions)) if rows else Counter[BaseRevision]()
    for revision in sorted(revisions.keys() | expected_rows.base_revisions.keys(), key=str):
        there, due = revisions[revision], expected_rows.base_revisions[revision]
        if there != due:
            kind = Kind.LOST if there < due else Kind.DOUBLED if due else Kind.INVENTED
            yield Finding(
                kind=kind,
                table="release_apim_base_revisions",
                release=release_id,
                expected=f"{due} of {revision.endpoint_name} {revision.api_id} {revision.revision_id}",
                found=f"{there}",
            )


def version_findings(history: History, activities: Iterable[Activity]) -> Iterator[Finding]:
    """Versions that the activities contradict by themselves, for a history whose records cannot all be read.
    `activities`: in the order of their records.
    """
    latest: dict[tuple[str, int], tuple[UUID, int]] = {}
    highest: int | None = None
    for activity in activities:
        version, cause = version_of(activity), cause_of(activity)
        if version is None or cause is None:
            continue
        source, event_id, position = cause
        event = activity_id(source=source, event_id=event_id)
        highest = max(version, highest or 0)
        if event in history.earlier_activities:
            continue  # the offsets of two logs have no order
        event_before, before = latest.get(position[:2], (None, -1))
        if version < before or (version == before and event != event_before):
            yield Finding(
                kind=Kind.OUT_OF_ORDER,
                position=position,
                table=LOG,
                row=activity.id,
                release=history.key,
                expected=f"a release_version after {before}, that of an earlier record",
                found=f"release_version {version}",
            )
        latest[position[:2]] = event, max(version, before)
    there = history.rows.version if history.rows else None
    if highest is not None and (there is None or there < highest):
        yield _of_version(there, history.key, expected=f"version {highest} or higher, as in the activity log")


def _of_version(version: int | None, release_id: UUID, *, expected: str) -> Finding:
    return Finding(
        kind=Kind.LOST if version is None else Kind.CONTRADICTORY,
        table="release_versions",
        row=release_id,
        release=release_id,
        expected=expected,
        found="no such row" if version is None else f"version {version}",
    )


def rejection_findings(history: History, expected_rows: ReleaseSimulation) -> Iterator[Finding]:
    """`release_event_rejections`, of the events whose records were all decided."""
    in_flight = {one.id for one in history.inputs if one.in_flight}
    for event, found in history.rejections.items():
        expected = expected_rows.rejections.get(event)
        if event in in_flight or event in history.elsewhere:
            continue
        if expected is None:
            if event in expected_rows.activities:
                text = "no rejection: the event is in the activity log"
                yield _of_rejection(Kind.DOUBLED, found, text, f"rejected as {found.reason}")
            continue
        position = position_of(found)
        if position != position_of(expected):
            kind = Kind.OUT_OF_ORDER if position.same_partition(position_of(expected)) else Kind.CONTRADICTORY
            yield _of_rejection(kind, expected, "the rejection of this record", f"that of {position}")
        elif names := [
            field.name
            for field in fields(Rejection)
            if field.name not in _NOT_COMPARED and getattr(found, field.name) != getattr(expected, field.name)
        ]:
            texts = ["; ".join(f"{name} {getattr(of, name)}" for name in names) for of in (expected, found)]
            yield _of_rejection(Kind.CONTRADICTORY, found, *texts)
        elif due := _other_resolution(history, found, expected, redriven=event in expected_rows.activities):
            yield _of_rejection(Kind.CONTRADICTORY, found, due, f"resolved_at {found.resolved_at}")


def _other_resolution(history: History, found: Rejection, expected: Rejection, *, redriven: bool) -> str | None:
    """The expected `resolved_at`, if `found` has another. `redriven`: the event took effect itself, which always
    resolves its rejection.
    """
    if redriven:
        same = found.resolved_at == expected.resolved_at
        return None if same else f"resolved_at {expected.resolved_at}"
    corrections, position = history.corrections.get(found.id, ()), position_of(found)
    if found.resolved_at is None:
        # Records of two partitions have no order: the rejection may have come after the correction.
        behind = [
            one
            for one in corrections
            if one.effective
            and not one.unseen
            and one.position.same_partition(position)
            and one.position.offset > position.offset
        ]
        return f"resolved_at {behind[0].resolved_at}, by the correction {behind[0].position}" if behind else None
    if any((one.effective or one.unseen) and one.resolved_at == found.resolved_at for one in corrections):
        return None
    # The correction may have been in another partition, and be deleted by retention.
    return "no resolved_at" if history.trimmed <= {position[:2]} else None


def unexplained_activities(history: History, expected_rows: ReleaseSimulation) -> Iterator[Finding]:
    """Activities that no record results in."""
    events = {one.id for one in history.inputs}
    explained = {activity.id for activities in expected_rows.activities.values() for activity in activities}
    for activity in history.activities:
        if activity.id in explained:
            continue
        finding = Finding(
            kind=Kind.CONTRADICTORY,
            table=LOG,
            row=activity.id,
            release=history.key,
            expected="activity_data as the worker writes it",
            found=activity.activity_data,
        )
        if (cause := cause_of(activity)) is None:
            yield finding
            continue
        source, event_id, position = cause
        event = activity_id(source=source, event_id=event_id)
        found = f"{activity.activity_type} {activity.status} of ({source}, {event_id})"
        if activity.id not in activity_ids(source=source, event_id=event_id):
            kind = Kind.DOUBLED if event in events else Kind.INVENTED
            expected = "one effect of the event, with the ids derived from it"
            yield replace(finding, kind=kind, position=position, expected=expected, found=found)
        elif event not in events:
            expected = "an input record with this event"
            yield replace(finding, kind=Kind.INVENTED, position=position, expected=expected, found=found)


def _revision(row: Row) -> BaseRevision:
    return BaseRevision(**{field.name: row[field.name] for field in fields(BaseRevision)})


def _compare(
    table: str, found: Mapping[UUID, Row], expected: Mapping[UUID, Row], release_id: UUID
) -> Iterator[Finding]:
    for row_id in sorted(found.keys() | expected.keys()):
        there, due = found.get(row_id), expected.get(row_id)
        if there is None or due is None:
            kind = Kind.LOST if there is None else Kind.INVENTED
            yield Finding(
                kind=kind, table=table, row=row_id, release=release_id, expected=_summary(due), found=_summary(there)
            )
        elif names := [name for name in due if due[name] != there[name]]:
            yield Finding(
                kind=Kind.CONTRADICTORY,
                table=table,
                row=row_id,
                release=release_id,
                expected=_cells(due, names),
                found=_cells(there, names),
            )


def _summary(row: Row | None) -> str:
    if row is None:
        return "no such row"
    return _cells(row, [name for name in ("environment_id", "config_revision", "attempt", "status") if name in row])


def _cells(row: Mapping[str, Any], names: list[str]) -> str:
    return "; ".join(f"{name} {row[name]}" for name in names)


def _of_rejection(kind: Kind, row: Rejection, expected: str, found: str) -> Finding:
    return Finding(
        kind=kind,
        position=position_of(row),
        table=REJECTIONS,
        row=row.id,
        release=row.release_id,
        expected=expected,
        found=found,
    )
