"""The tables, as the release-management model defines them, for readers in Python.

The migrations make the tables; these classes describe them, and a test finds no difference between the two. CHECK
constraints and triggers stand in the migrations alone: `Base.metadata.create_all` would make unguarded tables.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    DATE,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from schemas.statuses import DeploymentStatus, ReleaseStatus
from worker.db.types import Guid, UtcTimestamp, database_now, nvarchar, nvarchar_max

# SQL Server refuses OUTPUT without INTO on a table that has triggers (error 334), so SQLAlchemy must not add it.
_HAS_TRIGGERS = {"implicit_returning": False}


def _only_where(condition: str) -> dict[str, Any]:
    return {f"{dialect}_where": text(condition) for dialect in ("mssql", "postgresql", "sqlite")}


class Base(DeclarativeBase):
    pass


class Release(Base):
    __tablename__ = "releases"
    __table_args__ = (
        UniqueConstraint(
            "release_date",
            "release_number",
            "component_id",
            "deployment_track_id",
            name="unique_release_date_number_per_component_deployment_track",
        ),
        Index("idx_releases_org_project", "organization_id", "project_id"),
        Index("idx_releases_status", "status"),
        Index("idx_releases_date_number", "release_date", "release_number"),
        Index("idx_releases_updated_at", "updated_at", "id"),
        Index("idx_releases_commit_hash", "component_id", "commit_hash"),
        Index("idx_releases_image_tag", "component_id", "image_tag"),
        _HAS_TRIGGERS,
    )

    id: Mapped[UUID] = mapped_column(Guid(), primary_key=True)
    created_at: Mapped[datetime | None] = mapped_column(UtcTimestamp(), server_default=database_now())
    updated_at: Mapped[datetime | None] = mapped_column(UtcTimestamp(), server_default=database_now())
    release_date: Mapped[date] = mapped_column(DATE())
    release_number: Mapped[int] = mapped_column(Integer())
    project_id: Mapped[UUID] = mapped_column(Guid())
    description: Mapped[str | None] = mapped_column(nvarchar_max())
    status: Mapped[str] = mapped_column(nvarchar(50), server_default=ReleaseStatus.DRAFT.value)
    organization_id: Mapped[str] = mapped_column(nvarchar(255))
    created_by: Mapped[str] = mapped_column(nvarchar(255))
    # `metadata` is taken by SQLAlchemy's declarative classes.
    metadata_: Mapped[str | None] = mapped_column("metadata", nvarchar_max())
    component_id: Mapped[UUID] = mapped_column(Guid())
    deployment_track_id: Mapped[str] = mapped_column(nvarchar(255))
    commit_hash: Mapped[str | None] = mapped_column(nvarchar(255))
    image_tag: Mapped[str | None] = mapped_column(nvarchar(255))

    def __init__(self, **values: Any) -> None:
        values.setdefault("status", ReleaseStatus.DRAFT.value)
        super().__init__(**values)

    @property
    def name(self) -> str:
        """`YYYYMMDD-<release_number>`; computed, never stored."""
        return f"{self.release_date.isoformat().replace('-', '')}-{self.release_number}"


class ReleaseVersion(Base):
    """How often a release was changed, with the deployments of it: 0 when it was created, 1 more with every event that
    changed it. A release of another application has a row once the worker has changed it.
    """

    __tablename__ = "release_versions"
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)

    release_mgt_id: Mapped[UUID] = mapped_column(
        Guid(), ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(BigInteger())


class ReleaseDeployment(Base):
    """One attempt. Its unique constraint also serves the search for the latest attempt."""

    __tablename__ = "release_deployments"
    __table_args__ = (
        UniqueConstraint(
            "release_mgt_id",
            "environment_id",
            "config_revision",
            "attempt",
            name="unique_release_mgt_id_environment_id_config_revision_attempt",
        ),
        Index("idx_deployments_release_mgt_id", "release_mgt_id"),
        Index("idx_deployments_release_mgt_id_environment_id", "release_mgt_id", "environment_id"),
        Index("idx_release_deployments_env_config_rev", "environment_id", "config_revision"),
        Index(
            "idx_release_deployments_counting",
            "release_mgt_id",
            "environment_id",
            "updated_at",
            "config_revision",
            "attempt",
            **_only_where("status <> 'CANCELLED'"),
        ),
        Index(
            "idx_release_deployments_revocable",
            "release_mgt_id",
            "environment_id",
            "config_revision",
            "attempt",
            **_only_where("status IN ('IN_PROGRESS', 'SUCCESS', 'FAILED')"),
        ),
        _HAS_TRIGGERS,
    )

    id: Mapped[UUID] = mapped_column(Guid(), primary_key=True)
    created_at: Mapped[datetime | None] = mapped_column(UtcTimestamp(), server_default=database_now())
    updated_at: Mapped[datetime | None] = mapped_column(UtcTimestamp(), server_default=database_now())
    release_mgt_id: Mapped[UUID] = mapped_column(Guid(), ForeignKey("releases.id", ondelete="CASCADE"))
    environment_id: Mapped[str] = mapped_column(nvarchar(255))
    attempt: Mapped[int] = mapped_column(BigInteger(), server_default=text("1"))
    config_revision: Mapped[int] = mapped_column(Integer(), server_default=text("1"))
    status: Mapped[str] = mapped_column(nvarchar(50), server_default=DeploymentStatus.PENDING.value)
    comment: Mapped[str | None] = mapped_column(nvarchar_max())
    deployed_at: Mapped[datetime | None] = mapped_column(UtcTimestamp())
    deployed_by: Mapped[str | None] = mapped_column(nvarchar(255))
    config_mapping_revision: Mapped[int] = mapped_column(Integer(), server_default=text("0"))
    schema_based_config_revision: Mapped[int] = mapped_column(Integer(), server_default=text("0"))
    api_settings: Mapped[str | None] = mapped_column(nvarchar_max())

    def __init__(self, **values: Any) -> None:
        values.setdefault("status", DeploymentStatus.PENDING.value)
        values.setdefault("attempt", 1)
        values.setdefault("config_revision", 1)
        super().__init__(**values)

    @property
    def is_deployed(self) -> bool:
        return self.status == DeploymentStatus.SUCCESS


class ReleaseActivityLog(Base):
    """The inbox and the outbox: the primary key is derived from the event's identity."""

    __tablename__ = "release_activity_logs"
    __table_args__ = (
        Index("idx_deployment_logs_release_mgt_id", "release_mgt_id"),
        Index("idx_release_activity_logs_status", "status"),
        Index(
            "idx_release_activity_logs_ends",
            "environment_id",
            "created_at",
            "id",
            **_only_where(
                "activity_type = 'DEPLOYMENT_STATUS_CHANGED' AND status IN ('SUCCESS', 'FAILED', 'ROLLED_BACK')"
            ),
        ),
    )

    id: Mapped[UUID] = mapped_column(Guid(), primary_key=True)
    created_at: Mapped[datetime | None] = mapped_column(UtcTimestamp(), server_default=database_now())
    updated_at: Mapped[datetime | None] = mapped_column(UtcTimestamp(), server_default=database_now())
    release_deployment_id: Mapped[UUID | None] = mapped_column(Guid())
    release_mgt_id: Mapped[UUID] = mapped_column(Guid(), ForeignKey("releases.id", ondelete="CASCADE"))
    environment_id: Mapped[str | None] = mapped_column(nvarchar(255))
    activity_type: Mapped[str] = mapped_column(nvarchar(255))
    activity_data: Mapped[str | None] = mapped_column(nvarchar_max())
    status: Mapped[str] = mapped_column(nvarchar(50), server_default=DeploymentStatus.PENDING.value)


