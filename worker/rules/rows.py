"""The rows that `decide` reads, and the changes to rows that it returns. Each class names its table.

All times are aware UTC. JSON columns are the stored text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from schemas.statuses import DeploymentStatus, ReleaseStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The columns of a `releases` row that the rules read, or that status events have."""

    id: UUID
    organization_id: str
    status: ReleaseStatus
    project_id: UUID
    component_id: UUID
    deployment_track_id: str
    release_date: date
    release_number: int
    commit_hash: str | None
    image_tag: str | None
    updated_at: datetime

    @property
    def name(self) -> str:
        date_digits = self.release_date.isoformat().replace("-", "")  # strftime pads no year on some systems
        return f"{date_digits}-{self.release_number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRevision:
    """A row of `release_apim_base_revisions`."""

    endpoint_name: str
    api_id: str
    revision_id: str
    access_mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRelease:
    """A `releases` row to insert. `release.status` is the status after the whole event."""

    release: Release
    created_at: datetime
    created_by: str
    description: str | None
    metadata: str | None
    base_revisions: tuple[BaseRevision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseMove:
    """An UPDATE of `releases`, on condition that the status is still `previous`."""

    id: UUID
    previous: ReleaseStatus
    status: ReleaseStatus
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The columns of a `release_deployments` row that the rules read: one attempt.

    `created_at`: the time of its first event. `updated_at`: the latest time among the events that changed it.
    """

    id: UUID
    environment_id: str
    config_revision: int
    attempt: int
    status: DeploymentStatus
    created_at: datetime
    updated_at: datetime
    deployed_at: datetime | None = None
    deployed_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionalFields:
    """The optional fields of a deployment event. None: the event does not have the field."""

    comment: str | None = None
    config_mapping_revision: int | None = None
    schema_based_config_revision: int | None = None
    api_settings: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDeployment:
    """A `release_deployments` row to insert."""

    release_id: UUID
    deployment: Deployment
    optional_fields: OptionalFields


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentMove:
    """An UPDATE of `release_deployments`, on condition that the status is still `previous`. Optional fields that are
    None keep their values.
    """

    deployment: Deployment
    previous: DeploymentStatus
    optional_fields: OptionalFields


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A row of `release_activity_logs`; `status` is the status after the event, `activity_data` JSON text.

    `payload`: the parsed text, where this process has just written it.
    """

    id: UUID
    created_at: datetime
    release_id: UUID
    deployment_id: UUID | None
    environment_id: str | None
    activity_type: str
    activity_data: str
    status: str
    payload: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A row of `release_event_rejections`. `reason` is a `schemas.reasons.Reason`, possibly one of a later version."""

    id: UUID
    created_at: datetime
    reason: str
    detail: str
    event_source: str | None
    event_id: str | None
    event_type: str | None
    release_id: UUID | None
    topic: str
    partition: int
    offset: int
    resolved_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPointer:
    """The deployment in the `app_environments` row of an environment: its id as stored there. `release_id` and
    `deployed_at`: of this deployment, if it is in `release_deployments`.
    """

    environment_id: str
    deployment_id: str | None
    release_id: UUID | None = None
    deployed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPointerMove:
    """An UPDATE of `app_environments`, on condition that the row still has the deployment id `previous`."""

    environment_id: str
    component_id: UUID
    deployment_track_id: str
    previous: str | None
    release_id: UUID
    deployment_id: UUID
    deployment_name: str
