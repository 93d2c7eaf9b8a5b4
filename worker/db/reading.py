"""The statements that load what a decision needs. Built once; SQLAlchemy keeps their compiled form."""

from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.event import Event
from schemas.incoming import DeploymentChange, EventData, ReleaseCreated, ReleaseFields
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.types import EventType
from worker.db.pointers import Pointers
from worker.db.tables import ACTIVITY_LOGS, DEPLOYMENTS, REJECTIONS, RELEASES
from worker.domain.errors import Conflict
from worker.domain.identity import entry_ids
from worker.domain.message import Message
from worker.domain.rows import Deployment, Entry, Pointer, Rejection, Release
from worker.domain.state import State

_RELEASE_COLUMNS = (
    "id",
    "organization_id",
    "status",
    "component_id",
    "deployment_track_id",
    "release_date",
    "release_number",
)
_DEPLOYMENT_COLUMNS = (
    "id",
    "environment_id",
    "config_revision",
    "attempt",
    "status",
    "updated_at",
    "deployed_at",
    "deployed_by",
)

_ENTRIES = select(ACTIVITY_LOGS).where(ACTIVITY_LOGS.c.id.in_(bindparam("ids", expanding=True)))
_REJECTION = select(REJECTIONS).where(REJECTIONS.c.id == bindparam("wanted_id"))
_HOLD = (
    update(RELEASES).where(RELEASES.c.id == bindparam("wanted_id")).values(organization_id=RELEASES.c.organization_id)
)
_RELEASE_AND_ATTEMPTS = (
    select(
        *(RELEASES.c[name].label(f"release_{name}") for name in _RELEASE_COLUMNS),
        *(DEPLOYMENTS.c[name] for name in _DEPLOYMENT_COLUMNS),
    )
    .select_from(RELEASES.outerjoin(DEPLOYMENTS, DEPLOYMENTS.c.release_mgt_id == RELEASES.c.id))
    .where(RELEASES.c.id == bindparam("wanted_id"))
)
_NUMBER = select(RELEASES.c.id).where(
    RELEASES.c.release_date == bindparam("wanted_date"),
    RELEASES.c.release_number == bindparam("wanted_number"),
    RELEASES.c.component_id == bindparam("wanted_component"),
    RELEASES.c.deployment_track_id == bindparam("wanted_track"),
)


async def load_state(
    connection: AsyncConnection, message: Message, pointers: Pointers | None, *, hold_release: bool
) -> State:
    """What `worker.domain.state.State` says, read in the connection's transaction.

    `hold_release`: write the release before anything of it is read. Reading its attempts and writing its roll-up must
    not overlap with another worker's, and no guard on single rows would notice (write skew). Writing is the one lock
    that every database has; one that has a single writer needs none.
    """
    content = message.content
    if not isinstance(content, Event):
        return await _known(connection, message)
    data = content.data
    held = 0
    if hold_release:
        held = (await connection.execute(_HOLD, {"wanted_id": data.release_id})).rowcount
    rows = (await connection.execute(_RELEASE_AND_ATTEMPTS, {"wanted_id": data.release_id})).all()
    if hold_release and rows and not held:
        raise Conflict("the release came into being while it was looked for")
    release = _release(rows[0]) if rows else None
    block = _block(data)
    taken = release is None and block is not None and await _number_taken(connection, block)
    # What is known of the event is read last: all that was read before it may be this very event's own effect.
    known = await _known(connection, message)
    if known.entries or (known.rejection is not None and not message.redrive):
        return known
    return State(
        rejection=known.rejection,
        release=release,
        number_taken=taken,
        deployments=tuple(_deployment(row) for row in rows if row.id is not None),
        pointer=await _pointer(connection, pointers, content, release or block),
    )


async def _known(connection: AsyncConnection, message: Message) -> State:
    entries = await _entries(connection, message)
    return State(entries=entries, rejection=None if entries else await _rejection(connection, message.id))


async def _entries(connection: AsyncConnection, message: Message) -> tuple[Entry, ...]:
    content = message.content
    if content.source is None or content.id is None:
        return ()
    ids = entry_ids(source=content.source, event_id=content.id)
    rows = await connection.execute(_ENTRIES, {"ids": ids})
    found = {row.id: _entry(row) for row in rows}
    return tuple(found[entry_id] for entry_id in ids if entry_id in found)


async def _rejection(connection: AsyncConnection, rejection_id: UUID) -> Rejection | None:
    row = (await connection.execute(_REJECTION, {"wanted_id": rejection_id})).one_or_none()
    if row is None:
        return None
    return Rejection(
        id=row.id,
        created_at=row.created_at,
        reason=row.reason,
        detail=row.detail,
        event_source=row.event_source,
        event_id=row.event_id,
        event_type=row.event_type,
        release_id=row.release_mgt_id,
        topic=row.topic,
        partition=row.topic_partition,
        offset=row.topic_offset,
        resolved_at=row.resolved_at,
    )


def _release(row: Any) -> Release:
    return Release(
        id=row.release_id,
        organization_id=row.release_organization_id,
        status=ReleaseStatus(row.release_status),
        component_id=row.release_component_id,
        deployment_track_id=row.release_deployment_track_id,
        release_date=row.release_release_date,
        release_number=row.release_release_number,
    )


def _block(data: EventData) -> ReleaseFields | None:
    """The fields of the release that the event would create."""
    if isinstance(data, ReleaseCreated):
        return data
    return data.release if isinstance(data, DeploymentChange) else None


async def _number_taken(connection: AsyncConnection, block: ReleaseFields) -> bool:
    wanted = {
        "wanted_date": block.release_date,
        "wanted_number": block.release_number,
        "wanted_component": block.component_id,
        "wanted_track": block.deployment_track_id,
    }
    return (await connection.execute(_NUMBER, wanted)).first() is not None


async def _pointer(
    connection: AsyncConnection, pointers: Pointers | None, event: Event, release: Release | ReleaseFields | None
) -> Pointer | None:
    data = event.data
    if pointers is None or release is None or event.type is not EventType.DEPLOYMENT_SUCCEEDED:
        return None
    if not isinstance(data, DeploymentChange):
        return None
    return await pointers.load(
        connection,
        environment_id=data.environment_id,
        component_id=release.component_id,
        deployment_track_id=release.deployment_track_id,
    )


def _entry(row: Any) -> Entry:
    return Entry(
        id=row.id,
        created_at=row.created_at,
        release_id=row.release_mgt_id,
        deployment_id=row.release_deployment_id,
        environment_id=row.environment_id,
        activity_type=row.activity_type,
        activity_data=row.activity_data,
        status=row.status,
    )


def _deployment(row: Any) -> Deployment:
    return Deployment(
        id=row.id,
        environment_id=row.environment_id,
        config_revision=row.config_revision,
        attempt=row.attempt,
        status=DeploymentStatus(row.status),
        updated_at=row.updated_at,
        deployed_at=row.deployed_at,
        deployed_by=row.deployed_by,
    )
