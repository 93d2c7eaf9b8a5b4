"""The activity log of the contenders with an ORM: one entry for each change, holding all that its status event says."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks.contenders.orm_events import DeploymentEvent
from benchmarks.contenders.orm_models import ActivityLog, Deployment, Release
from worker.rules.identity import activity_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the event's record stands."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one entry reports. `said`: whether it is the event's own change, so that its comment is about it.

    `release_version`: the release's version after the change; None for a stale event, which changes nothing.
    """

    activity_type: str
    previous: str | None
    status: str
    release_version: int | None
    deployment: Deployment | None = None
    said: bool = True


def log_entry(release: Release, event: DeploymentEvent, place: Place, change: Change, position: int) -> ActivityLog:
    row = change.deployment
    return ActivityLog(
        id=activity_id(source=event.source, event_id=event.id, position=position),
        created_at=event.time,
        updated_at=event.time,
        release_deployment_id=row.id if row else None,
        release_mgt_id=release.id,
        release=release,
        environment_id=row.environment_id if row else None,
        activity_type=change.activity_type,
        activity_data=compact(_said(release, event, place, change)),
        status=change.status,
    )


def said_by(activity: ActivityLog) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(activity.activity_data)
    return said


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def stamp(time: datetime) -> str:
    return time.isoformat(timespec="microseconds") + "Z"


def _said(release: Release, event: DeploymentEvent, place: Place, change: Change) -> dict[str, Any]:
    row, data = change.deployment, event.data
    said: dict[str, Any] = {
        "event": {"source": event.source, "id": event.id, "type": event.type, "time": stamp(event.time)},
        "record": {"topic": place.topic, "partition": place.partition, "offset": place.offset},
        "organization_id": release.organization_id,
    }
    if change.release_version is not None:
        said["change"] = {"from": change.previous, "to": change.status}
        said["release_version"] = change.release_version
        said["release"] = {
            "name": release.name,
            "project_id": str(release.project_id),
            "component_id": str(release.component_id),
            "deployment_track_id": release.deployment_track_id,
            "commit_hash": release.commit_hash,
            "image_tag": release.image_tag,
        }
    if row:
        said["config_revision"], said["attempt"] = row.config_revision, row.attempt
        if row.deployed_at:
            said["deployed_at"], said["deployed_by"] = stamp(row.deployed_at), row.deployed_by
    if data.actor is not None:
        said["actor"] = data.actor
    if data.comment is not None and change.said and change.activity_type != "RELEASE_STATUS_CHANGED":
        said["comment"] = data.comment
    return said
