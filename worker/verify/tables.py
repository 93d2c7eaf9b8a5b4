"""The rows of a release, its log and its rejections, against what its events come to."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any
from uuid import UUID

from worker.rules.identity import activity_id, entry_ids
from worker.rules.rows import BaseRevision, Rejection
from worker.stored_rows import Row
from worker.verify.deciding import LOG, REJECTIONS
from worker.verify.findings import Finding, Kind
from worker.verify.history import History, cause_of, place_of
from worker.verify.ledger import Ledger

_PROSE = ("detail", "reason")
"""A reason was compared when it was judged; a detail is for people, and its words may change with the version."""


def release_findings(history: History, ledger: Ledger) -> Iterator[Finding]:
    """`releases`, `release_deployments` and `release_apim_base_revisions`, cell by cell."""
    release_id, rows = history.key, history.rows
    found = {rows.release["id"]: rows.release} if rows else {}
    expected = {ledger.release["id"]: ledger.release} if ledger.release else {}
    yield from _compare("releases", found, expected, release_id)
    deployments = {row["id"]: row for row in rows.deployments} if rows else {}
    yield from _compare("release_deployments", deployments, ledger.deployments, release_id)
    revisions = Counter(map(_revision, rows.base_revisions)) if rows else Counter[BaseRevision]()
    for revision in sorted(revisions.keys() | ledger.base_revisions.keys(), key=str):
        there, due = revisions[revision], ledger.base_revisions[revision]
        if there != due:
            kind = Kind.LOST if there < due else Kind.DOUBLED if due else Kind.INVENTED
            yield Finding(
                kind=kind,
                table="release_apim_base_revisions",
                release=release_id,
                expected=f"{due} of {revision.endpoint_name} {revision.api_id} {revision.revision_id}",
                found=f"{there}",
            )


def _revision(row: Row) -> BaseRevision:
    return BaseRevision(**{field.name: row[field.name] for field in fields(BaseRevision)})


def _compare(
    table: str, found: Mapping[UUID, Row], expected: Mapping[UUID, Row], release_id: UUID
) -> Iterator[Finding]:
    for row_id in sorted(found.keys() | expected.keys()):
        there, due = found.get(row_id), expected.get(row_id)
        if there is None or due is None:
            kind = Kind.LOST if there is None else Kind.INVENTED
            yield Finding(kind=kind, table=table, row=row_id, release=release_id, expected=_row(due), found=_row(there))
        elif names := [name for name in due if due[name] != there[name]]:
            yield Finding(
                kind=Kind.CONTRADICTORY,
                table=table,
                row=row_id,
                release=release_id,
                expected=_cells(due, names),
                found=_cells(there, names),
            )


def _row(row: Row | None) -> str:
    if row is None:
        return "no such row"
    return _cells(row, [name for name in ("environment_id", "config_revision", "attempt", "status") if name in row])


def _cells(row: Mapping[str, Any], names: list[str]) -> str:
    return "; ".join(f"{name} {row[name]}" for name in names)


def rejection_findings(history: History, ledger: Ledger) -> Iterator[Finding]:
    """`release_event_rejections`, for the events whose records were all judged."""
    unsure = {one.id for one in history.inputs if one.in_flight}
    for event, found in history.rejections.items():
        expected = ledger.rejections.get(event)
        if event in unsure or event in history.elsewhere:
            continue
        if expected is None:
            if event in ledger.activities:
                yield _of_rejection(Kind.DOUBLED, found, "none: the event is in the log", f"rejected as {found.reason}")
            continue
        place = place_of(found)
        if place != place_of(expected):
            kind = Kind.OUT_OF_ORDER if place.same_partition(place_of(expected)) else Kind.CONTRADICTORY
            yield _of_rejection(kind, expected, "the rejection of this record", f"that of {place}")
        elif names := [
            field.name
            for field in fields(Rejection)
            if field.name not in _PROSE and getattr(found, field.name) != getattr(expected, field.name)
        ]:
            told = ["; ".join(f"{name} {getattr(of, name)}" for name in names) for of in (expected, found)]
            yield _of_rejection(Kind.CONTRADICTORY, found, *told)


def _of_rejection(kind: Kind, row: Rejection, expected: str, found: str) -> Finding:
    return Finding(
        kind=kind,
        place=place_of(row),
        table=REJECTIONS,
        row=row.id,
        release=row.release_id,
        expected=expected,
        found=found,
    )


def unexplained_entries(history: History, ledger: Ledger) -> Iterator[Finding]:
    """Entries of the log that no record's judgement has looked at."""
    events = {one.id for one in history.inputs}
    looked_at = {activity.id for activities in ledger.activities.values() for activity in activities}
    for activity in history.activities:
        if activity.id in looked_at:
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
        source, event_id, place = cause
        event = activity_id(source=source, event_id=event_id)
        told = f"{activity.activity_type} {activity.status} of ({source}, {event_id})"
        if activity.id not in entry_ids(source=source, event_id=event_id):
            kind = Kind.DOUBLED if event in events else Kind.INVENTED
            expected = "one effect an event, with the ids that follow from it"
            yield replace(finding, kind=kind, place=place, expected=expected, found=told)
        elif event not in events:
            expected = "a record of the input that is this event"
            yield replace(finding, kind=Kind.INVENTED, place=place, expected=expected, found=told)
