"""The data of status events and of states. The schemas are closed: the worker publishes no other field.

A strict writer: every field is always present, null if it has no value, and times have one format.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.text import BIGINT_MAX, Attempt, EventSource, Name, Ordinal, Prose, StoredName, Uuid
from schemas.times import format_time
from schemas.types import StateEventType, StatusEventType

_WRITER = ConfigDict(frozen=True, strict=True, extra="forbid", json_schema_serialization_defaults_required=True)

Time = Annotated[
    AwareDatetime,
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
        }
    ),
]


class Cause(BaseModel):
    """The event that caused the change."""

    model_config = _WRITER

    source: EventSource
    id: Name
    type: Name
    time: Time


ReleaseVersion = Annotated[
    Annotated[int, Field(ge=0, le=BIGINT_MAX)] | None,
    Field(
        description="Grows with every event that changes the release or a deployment of it, over both topics. Null in "
        "an event of a change that is older than these versions: lower than any."
    ),
]


class ReleaseBlock(BaseModel):
    """What is released. The texts are as the database has them, where another application may have written them."""

    model_config = _WRITER

    name: Name
    project_id: Uuid
    component_id: Uuid
    deployment_track_id: StoredName
    commit_hash: StoredName | None = None
    image_tag: StoredName | None = None


class DeploymentStatusChanged(BaseModel):
    """A deployment has a new status; `previous_status` is null if the deployment is new."""

    model_config = _WRITER

    release_id: Uuid
    release_version: ReleaseVersion
    deployment_id: Uuid
    organization_id: Name
    environment_id: Name
    config_revision: Ordinal
    attempt: Attempt
    previous_status: DeploymentStatus | None
    status: DeploymentStatus
    deployed_at: Time | None = None
    deployed_by: Name | None = None
    comment: Prose | None = None
    release: ReleaseBlock | None
    cause: Cause


class DeploymentState(BaseModel):
    """The current deployment of an environment of a release: the attempt that the environment counts with, or the one
    that was cancelled last if none counts. `cause`: the last event that changed a deployment of the environment.
    """

    model_config = _WRITER

    release_id: Uuid
    release_version: ReleaseVersion
    deployment_id: Uuid
    organization_id: Name
    environment_id: Name
    config_revision: Ordinal
    attempt: Attempt
    status: DeploymentStatus
    deployed_at: Time | None = None
    deployed_by: Name | None = None
    release: ReleaseBlock | None
    cause: Cause


class ReleaseStatusChanged(BaseModel):
    """A release has a new status; `previous_status` is null if the release is new."""

    model_config = _WRITER

    release_id: Uuid
    release_version: ReleaseVersion
    organization_id: Name
    previous_status: ReleaseStatus | None
    status: ReleaseStatus
    comment: Prose | None = None
    release: ReleaseBlock | None
    cause: Cause


class DeploymentStatusChangedWithoutComment(DeploymentStatusChanged):
    """The form without comment, for an event that the broker refused as too large."""

    comment: None = None
    comment_omitted: Literal[True] = True


class ReleaseStatusChangedWithoutComment(ReleaseStatusChanged):
    """The form without comment, for an event that the broker refused as too large."""

    comment: None = None
    comment_omitted: Literal[True] = True


STATUS_MODELS: Mapping[StatusEventType, type[DeploymentStatusChanged] | type[ReleaseStatusChanged]] = {
    StatusEventType.DEPLOYMENT_STATUS_CHANGED: DeploymentStatusChanged,
    StatusEventType.RELEASE_STATUS_CHANGED: ReleaseStatusChanged,
}

SHORTER_STATUS_MODELS: Mapping[
    StatusEventType, type[DeploymentStatusChangedWithoutComment] | type[ReleaseStatusChangedWithoutComment]
] = {
    StatusEventType.DEPLOYMENT_STATUS_CHANGED: DeploymentStatusChangedWithoutComment,
    StatusEventType.RELEASE_STATUS_CHANGED: ReleaseStatusChangedWithoutComment,
}

STATE_MODELS: Mapping[StateEventType, type[DeploymentState]] = {StateEventType.DEPLOYMENT_STATE: DeploymentState}
