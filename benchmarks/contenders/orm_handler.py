"""What an application with an ORM does for one event: load the release with its attempts, change objects, commit.

It follows the contract's rules for all that the stream holds (valid deployment events that name no attempt) and writes
the very rows the worker writes; there is nothing here that a careful team would leave out, and no trick either.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import joinedload
from sqlalchemy.orm.attributes import set_committed_value

from benchmarks.contenders.orm_events import DeploymentEvent, ReleaseBlock
from benchmarks.contenders.orm_log import Change, Place, compact, log_entry, said_by
from benchmarks.contenders.orm_models import ActivityLog, Deployment, Release, ReleaseVersion
from benchmarks.contenders.status_records import StatusRecord, status_record
from worker.rules.identity import activity_ids, deployment_id

_WANTED = {
    "requested": "PENDING",
    "started": "IN_PROGRESS",
    "succeeded": "SUCCESS",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
    "rolled_back": "ROLLED_BACK",
}
_ACTIVE = ("PENDING", "IN_PROGRESS")
_MAY_BE_ROLLED_BACK = ("IN_PROGRESS", "SUCCESS", "FAILED")
_UNDEPLOYABLE = ("DRAFT", "IN_REVIEW", "REJECTED")

# The inner join locks the version with its release. Each release of the stream has a version.
_LOADED = (joinedload(Release.version, innerjoin=True),)

_ATTEMPTS_MAX = 64
"""A release that is deployed again and again has thousands of attempts; the ones that were changed last decide. In the
stream, four environments with at most three attempts each come before an environment's turn is over."""


class NotInTheStream(Exception):
    """An event that the contract rejects: the stream has none, so a contender that meets one has gone wrong."""


class OrmHandler:
    """One for the application; every call is one transaction."""

    def __init__(self, database_url: str, *, connections: int) -> None:
        self._engine = create_async_engine(database_url, pool_size=connections, max_overflow=0)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False, autoflush=False)

    async def close(self) -> None:
        await self._engine.dispose()

    async def handle(self, event: DeploymentEvent, place: Place) -> list[StatusRecord]:
        """Return the status events to publish, in order, once the transaction is committed."""
        async with self._sessions() as session, session.begin():
            release = await session.get(Release, event.data.release_id, with_for_update=True, options=_LOADED)
            activities = await _known(session, event)
            if not activities:
                if release is not None:
                    set_committed_value(release, "deployments", await _attempts(session, release))
                activities = apply(session, release, event, place)
        return [
            status_record(activity, said_by(activity))
            for activity in activities
            if activity.activity_type != "EVENT_STALE"
        ]


async def _attempts(session: AsyncSession, release: Release) -> list[Deployment]:
    recent = select(Deployment).where(Deployment.release_mgt_id == release.id).order_by(Deployment.updated_at.desc())
    return list(await session.scalars(recent.limit(_ATTEMPTS_MAX)))


async def _known(session: AsyncSession, event: DeploymentEvent) -> Sequence[ActivityLog]:
    """Rule 1: the entries that the event made before."""
    ids = activity_ids(source=event.source, event_id=event.id)
    found = {
        activity.id: activity for activity in await session.scalars(select(ActivityLog).where(ActivityLog.id.in_(ids)))
    }
    return [found[identifier] for identifier in ids if identifier in found]


def apply(
    session: AsyncSession, release: Release | None, event: DeploymentEvent, place: Place
) -> Sequence[ActivityLog]:
    changes: list[Change] = []
    if release is None:
        if event.data.release is None:
            raise NotInTheStream("release_not_found")
        release = _new_release(event, event.data.release)
        session.add(release)
        changes.append(Change(activity_type="RELEASE_CREATED", previous=None, status="APPROVED", release_version=0))
    if release.organization_id != event.data.organization_id or release.status in _UNDEPLOYABLE:
        raise NotInTheStream("organization_mismatch or release_not_deployable")
    changes += _change_deployments(release, event)
    if (version := changes[-1].release_version) is not None:
        release.version.version = version
        if (status := roll_up(release.deployments)) != release.status:
            changes.append(_release_change(release, status, version))
            release.status, release.updated_at = status, event.time
    activities = [log_entry(release, event, place, change, position) for position, change in enumerate(changes)]
    session.add_all(activities)
    return activities


def _new_release(event: DeploymentEvent, block: ReleaseBlock) -> Release:
    return Release(
        id=event.data.release_id,
        created_at=event.time,
        updated_at=event.time,
        release_date=block.release_date,
        release_number=block.release_number,
        project_id=block.project_id,
        description=block.description,
        status="APPROVED",
        organization_id=event.data.organization_id,
        created_by=block.created_by,
        metadata_=None if block.metadata is None else compact(block.metadata),
        component_id=block.component_id,
        deployment_track_id=block.deployment_track_id,
        commit_hash=block.commit_hash,
        image_tag=block.image_tag,
        deployments=[],
        version=ReleaseVersion(version=0),
    )


