"""Status events, derived from activities alone.

New events and duplicates use the same function, so a repeated status event equals the first.
An activity that was written before releases had versions has neither a version nor a release block; in its status event
both are null.
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
from schemas.trace_context import TraceContext, trace_context
from schemas.types import StatusEventType
from worker.rules.effects import DEPLOYMENT_STATUS_CHANGED, RELEASE_CREATED, RELEASE_STATUS_CHANGED
from worker.rules.rows import Activity

_OWN_DEPTH_MAX = 8
"""Activities that change a status contain no data of publishers, which may be nested deeper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEvent:
    """A status change to publish. `id` is the activity's, so one change always has one id. `data`: JSON values of the
    type's model in `schemas.outgoing`. `trace`: the trace context of the cause.
    """

    id: UUID
    type: StatusEventType
    time: datetime
    release_id: UUID
    data: Mapping[str, Any]
    trace: TraceContext | None = None


def status_events(activities: Iterable[Activity]) -> tuple[StatusEvent, ...]:
    """The status events of `activities`, in order. Activities that change no status have none.

    Raises:
        ValueError, KeyError, TypeError: a stored activity was edited, and misses a field or has a wrong value.
    """
    return tuple(event for activity in activities if (event := _status_event(activity)) is not None)


def payload_of(activity: Activity) -> Mapping[str, Any]:
    """The `activity_data` of an activity that changes a status. Raises ValueError: it is not as the worker writes."""
    if activity.payload is not None:
        return activity.payload
    return cast("dict[str, Any]", parse(activity.activity_data.encode(), depth_max=_OWN_DEPTH_MAX))


def _status_event(activity: Activity) -> StatusEvent | None:
    if activity.activity_type == DEPLOYMENT_STATUS_CHANGED:
        return _event(activity, StatusEventType.DEPLOYMENT_STATUS_CHANGED)
    if activity.activity_type in {RELEASE_CREATED, RELEASE_STATUS_CHANGED}:
        return _event(activity, StatusEventType.RELEASE_STATUS_CHANGED)
    return None


def _event(activity: Activity, event_type: StatusEventType) -> StatusEvent:
    payload = payload_of(activity)
    deployment = event_type is StatusEventType.DEPLOYMENT_STATUS_CHANGED
    data = _deployment_data(activity, payload) if deployment else _release_data(activity, payload)
    if activity.payload is None:
        _validate(event_type, data)
    return StatusEvent(
        id=activity.id,
        type=event_type,
        time=activity.created_at,
        release_id=activity.release_id,
        data=data,
        trace=trace_context(payload.get("traceparent"), payload.get("tracestate")),
    )


def _deployment_data(activity: Activity, payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "release_id": str(activity.release_id),
        "release_version": payload.get("release_version"),
        "deployment_id": str(activity.deployment_id),
        "organization_id": payload["organization_id"],
        "environment_id": activity.environment_id,
        "config_revision": payload["config_revision"],
        "attempt": payload["attempt"],
        "previous_status": payload["change"]["from"],
        "status": payload["change"]["to"],
        "deployed_at": payload.get("deployed_at"),
        "deployed_by": payload.get("deployed_by"),
        "comment": payload.get("comment"),
        "release": payload.get("release"),
        "cause": payload["event"],
    }


def _release_data(activity: Activity, payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "release_id": str(activity.release_id),
        "release_version": payload.get("release_version"),
        "organization_id": payload["organization_id"],
        "previous_status": payload["change"]["from"],
        "status": payload["change"]["to"],
        "comment": payload.get("comment"),
        "release": payload.get("release"),
        "cause": payload["event"],
    }


def _validate(event_type: StatusEventType, data: Mapping[str, Any]) -> None:
    """Validate a stored activity: one that was edited must not break the published schema."""
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
