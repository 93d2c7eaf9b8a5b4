"""The data of the events that publishers send, one model for each shape.

A tolerant reader: unknown fields are ignored, so that publishers can add theirs before the worker knows them. Known
ones are strict: no number for a text, no text for a number. Frozen, because a message in flight is shared.
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
    {"RELEASE_CREATED", "RELEASE_STATUS_CHANGED", "DEPLOYMENT_STATUS_CHANGED", "EVENT_STALE"}
)
"""The worker's own entries in the activity log; no publisher may write one."""

_READER = ConfigDict(frozen=True, strict=True, extra="ignore")
_FORGEABLE = frozenset(map(confusable_key, WORKER_ACTIVITY_TYPES))


def _not_too_many(value: object) -> object:
    # Before the entries are looked at: half a million broken ones would be half a million errors.
    if isinstance(value, list | tuple) and len(value) > APIM_BASE_REVISIONS_MAX:
        raise PydanticCustomError(
            "too_long", "Array should have at most {entries_max} entries", {"entries_max": APIM_BASE_REVISIONS_MAX}
        )
    return value


class EventData(BaseModel):
    """What every event says: which release, whose, and optionally who did it and why."""

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
    """What a release is made of, beside its id and organization."""

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
    # Strict would ask for a Python tuple, which JSON does not have.
    apim_base_revisions: Annotated[
        tuple[ApimBaseRevision, ...],
        Strict(strict=False),
        Field(max_length=APIM_BASE_REVISIONS_MAX),
        BeforeValidator(_not_too_many),
    ] = ()


class ReleaseCreated(EventData, ReleaseFields):
    """`release.created`: inserts the release, in DRAFT."""


class ReleaseTransition(EventData):
    """`release.submitted`, `approved`, `rejected` and `reopened`: the type says it all."""


class DeploymentChange(EventData):
    """The six `deployment.*` events: one attempt to bring a release to an environment.

    Without `attempt` the rules find the attempt that is meant. A `release` block is for pipelines that have no release
    step of their own. The mapping's and the schema's revision are null where the publisher does not say.
    """

    environment_id: Name
    config_revision: Ordinal = 1
    attempt: Attempt | None = None
    config_mapping_revision: Revision | None = Field(default=None, json_schema_extra={"default": 0})
    schema_based_config_revision: Revision | None = Field(default=None, json_schema_extra={"default": 0})
    api_settings: JsonObject | None = None
    release: ReleaseFields | None = Field(default=None, description="Creates the release where it is unknown.")


class ActivityRecorded(EventData):
    """`activity.recorded`: an entry in the activity log, nothing else."""

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

    activity_type: Name = Field(description="Any but the worker's own: " + ", ".join(sorted(WORKER_ACTIVITY_TYPES)))
    activity_data: JsonObject
    environment_id: Name | None = None
    config_revision: Ordinal | None = None
    attempt: Attempt | None = None

    @field_validator("activity_type")
    @classmethod
    def _is_no_forgery(cls, value: str) -> str:
        # As loosely as a database compares.
        if confusable_key(value) in _FORGEABLE:
            raise PydanticCustomError("reserved_activity_type", "This activity type is the worker's own")
        return value

    @field_validator("config_revision", "attempt")
    @classmethod
    def _has_its_environment(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and "environment_id" in info.data and info.data["environment_id"] is None:
            raise PydanticCustomError("environment_missing", "This field needs environment_id")
        return value


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
