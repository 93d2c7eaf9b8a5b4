"""From the rows that a question brings to the state that a decision looks at.

Every dialect asks in its own words and answers in the same columns, so that this is said once. Values are what the
driver gives; a `Reader` makes them what Python calls them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from schemas.confusables import collides
from schemas.statuses import DeploymentStatus, ReleaseStatus
from worker.rules.rows import Activity, Deployment, EnvironmentPointer, Rejection, Release
from worker.rules.state import State

Row = Sequence[Any]

RELEASE_COLUMNS = (
    "id",
    "organization_id",
    "status",
    "component_id",
    "deployment_track_id",
    "release_date",
    "release_number",
    "updated_at",
)
DEPLOYMENT_COLUMNS = (
    "id",
    "environment_id",
    "config_revision",
    "attempt",
    "status",
    "updated_at",
    "deployed_at",
    "deployed_by",
    "created_at",
)
ENTRY_COLUMNS = (
    "id",
    "created_at",
    "release_mgt_id",
    "release_deployment_id",
    "environment_id",
    "activity_type",
    "activity_data",
    "status",
)
REJECTION_COLUMNS = (
    "id",
    "created_at",
    "reason",
    "detail",
    "event_source",
    "event_id",
    "event_type",
    "release_mgt_id",
    "topic",
    "topic_partition",
    "topic_offset",
    "resolved_at",
)

FACTS = 8
"""How many columns come before the release's: `logged`, `rejected` (is the event known?), `number_taken`, `version`
(of the release's row, where the database has such a thing), `pointer_found`, and what it points at: deployment id as
text, that deployment's release id and deployed_at. Then RELEASE_COLUMNS, then DEPLOYMENT_COLUMNS; one row an attempt,
the same attempt perhaps twice, or, with nulls for it, an environment whose attempts are of no account. Last, the track
of another release with the date, number and component that the event wants: a row each, and then there are no attempts.
"""

_FIRST_DEPLOYMENT_COLUMN = FACTS + len(RELEASE_COLUMNS)
COLUMNS = _FIRST_DEPLOYMENT_COLUMN + len(DEPLOYMENT_COLUMNS) + 1
"""All of them."""


@dataclass(frozen=True, slots=True)
class Reader:
    """What turns a driver's values into Python's. Times are stored in UTC without saying so."""

    uuid: Callable[[Any], UUID]
    time: Callable[[Any], datetime]
    date: Callable[[Any], date]


@dataclass(frozen=True, slots=True)
class Answer:
    """`logged`, `rejected`: whether the event is known as such; what is known is read only then. `claims`: how many
    releases have the date, number and component of the one that the event would create.
    """

    logged: bool
    rejected: bool
    version: int | None
    state: State
    claims: int = 0


def answer(rows: Sequence[Row], read: Reader, *, track: str | None) -> Answer:
    """The rows of one question; there is always one at least. `track`: that of the release it would create."""
    first = rows[0]
    logged, rejected, taken, version, pointer_found, pointed, pointed_release, pointed_at = first[:FACTS]
    deployments: dict[Any, Deployment] = {}
    environments: set[str] = set()
    for row in rows:
        key = row[_FIRST_DEPLOYMENT_COLUMN]
        if key is None:
            if row[_FIRST_DEPLOYMENT_COLUMN + 1] is not None:
                environments.add(row[_FIRST_DEPLOYMENT_COLUMN + 1])
        elif key not in deployments:
            deployments[key] = _deployment(row, read)
    tracks = [row[-1] for row in rows if row[-1] is not None]
    pointer = None
    if pointer_found:
        pointer = EnvironmentPointer(
            deployment_id=pointed,
            release_id=None if pointed_release is None else read.uuid(pointed_release),
            deployed_at=None if pointed_at is None else read.time(pointed_at),
        )
    state = State(
        release=None if first[FACTS] is None else _release(first, read),
        number_taken=bool(taken) or (bool(tracks) and track is not None and collides(track, tracks) is not None),
        deployments=tuple(deployments.values()),
        environments=frozenset(environments),
        pointer=pointer,
    )
    return Answer(bool(logged), bool(rejected), version, state, len(tracks))


def _release(row: Row, read: Reader) -> Release:
    return Release(
        id=read.uuid(row[FACTS]),
        organization_id=row[FACTS + 1],
        status=ReleaseStatus(row[FACTS + 2]),
        component_id=read.uuid(row[FACTS + 3]),
        deployment_track_id=row[FACTS + 4],
        release_date=read.date(row[FACTS + 5]),
        release_number=row[FACTS + 6],
        updated_at=read.time(row[FACTS + 7]),
    )


def _deployment(row: Row, read: Reader) -> Deployment:
    at = _FIRST_DEPLOYMENT_COLUMN
    deployed_at = row[at + 6]
    return Deployment(
        id=read.uuid(row[at]),
        environment_id=row[at + 1],
        config_revision=row[at + 2],
        attempt=row[at + 3],
        status=DeploymentStatus(row[at + 4]),
        updated_at=read.time(row[at + 5]),
        deployed_at=None if deployed_at is None else read.time(deployed_at),
        deployed_by=row[at + 7],
        created_at=read.time(row[at + 8]),
    )


def activity(row: Row, read: Reader) -> Activity:
    """A row of ENTRY_COLUMNS."""
    activity_id, created_at, release_id, deployment_id, environment_id, activity_type, activity_data, status = row
    return Activity(
        id=read.uuid(activity_id),
        created_at=read.time(created_at),
        release_id=read.uuid(release_id),
        deployment_id=None if deployment_id is None else read.uuid(deployment_id),
        environment_id=environment_id,
        activity_type=activity_type,
        activity_data=activity_data,
        status=status,
    )


def rejection(row: Row, read: Reader) -> Rejection:
    """A row of REJECTION_COLUMNS."""
    rejection_id, created_at, reason, detail, source, event_id, event_type, release_id, *position, resolved_at = row
    topic, partition, offset = position
    return Rejection(
        id=read.uuid(rejection_id),
        created_at=read.time(created_at),
        reason=reason,
        detail=detail,
        event_source=source,
        event_id=event_id,
        event_type=event_type,
        release_id=None if release_id is None else read.uuid(release_id),
        topic=topic,
        partition=partition,
        offset=offset,
        resolved_at=None if resolved_at is None else read.time(resolved_at),
    )
