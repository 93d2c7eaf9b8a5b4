"""The status events that follow from activity log entries, and from nothing else.

An event that was just applied and one that is met again are published by this same function: a repeat cannot differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from schemas.json_text import parse
from schemas.outgoing import DeploymentStatusChanged, ReleaseStatusChanged
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.times import parse_time
from schemas.types import StatusEventType
from worker.domain.effects import DEPLOYMENT_STATUS_CHANGED, RELEASE_CREATED, RELEASE_STATUS_CHANGED
from worker.domain.rows import Entry

_OWN_DEPTH_MAX = 8
"""The worker's own entries are shallow; publishers' data stands in none that changes a status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEvent:
    """A status change as it is published. `id` is the entry's: the same change always has the same id."""

    id: UUID
    type: StatusEventType
    time: datetime
    release_id: UUID
    data: DeploymentStatusChanged | ReleaseStatusChanged


def status_events(entries: Iterable[Entry]) -> tuple[StatusEvent, ...]:
    """The status events of `entries`, in their order; entries that change no status have none."""
    return tuple(event for entry in entries if (event := _status_event(entry)) is not None)


def _status_event(entry: Entry) -> StatusEvent | None:
    if entry.activity_type == DEPLOYMENT_STATUS_CHANGED:
        return _event(entry, StatusEventType.DEPLOYMENT_STATUS_CHANGED, _deployment_data(entry))
    if entry.activity_type in {RELEASE_CREATED, RELEASE_STATUS_CHANGED}:
        return _event(entry, StatusEventType.RELEASE_STATUS_CHANGED, _release_data(entry))
    return None


def _event(
    entry: Entry, event_type: StatusEventType, data: DeploymentStatusChanged | ReleaseStatusChanged
) -> StatusEvent:
    return StatusEvent(id=entry.id, type=event_type, time=entry.created_at, release_id=entry.release_id, data=data)


def _deployment_data(entry: Entry) -> DeploymentStatusChanged:
    said = _said(entry)
    previous, deployed_at = said["change"]["from"], said.get("deployed_at")
    return DeploymentStatusChanged.model_validate(
        {
            "release_id": entry.release_id,
            "deployment_id": entry.deployment_id,
            "organization_id": said["organization_id"],
            "environment_id": entry.environment_id,
            "config_revision": said["config_revision"],
            "attempt": said["attempt"],
            "previous_status": previous and DeploymentStatus(previous),
            "status": DeploymentStatus(said["change"]["to"]),
            "deployed_at": deployed_at and parse_time(deployed_at),
            "deployed_by": said.get("deployed_by"),
            "comment": said.get("comment"),
            "cause": _cause(said),
        }
    )


def _release_data(entry: Entry) -> ReleaseStatusChanged:
    said = _said(entry)
    previous = said["change"]["from"]
    return ReleaseStatusChanged.model_validate(
        {
            "release_id": entry.release_id,
            "organization_id": said["organization_id"],
            "previous_status": previous and ReleaseStatus(previous),
            "status": ReleaseStatus(said["change"]["to"]),
            "comment": said.get("comment"),
            "cause": _cause(said),
        }
    )


def _said(entry: Entry) -> dict[str, Any]:
    return cast("dict[str, Any]", parse(entry.activity_data.encode(), depth_max=_OWN_DEPTH_MAX))


def _cause(said: dict[str, Any]) -> dict[str, Any]:
    return {**said["event"], "time": parse_time(said["event"]["time"])}
