"""The status events that follow from activity log entries, and from nothing else.

An event that was just applied and one that is met again are published by this same function: a repeat cannot differ.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from schemas.json_text import parse
from schemas.outgoing import STATUS_MODELS
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.times import parse_time
from schemas.types import StatusEventType
from worker.rules.effects import DEPLOYMENT_STATUS_CHANGED, RELEASE_CREATED, RELEASE_STATUS_CHANGED
from worker.rules.rows import Activity

_OWN_DEPTH_MAX = 8
"""The worker's own entries are shallow; publishers' data stands in none that changes a status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEvent:
    """A status change as it is published. `id` is the entry's: the same change always has the same id. `data`: what
    the type's model in `schemas.outgoing` says, as JSON holds it.
    """

    id: UUID
    type: StatusEventType
    time: datetime
    release_id: UUID
    data: Mapping[str, Any]


def status_events(activities: Iterable[Activity]) -> tuple[StatusEvent, ...]:
    """The status events of `entries`, in their order; entries that change no status have none.

    Raises:
        ValueError, KeyError, TypeError: an entry that was read from the log is not as this worker wrote it.
    """
    return tuple(event for activity in activities if (event := _status_event(activity)) is not None)


def _status_event(activity: Activity) -> StatusEvent | None:
    if activity.activity_type == DEPLOYMENT_STATUS_CHANGED:
        return _event(activity, StatusEventType.DEPLOYMENT_STATUS_CHANGED)
    if activity.activity_type in {RELEASE_CREATED, RELEASE_STATUS_CHANGED}:
        return _event(activity, StatusEventType.RELEASE_STATUS_CHANGED)
    return None


def _event(activity: Activity, event_type: StatusEventType) -> StatusEvent:
    said = activity.said
    if said is None:
        said = cast("dict[str, Any]", parse(activity.activity_data.encode(), depth_max=_OWN_DEPTH_MAX))
    deployment = event_type is StatusEventType.DEPLOYMENT_STATUS_CHANGED
    data = _deployment_data(activity, said) if deployment else _release_data(activity, said)
    if activity.said is None:
        _require(event_type, data)
    return StatusEvent(
        id=activity.id, type=event_type, time=activity.created_at, release_id=activity.release_id, data=data
    )


def _deployment_data(activity: Activity, said: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "release_id": str(activity.release_id),
        "deployment_id": str(activity.deployment_id),
        "organization_id": said["organization_id"],
        "environment_id": activity.environment_id,
        "config_revision": said["config_revision"],
        "attempt": said["attempt"],
        "previous_status": said["change"]["from"],
        "status": said["change"]["to"],
        "deployed_at": said.get("deployed_at"),
        "deployed_by": said.get("deployed_by"),
        "comment": said.get("comment"),
        "cause": said["event"],
    }


def _release_data(activity: Activity, said: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "release_id": str(activity.release_id),
        "organization_id": said["organization_id"],
        "previous_status": said["change"]["from"],
        "status": said["change"]["to"],
        "comment": said.get("comment"),
        "cause": said["event"],
    }


def _require(event_type: StatusEventType, data: Mapping[str, Any]) -> None:
    """An entry that was edited by hand must not become an event that breaks the published schema."""
    status = DeploymentStatus if event_type is StatusEventType.DEPLOYMENT_STATUS_CHANGED else ReleaseStatus
    typed = dict(data)
    for name in ("release_id", "deployment_id"):
        if name in typed:
            typed[name] = UUID(typed[name])
    typed["status"] = status(typed["status"])
    typed["previous_status"] = typed["previous_status"] and status(typed["previous_status"])
    if typed.get("deployed_at") is not None:
        typed["deployed_at"] = parse_time(typed["deployed_at"])
    typed["cause"] = {**typed["cause"], "time": parse_time(typed["cause"]["time"])}
    STATUS_MODELS[event_type].model_validate(typed)
