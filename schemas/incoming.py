"""The data of incoming events, one model per shape.

A tolerant reader: unknown fields are ignored, so publishers can add fields. Known fields are strict: a number is not
converted to a string, nor a string to a number. Frozen, because a message in flight is shared.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from schemas.confusables import confusable_key
from schemas.text import Attempt, Date, JsonObject, Name, Ordinal, Prose, Revision, Uuid
from schemas.types import EventType

APIM_BASE_REVISIONS_MAX = 1000

WORKER_ACTIVITY_TYPES = frozenset(
    {"RELEASE_CREATED", "RELEASE_STATUS_CHANGED", "DEPLOYMENT_STATUS_CHANGED", "DEPLOYMENT_RUN", "EVENT_STALE"}
)
"""The types of the worker's own activities; publishers must not use them."""

_READER = ConfigDict(frozen=True, strict=True, extra="ignore")
_RESERVED = frozenset(map(confusable_key, WORKER_ACTIVITY_TYPES))


def _limit_length(value: object) -> object:
    # Checked before the items: half a million invalid items would be half a million errors.
    if isinstance(value, list | tuple) and len(value) > APIM_BASE_REVISIONS_MAX:
        raise PydanticCustomError(
            "too_long", "Array should have at most {items_max} items", {"items_max": APIM_BASE_REVISIONS_MAX}
        )
    return value


class EventData(BaseModel):
    """The fields of every event: the release, its organization, and optionally actor and comment."""

    model_config = _READER

    release_id: Uuid
    organization_id: Name = Field(description="Must be the release's own organization.")
    actor: Name | None = None
    comment: Prose | None = None


class ApimBaseRevision(BaseModel):
    """The API revision that one endpoint of the release is based on."""

    model_config = _READER

    endpoint_name: Name
    api_id: Name
    revision_id: Name
    access_mode: Name


class ReleaseFields(BaseModel):
    """The fields of a release, except its id and organization."""

    model_config = _READER

    project_id: Uuid
    component_id: Uuid
    deployment_track_id: Name
    release_date: Date
    release_number: Ordinal
    created_by: Name
    description: Prose | None = None
    commit_hash: Name | None = None
    image_tag: Name | None = None
    metadata: JsonObject | None = None
    # Strict mode requires a Python tuple, which JSON does not have.
    apim_base_revisions: Annotated[
        tuple[ApimBaseRevision, ...],
        Strict(strict=False),
        Field(max_length=APIM_BASE_REVISIONS_MAX),
        BeforeValidator(_limit_length),
    ] = ()


class DerivedRelease(ReleaseFields):
    """The release that a foreign event creates. Its number is the next free one of its date, component and track."""

    release_number: Ordinal | None = None  # type: ignore[assignment]


class ReleaseCreated(EventData, ReleaseFields):
    """`release.created`: inserts the release with the status DRAFT."""


class ReleaseTransition(EventData):
    """`release.submitted`, `approved`, `rejected` and `reopened`: the type is the change."""


class DeploymentChange(EventData):
    """The six `deployment.*` events: one attempt to deploy a release to an environment.

    Without `attempt`, the rules choose the attempt. A `release` block is for pipelines without a release step. The two
    optional revisions are null if the publisher omits them.
    """

    environment_id: Name
    config_revision: Ordinal = 1
    attempt: Attempt | None = None
    config_mapping_revision: Revision | None = Field(default=None, json_schema_extra={"default": 0})
    schema_based_config_revision: Revision | None = Field(default=None, json_schema_extra={"default": 0})
    api_settings: JsonObject | None = None
    release: ReleaseFields | None = Field(default=None, description="Creates the release if it does not exist.")


class ActivityRecorded(EventData):
    """`activity.recorded`: appends an activity, nothing else."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {
                "anyOf": [
                    {"required": ["config_revision"], "properties": {"config_revision": {"type": "integer"}}},
                    {"required": ["attempt"], "properties": {"attempt": {"type": "integer"}}},
                ]
            },
            "then": {"required": ["environment_id"], "properties": {"environment_id": {"type": "string"}}},
        }
    )

    activity_type: Name = Field(description="Any except the worker's own: " + ", ".join(sorted(WORKER_ACTIVITY_TYPES)))
    activity_data: JsonObject
    environment_id: Name | None = None
    config_revision: Ordinal | None = None
    attempt: Attempt | None = None

    @field_validator("activity_type")
    @classmethod
    def _is_not_reserved(cls, value: str) -> str:
        # By confusable keys, since databases compare loosely.
        if confusable_key(value) in _RESERVED:
            raise PydanticCustomError("reserved_activity_type", "This activity type is reserved for the worker")
        return value

    @field_validator("config_revision", "attempt")
    @classmethod
    def _has_its_environment(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and "environment_id" in info.data and info.data["environment_id"] is None:
            raise PydanticCustomError("environment_missing", "This field requires environment_id")
        return value


class ForeignActivity(ActivityRecorded):
    """An activity of a foreign source: as a deployment event does, it creates the release of its artifact."""

    release: DerivedRelease | None = None


DATA_MODELS: Mapping[EventType, type[EventData]] = {
    EventType.RELEASE_CREATED: ReleaseCreated,
    EventType.RELEASE_SUBMITTED: ReleaseTransition,
    EventType.RELEASE_APPROVED: ReleaseTransition,
    EventType.RELEASE_REJECTED: ReleaseTransition,
    EventType.RELEASE_REOPENED: ReleaseTransition,
    EventType.DEPLOYMENT_REQUESTED: DeploymentChange,
    EventType.DEPLOYMENT_STARTED: DeploymentChange,
    EventType.DEPLOYMENT_SUCCEEDED: DeploymentChange,
    EventType.DEPLOYMENT_FAILED: DeploymentChange,
    EventType.DEPLOYMENT_CANCELLED: DeploymentChange,
    EventType.DEPLOYMENT_ROLLED_BACK: DeploymentChange,
    EventType.ACTIVITY_RECORDED: ActivityRecorded,
}
