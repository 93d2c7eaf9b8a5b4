"""The state of an environment after an event, derived from the event's activities alone.

It is published to a compacted topic, where it replaces the environment's earlier states. New events and duplicates use
the same function, so a repeated state equals the first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from schemas.outgoing import STATE_MODELS
from schemas.statuses import DeploymentStatus
from schemas.times import parse_time
from schemas.trace_context import TraceContext, trace_context
from schemas.types import StateEventType
from worker.rules.effects import DEPLOYMENT_STATUS_CHANGED, current_block
from worker.rules.rows import Activity, Deployment
from worker.rules.status_events import payload_of


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEvent:
    """The current deployment of an environment. `id`: of the activity, with `/state`. `key`: the record's key, the
    release's id and the environment's. `data`: JSON values of `schemas.outgoing.DeploymentState`. `trace`: the trace
    context of the cause.
    """

    id: str
    type: StateEventType
    time: datetime
    key: str
    data: Mapping[str, Any]
    trace: TraceContext | None = None

    def is_current(self, counted: Mapping[str, Deployment]) -> bool:
        """Whether the environment still has this state. `counted`: by environment, the attempt that it counts with. An
        environment that counts with none has only cancelled attempts, and keeps the state of the last change.
        """
        current = counted.get(self.data["environment_id"])
        if current is None:
            return bool(self.data["status"] == DeploymentStatus.CANCELLED)
        return (str(current.id), current.status) == (self.data["deployment_id"], self.data["status"])


def state_key(release_id: UUID, environment_id: str) -> str:
    """The key of an environment's records in the state topic."""
    return f"{release_id}/{environment_id}"


def state_event(activities: Iterable[Activity]) -> StateEvent | None:
    """The state after an event; None: it changed no deployment. `activities`: all of the event, in order.

    All deployments that one event changes are of one environment; the last of its activities has the state after all.

    Raises:
        ValueError, KeyError, TypeError: a stored activity was edited, and misses a field or has a wrong value.
    """
    changes = [activity for activity in activities if activity.activity_type == DEPLOYMENT_STATUS_CHANGED]
    return state_of(changes[-1]) if changes else None


def state_of(activity: Activity, current: Deployment | None = None) -> StateEvent:
    """The state after an event, whose last change is `activity`. `current`: the deployment that is current; None: the
    one that the activity names.

    Raises:
        ValueError, KeyError, TypeError: as `state_event`.
    """
    if activity.environment_id is None:
        raise ValueError(f"activity {activity.id} has no environment")
    payload = payload_of(activity)
    data = _data(activity, activity.environment_id, payload, None if current is None else current_block(current))
    if activity.payload is None:
        _validate(data)
    return StateEvent(
        id=f"{activity.id}/state",
        type=StateEventType.DEPLOYMENT_STATE,
        time=activity.created_at,
        key=state_key(activity.release_id, activity.environment_id),
        data=data,
        trace=trace_context(payload.get("traceparent"), payload.get("tracestate")),
    )


def _data(
    activity: Activity, environment_id: str, payload: Mapping[str, Any], current: Mapping[str, Any] | None
) -> dict[str, Any]:
    changed = {**payload, "deployment_id": str(activity.deployment_id), "status": payload["change"]["to"]}
    current = current or payload.get("current", changed)
    return {
        "release_id": str(activity.release_id),
        "release_version": payload.get("release_version"),
        "deployment_id": current["deployment_id"],
        "organization_id": payload["organization_id"],
        "environment_id": environment_id,
        "config_revision": current["config_revision"],
        "attempt": current["attempt"],
        "status": current["status"],
        "deployed_at": current.get("deployed_at"),
        "deployed_by": current.get("deployed_by"),
        "release": payload.get("release"),
        "cause": payload["event"],
    }


def _validate(data: Mapping[str, Any]) -> None:
    """Validate a stored activity: one that was edited must not break the published schema."""
    typed = {
        **data,
        "release_id": UUID(data["release_id"]),
        "deployment_id": UUID(data["deployment_id"]),
        "status": DeploymentStatus(data["status"]),
        "deployed_at": None if data["deployed_at"] is None else parse_time(data["deployed_at"]),
        "cause": {**data["cause"], "time": parse_time(data["cause"]["time"])},
    }
    STATE_MODELS[StateEventType.DEPLOYMENT_STATE].model_validate(typed)