class ReleaseApimBaseRevision(Base):
    """A table without a primary key. To the ORM all five columns are the identity, so equal rows load as one object."""

    __tablename__ = "release_apim_base_revisions"
    __table_args__ = (Index("idx_release_apim_base_revisions_release_mgt_id", "release_mgt_id"),)

    release_mgt_id: Mapped[UUID] = mapped_column(Guid(), ForeignKey("releases.id", ondelete="CASCADE"))
    endpoint_name: Mapped[str] = mapped_column(nvarchar(255))
    api_id: Mapped[str] = mapped_column(nvarchar(255))
    revision_id: Mapped[str] = mapped_column(nvarchar(255))
    access_mode: Mapped[str] = mapped_column(nvarchar(255))

    __mapper_args__ = {"primary_key": [release_mgt_id, endpoint_name, api_id, revision_id, access_mode]}  # noqa: RUF012 - declarative


class ReleaseEventRejection(Base):
    """An event that was refused; `release_mgt_id` may name a release that never was, hence no foreign key."""

    __tablename__ = "release_event_rejections"
    __table_args__ = (
        Index("idx_release_event_rejections_created_at", "created_at"),
        Index("idx_release_event_rejections_release_mgt_id", "release_mgt_id"),
        Index("idx_release_event_rejections_unresolved", "created_at", "id", **_only_where("resolved_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(Guid(), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTimestamp())
    reason: Mapped[str] = mapped_column(nvarchar(50))
    detail: Mapped[str] = mapped_column(nvarchar(1000))
    event_source: Mapped[str | None] = mapped_column(nvarchar(1024))
    event_id: Mapped[str | None] = mapped_column(nvarchar(255))
    event_type: Mapped[str | None] = mapped_column(nvarchar(255))
    release_mgt_id: Mapped[UUID | None] = mapped_column(Guid())
    topic: Mapped[str] = mapped_column(nvarchar(249))
    topic_partition: Mapped[int] = mapped_column(Integer())
    topic_offset: Mapped[int] = mapped_column(BigInteger())
    resolved_at: Mapped[datetime | None] = mapped_column(UtcTimestamp())


class ReleaseEventDismissal(Base):
    """A rejected event that an operator has settled without a redrive."""

    __tablename__ = "release_event_dismissals"

    rejection_id: Mapped[UUID] = mapped_column(
        Guid(), ForeignKey("release_event_rejections.id", ondelete="CASCADE"), primary_key=True
    )
    dismissed_at: Mapped[datetime] = mapped_column(UtcTimestamp())
    dismissed_by: Mapped[str] = mapped_column(nvarchar(255))
    note: Mapped[str] = mapped_column(nvarchar(1000))


class OperatorAction(Base):
    """A command that changes something: who ran it, when, and with which result. `arguments` and `counts` are JSON."""

    __tablename__ = "operator_actions"
    __table_args__ = (Index("idx_operator_actions_started_at", "started_at"),)

    id: Mapped[UUID] = mapped_column(Guid(), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(UtcTimestamp())
    finished_at: Mapped[datetime | None] = mapped_column(UtcTimestamp())
    operator: Mapped[str] = mapped_column(nvarchar(255))
    host: Mapped[str] = mapped_column(nvarchar(255))
    command: Mapped[str] = mapped_column(nvarchar(50))
    arguments: Mapped[str] = mapped_column(nvarchar_max())
    plan_sha256: Mapped[str | None] = mapped_column(nvarchar(64))
    counts: Mapped[str | None] = mapped_column(nvarchar_max())
    result: Mapped[str | None] = mapped_column(nvarchar(50))
    detail: Mapped[str | None] = mapped_column(nvarchar(1000))


class RedriveRecord(Base):
    """The journal of a redrive: one rejected event, written before its record is sent and changed after each step."""

    __tablename__ = "redrive_records"
    __table_args__ = (
        Index("idx_redrive_records_rejection_id", "rejection_id"),
        Index(
            "unique_redrive_records_unsettled",
            "rejection_id",
            unique=True,
            **_only_where("state IN ('SENDING', 'SENT')"),
        ),
    )

    action_id: Mapped[UUID] = mapped_column(
        Guid(), ForeignKey("operator_actions.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(Integer(), primary_key=True, autoincrement=False)
    rejection_id: Mapped[UUID] = mapped_column(Guid())
    release_mgt_id: Mapped[UUID | None] = mapped_column(Guid())
    topic: Mapped[str] = mapped_column(nvarchar(249))
    topic_partition: Mapped[int] = mapped_column(Integer())
    topic_offset: Mapped[int] = mapped_column(BigInteger())
    predicted: Mapped[str] = mapped_column(nvarchar(100))
    state: Mapped[str] = mapped_column(nvarchar(20))
    end_offset: Mapped[int | None] = mapped_column(BigInteger())
    sent_offset: Mapped[int | None] = mapped_column(BigInteger())
    outcome: Mapped[str | None] = mapped_column(nvarchar(100))
    detail: Mapped[str | None] = mapped_column(nvarchar(1000))


class WorkerBreaker(Base):
    """An opening of a consumer group's breaker; without `closed_at` it is open. `reasons` and `sources` are JSON."""

    __tablename__ = "worker_breakers"
    __table_args__ = (
        Index("idx_worker_breakers_group_opened", "group_id", "opened_at"),
        Index("unique_worker_breakers_open", "group_id", unique=True, **_only_where("closed_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(Guid(), primary_key=True)
    group_id: Mapped[str] = mapped_column(nvarchar(255))
    opened_at: Mapped[datetime] = mapped_column(UtcTimestamp())
    opened_by: Mapped[str] = mapped_column(nvarchar(255))
    window_events: Mapped[int] = mapped_column(Integer())
    rejected_events: Mapped[int] = mapped_column(Integer())
    reasons: Mapped[str] = mapped_column(nvarchar_max())
    sources: Mapped[str] = mapped_column(nvarchar_max())
    first_topic: Mapped[str] = mapped_column(nvarchar(249))
    first_partition: Mapped[int] = mapped_column(Integer())
    first_offset: Mapped[int] = mapped_column(BigInteger())
    last_topic: Mapped[str] = mapped_column(nvarchar(249))
    last_partition: Mapped[int] = mapped_column(Integer())
    last_offset: Mapped[int] = mapped_column(BigInteger())
    closed_at: Mapped[datetime | None] = mapped_column(UtcTimestamp())
    closed_by: Mapped[str | None] = mapped_column(nvarchar(255))
    note: Mapped[str | None] = mapped_column(nvarchar(1000))


class DatabaseIdentity(Base):
    """One row: the id by which a plan names the database that it was made for."""

    __tablename__ = "database_identity"

    id: Mapped[UUID] = mapped_column(Guid(), primary_key=True)


class AppEnvironment(Base):
    """What runs in an environment. Often another system's table, with other columns beside or instead of these.

    The worker updates its rows and never inserts one.
    """

    __tablename__ = "app_environments"
    __table_args__ = (
        UniqueConstraint(
            "environment_id",
            "component_id",
            "deployment_track_id",
            "id",
            name="idx_app_environments_environment_component_track",
        ),
    )

    id: Mapped[UUID] = mapped_column(Guid(), primary_key=True)
    environment_id: Mapped[str] = mapped_column(nvarchar(255))
    component_id: Mapped[UUID] = mapped_column(Guid())
    deployment_track_id: Mapped[str] = mapped_column(nvarchar(255))
    created_at: Mapped[datetime | None] = mapped_column(UtcTimestamp(), server_default=database_now())
    updated_at: Mapped[datetime | None] = mapped_column(UtcTimestamp(), server_default=database_now())
    release_mgt_release_id: Mapped[str | None] = mapped_column(nvarchar(50))
    release_mgt_deployment_id: Mapped[str | None] = mapped_column(nvarchar(50))
    release_mgt_deployment_name: Mapped[str | None] = mapped_column(nvarchar(50))
