"""The events as an application with pydantic reads them: one model for the structured CloudEvents that come in."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

DeploymentType = Literal[
    "dev.rudder.deployment.requested.v1",
    "dev.rudder.deployment.started.v1",
    "dev.rudder.deployment.succeeded.v1",
    "dev.rudder.deployment.failed.v1",
    "dev.rudder.deployment.cancelled.v1",
    "dev.rudder.deployment.rolled_back.v1",
]


def _utc(time: datetime) -> datetime:
    """As the columns hold it: UTC, and no zone."""
    return time.astimezone(UTC).replace(tzinfo=None)


class ReleaseBlock(BaseModel):
    project_id: UUID
    component_id: UUID
    deployment_track_id: str = Field(max_length=255)
    release_date: date
    release_number: int = Field(ge=1)
    created_by: str = Field(max_length=255)
    description: str | None = None
    commit_hash: str | None = Field(default=None, max_length=255)
    image_tag: str | None = Field(default=None, max_length=255)
    metadata: dict[str, Any] | None = None


class DeploymentData(BaseModel):
    release_id: UUID
    organization_id: str = Field(max_length=255)
    environment_id: str = Field(max_length=255)
    actor: str | None = Field(default=None, max_length=255)
    comment: str | None = None
    config_revision: int = Field(default=1, ge=1)
    config_mapping_revision: int | None = None
    schema_based_config_revision: int | None = None
    api_settings: dict[str, Any] | None = None
    release: ReleaseBlock | None = None


class DeploymentEvent(BaseModel):
    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=255)
    source: str = Field(min_length=1, max_length=1024)
    type: DeploymentType
    time: Annotated[AwareDatetime, AfterValidator(_utc)]
    data: DeploymentData