def _release_change(release: Release, status: str, version: int) -> Change:
    return Change(
        activity_type="RELEASE_STATUS_CHANGED", previous=release.status, status=status, release_version=version
    )


def _change_deployments(release: Release, event: DeploymentEvent) -> list[Change]:
    """Rules 6 and 7."""
    data, wanted, version = event.data, _WANTED[event.type.split(".")[3]], release.version.version + 1
    siblings = {
        row.attempt: row
        for row in release.deployments
        if (row.environment_id, row.config_revision) == (data.environment_id, data.config_revision)
    }
    latest = siblings[max(siblings)] if siblings else None
    if latest and event.time < latest.updated_at:
        return [_stale(latest)]
    if wanted == "ROLLED_BACK":
        able = [attempt for attempt, row in siblings.items() if row.status in _MAY_BE_ROLLED_BACK]
        if not able:
            raise NotInTheStream("invalid_transition")
        return [_move(siblings[max(able)], wanted, event, version)]
    active = latest if latest and latest.status in _ACTIVE else None
    if active and wanted != "PENDING":
        if active.status == wanted:
            return [_stale(active)]
        return [_move(active, wanted, event, version)]
    superseded = [_supersede(active, event.time, version)] if active else []
    return [*superseded, _open(release, latest.attempt + 1 if latest else 1, wanted, event, version)]


def _stale(row: Deployment) -> Change:
    return Change(activity_type="EVENT_STALE", previous=None, status=row.status, release_version=None, deployment=row)


def _supersede(active: Deployment, at: datetime, version: int) -> Change:
    previous, active.status, active.updated_at = active.status, "CANCELLED", at
    return _deployment_change(active, previous, version, said=False)


def _open(release: Release, attempt: int, status: str, event: DeploymentEvent, version: int) -> Change:
    data = event.data
    row = Deployment(
        id=_deployment_id(data.release_id, event, attempt),
        created_at=event.time,
        updated_at=event.time,
        environment_id=data.environment_id,
        attempt=attempt,
        config_revision=data.config_revision,
        status=status,
        comment=data.comment,
        config_mapping_revision=data.config_mapping_revision or 0,
        schema_based_config_revision=data.schema_based_config_revision or 0,
        api_settings=None if data.api_settings is None else compact(data.api_settings),
    )
    if status == "SUCCESS":
        row.deployed_at, row.deployed_by = event.time, data.actor
    release.deployments.append(row)
    return _deployment_change(row, None, version)


def _move(row: Deployment, status: str, event: DeploymentEvent, version: int) -> Change:
    data, previous = event.data, row.status
    row.status, row.updated_at = status, event.time
    if status == "SUCCESS":
        row.deployed_at, row.deployed_by = event.time, data.actor
    if data.comment is not None:
        row.comment = data.comment
    if data.config_mapping_revision is not None:
        row.config_mapping_revision = data.config_mapping_revision
    if data.schema_based_config_revision is not None:
        row.schema_based_config_revision = data.schema_based_config_revision
    if data.api_settings is not None:
        row.api_settings = compact(data.api_settings)
    return _deployment_change(row, previous, version)


def _deployment_change(row: Deployment, previous: str | None, version: int, *, said: bool = True) -> Change:
    return Change(
        activity_type="DEPLOYMENT_STATUS_CHANGED",
        previous=previous,
        status=row.status,
        release_version=version,
        deployment=row,
        said=said,
    )


def _deployment_id(release_id: UUID, event: DeploymentEvent, attempt: int) -> UUID:
    return deployment_id(
        release_id=release_id,
        environment_id=event.data.environment_id,
        config_revision=event.data.config_revision,
        attempt=attempt,
    )


def roll_up(deployments: Sequence[Deployment]) -> str:
    """Rule 8."""
    counted: dict[str, Deployment] = {}
    for row in sorted(deployments, key=lambda row: (row.updated_at, row.config_revision, row.attempt)):
        if row.status != "CANCELLED":
            counted[row.environment_id] = row
    statuses = {row.status for row in counted.values()}
    if statuses.intersection(_ACTIVE):
        return "DEPLOYING"
    for status, release_status in (("FAILED", "FAILED"), ("SUCCESS", "DEPLOYED"), ("ROLLED_BACK", "ROLLED_BACK")):
        if status in statuses:
            return release_status
    return "APPROVED"
