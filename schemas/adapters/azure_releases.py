"""Azure DevOps' classic releases: deployments to the environments of a release, and their approvals."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.adapters.azure_resource import SEND_ALL, Change
from schemas.adapters.fields import line, required, text
from schemas.adapters.foreign import Artifact, Unreadable
from schemas.adapters.repositories import derived_id
from schemas.types import EventType

DEPLOYMENT_RESULTS: Final[Mapping[str, EventType]] = {
    "succeeded": EventType.DEPLOYMENT_SUCCEEDED,
    "partiallysucceeded": EventType.DEPLOYMENT_SUCCEEDED,  # a task failed that may fail
    "canceled": EventType.DEPLOYMENT_CANCELLED,
    "rejected": EventType.DEPLOYMENT_FAILED,  # a failed deployment has this status, too
    "failed": EventType.DEPLOYMENT_FAILED,
}
"""Statuses of the environment of a completed deployment, in lower case."""

_APPROVAL_ACTIVITY: Final = "AZURE_DEVOPS_DEPLOYMENT_APPROVAL"


def deployment_started(body: Mapping[str, Any]) -> Change:
    status = line(body, "resource", "environment", "status") or "started"
    return _deployment(body, EventType.DEPLOYMENT_STARTED, status)


def deployment_completed(body: Mapping[str, Any]) -> Change:
    status = text(body, "resource", "environment", "status") or text(body, "resource", "deployment", "deploymentStatus")
    if status is None:
        raise Unreadable(f"/resource/environment/status: is missing; {SEND_ALL}")
    type_ = DEPLOYMENT_RESULTS.get(status.lower())
    if type_ is None:
        raise Unreadable(f"/resource/environment/status: is none of {', '.join(DEPLOYMENT_RESULTS)}")
    operation = line(body, "resource", "deployment", "operationStatus")
    if status.lower() == "rejected" and operation is not None and operation.lower() == "rejected":
        type_ = EventType.DEPLOYMENT_CANCELLED  # an approver rejected it, so nothing was deployed
    return _deployment(body, type_, status)


def _deployment(body: Mapping[str, Any], type_: EventType, status: str) -> Change:
    """One attempt to deploy a classic release to one of its environments."""
    release_id, environment_id = _release_id(body), text(body, "resource", "environment", "id")
    if environment_id is None:
        raise Unreadable(f"/resource/environment/id: is missing; {SEND_ALL}")
    attempt = (
        text(body, "resource", "deployment", "attempt")
        or text(body, "resource", "environment", "deploySteps", -1, "attempt")
        or "1"
    )
    run = derived_id("release", release_id, "environment", environment_id, "attempt", attempt)
    return Change(
        type=type_,
        original_id=run,
        status=status,
        run=run,
        scope=_release_scope(body, required(body, "resource", "environment", "name")),
        artifact=Artifact(tag=_release_name(body)),
        url=line(body, "resource", "environment", "release", "_links", "web", "href")
        or line(body, "resource", "environment", "release", "url"),
        actor=line(body, "resource", "deployment", "requestedFor", "displayName")
        or line(body, "resource", "environment", "deploySteps", -1, "requestedFor", "displayName"),
    )


def approval_changed(body: Mapping[str, Any]) -> Change | None:
    """An activity: an approval changes no status by itself, the deployment's own events do."""
    name = _release_name(body)
    environment = line(body, "resource", "environment", "name") or line(
        body, "resource", "approval", "releaseEnvironment", "name"
    )
    if name is None:
        return None
    return Change(
        type=EventType.ACTIVITY_RECORDED,
        activity_type=_APPROVAL_ACTIVITY,
        original_id=derived_id("approval", text(body, "resource", "approval", "id") or "0"),
        status=line(body, "resource", "approval", "status") or "undefined",
        scope=_release_scope(body, environment),
        artifact=Artifact(tag=name),
        actor=line(body, "resource", "approval", "approvedBy", "displayName")
        or line(body, "resource", "approval", "approver", "displayName"),
    )


def _release_id(body: Mapping[str, Any]) -> str:
    """The release's id. Where the source leaves an object out, it writes the id 0."""
    found = (
        text(body, "resource", *path)
        for path in (("environment", "release", "id"), ("release", "id"), ("environment", "releaseId"))
    )
    id_ = next((one for one in found if one not in (None, "0")), None)
    if id_ is None:
        raise Unreadable(f"/resource/environment/release/id: is missing; {SEND_ALL}")
    return id_


def _release_name(body: Mapping[str, Any]) -> str | None:
    return (
        text(body, "resource", "environment", "release", "name")
        or text(body, "resource", "release", "name")
        or text(body, "resource", "approval", "release", "name")
    )


def _release_scope(body: Mapping[str, Any], environment: str | None) -> Mapping[str, str | None]:
    definitions = (
        ("environment", "releaseDefinition"),
        ("release", "releaseDefinition"),
        ("deployment", "releaseDefinition"),
        ("approval", "releaseDefinition"),
    )
    names = (line(body, "resource", *path, "name") for path in definitions)
    return {"pipeline": next((name for name in names if name is not None), None), "environment": environment}
