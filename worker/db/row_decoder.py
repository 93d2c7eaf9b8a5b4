"""From the rows of a query to the state that a decision looks at.

All databases answer in the columns of `worker.db.columns.LOADED`. Values are what the driver gives; a `Reader` makes
them what Python calls them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from schemas.confusables import collides
from schemas.statuses import DeploymentStatus, ReleaseStatus
from worker.db.columns import DEPLOYMENT_READ, FACTS, RELEASE_READ
from worker.rules.query import Query
from worker.rules.rows import Activity, Deployment, EnvironmentPointer, Rejection, Release
from worker.rules.state import State

Row = Sequence[Any]

_RELEASE: Final = len(FACTS)
_DEPLOYMENT: Final = _RELEASE + len(RELEASE_READ)
_OTHER_TRACK: Final = _DEPLOYMENT + len(DEPLOYMENT_READ)


@dataclass(frozen=True, slots=True)
class Reader:
    """What turns a driver's values into Python's. Times are stored in UTC without saying so."""

    uuid: Callable[[Any], UUID]
    time: Callable[[Any], datetime]
    date: Callable[[Any], date]


TYPED: Final = Reader(uuid=lambda value: value, time=lambda value: value, date=lambda value: value)
"""For rows that were read by the models' columns: their types have converted the values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """`logged`, `rejected`: whether the event is known as such."""

    query: Query
    state: State
    logged: bool
    rejected: bool


def decode(rows: Sequence[Row], query: Query, read: Reader) -> Loaded:
    """The rows of one query; there is one at least."""
    first = rows[0]
    logged, rejected, number_taken, version, pointer_found, pointed, pointed_release, pointed_at = first[:_RELEASE]
    deployments: dict[Any, Deployment] = {}
    environments: set[str] = set()
    for row in rows:
        key = row[_DEPLOYMENT]
        if key is None:
            if row[_DEPLOYMENT + 1] is not None:
                environments.add(row[_DEPLOYMENT + 1])
        elif key not in deployments:
            deployments[key] = _deployment(row, read)
    tracks = [row[_OTHER_TRACK] for row in rows if row[_OTHER_TRACK] is not None]
    pointer = None
    if pointer_found and query.environment_id is not None:
        pointer = EnvironmentPointer(
            environment_id=query.environment_id,
            deployment_id=pointed,
            release_id=None if pointed_release is None else read.uuid(pointed_release),
            deployed_at=None if pointed_at is None else read.time(pointed_at),
        )
    track = query.deployment_track_id
    collision = bool(tracks) and track is not None and collides(track, tracks) is not None
    state = State(
        release=None if first[_RELEASE] is None else _release(first, read),
        release_version=version,
        number_taken=bool(number_taken) or collision,
        tracks_compared=len(tracks),
        deployments=tuple(deployments.values()),
        environments=frozenset(environments),
        pointer=pointer,
    )
    return Loaded(query=query, state=state, logged=bool(logged), rejected=bool(rejected))


def _release(row: Row, read: Reader) -> Release:
    return Release(
        id=read.uuid(row[_RELEASE]),
        organization_id=row[_RELEASE + 1],
        status=ReleaseStatus(row[_RELEASE + 2]),
        component_id=read.uuid(row[_RELEASE + 3]),
        deployment_track_id=row[_RELEASE + 4],
        release_date=read.date(row[_RELEASE + 5]),
        release_number=row[_RELEASE + 6],
        updated_at=read.time(row[_RELEASE + 7]),
        project_id=read.uuid(row[_RELEASE + 8]),
        commit_hash=row[_RELEASE + 9],
        image_tag=row[_RELEASE + 10],
    )


def _deployment(row: Row, read: Reader) -> Deployment:
    at = _DEPLOYMENT
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
    """A row of ACTIVITY_READ."""
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
    """A row of REJECTIONS."""
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
