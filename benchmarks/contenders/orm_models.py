"""The tables as an application with an ORM maps them: four classes, their relationships, the client's own keys."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Release(Base):
    __tablename__ = "releases"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime())
    updated_at: Mapped[datetime] = mapped_column(DateTime())
    release_date: Mapped[date]
    release_number: Mapped[int]
    project_id: Mapped[UUID]
    description: Mapped[str | None]
    status: Mapped[str]
    organization_id: Mapped[str]
    created_by: Mapped[str]
    metadata_: Mapped[str | None] = mapped_column("metadata")
    component_id: Mapped[UUID]
    deployment_track_id: Mapped[str]
    commit_hash: Mapped[str | None]
    image_tag: Mapped[str | None]

    deployments: Mapped[list["Deployment"]] = relationship(back_populates="release", lazy="raise")
    version: Mapped["ReleaseVersion"] = relationship(lazy="raise")

    @property
    def name(self) -> str:
        return f"{self.release_date:%Y%m%d}-{self.release_number}"


class ReleaseVersion(Base):
    __tablename__ = "release_versions"

    release_mgt_id: Mapped[UUID] = mapped_column(ForeignKey("releases.id"), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger())


class Deployment(Base):
    __tablename__ = "release_deployments"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime())
    updated_at: Mapped[datetime] = mapped_column(DateTime())
    release_mgt_id: Mapped[UUID] = mapped_column(ForeignKey("releases.id"))
    environment_id: Mapped[str]
    attempt: Mapped[int] = mapped_column(BigInteger())
    config_revision: Mapped[int]
    status: Mapped[str]
    comment: Mapped[str | None]
    deployed_at: Mapped[datetime | None] = mapped_column(DateTime())
    deployed_by: Mapped[str | None]
    config_mapping_revision: Mapped[int]
    schema_based_config_revision: Mapped[int]
    api_settings: Mapped[str | None]

    release: Mapped[Release] = relationship(back_populates="deployments", lazy="raise")


class ActivityLog(Base):
    __tablename__ = "release_activity_logs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime())
    updated_at: Mapped[datetime] = mapped_column(DateTime())
    release_deployment_id: Mapped[UUID | None]
    release_mgt_id: Mapped[UUID] = mapped_column(ForeignKey("releases.id"))
    environment_id: Mapped[str | None]
    activity_type: Mapped[str]
    activity_data: Mapped[str]
    status: Mapped[str]

    release: Mapped[Release] = relationship(lazy="raise")
