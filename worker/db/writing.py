"""The statements that write what an outcome says. Every UPDATE is guarded by what was read."""

from typing import Any

from sqlalchemy import Update, bindparam, func, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.db.pointers import Pointers
from worker.db.tables import ACTIVITY_LOGS, BASE_REVISIONS, DEPLOYMENTS, REJECTIONS, RELEASES
from worker.domain.errors import Conflict
from worker.domain.rows import DeploymentMove, Entry, NewDeployment, NewRelease, Rejection, ReleaseMove
from worker.domain.state import Changes

_INSERT_RELEASE = insert(RELEASES)
_INSERT_BASE_REVISION = insert(BASE_REVISIONS)
_INSERT_DEPLOYMENT = insert(DEPLOYMENTS)
_INSERT_ENTRY = insert(ACTIVITY_LOGS)
_INSERT_REJECTION = insert(REJECTIONS)
_MOVE_RELEASE = (
    update(RELEASES)
    .where(RELEASES.c.id == bindparam("wanted_id"), RELEASES.c.status == bindparam("previous"))
    .values(status=bindparam("new_status"), updated_at=bindparam("at"))
)
_MOVE_DEPLOYMENT = (
    update(DEPLOYMENTS)
    .where(DEPLOYMENTS.c.id == bindparam("wanted_id"), DEPLOYMENTS.c.status == bindparam("previous"))
    .values(
        status=bindparam("new_status"),
        updated_at=bindparam("at"),
        deployed_at=bindparam("new_deployed_at"),
        deployed_by=bindparam("new_deployed_by"),
        **{
            name: func.coalesce(bindparam(f"new_{name}", type_=DEPLOYMENTS.c[name].type), DEPLOYMENTS.c[name])
            for name in ("comment", "config_mapping_revision", "schema_based_config_revision", "api_settings")
        },
    )
)
_RESOLVE = update(REJECTIONS).where(REJECTIONS.c.id == bindparam("wanted_id")).values(resolved_at=bindparam("at"))
_REJECT_AGAIN = (
    update(REJECTIONS)
    .where(REJECTIONS.c.id == bindparam("wanted_id"))
    .values(
        reason=bindparam("new_reason"),
        detail=bindparam("new_detail"),
        topic=bindparam("new_topic"),
        topic_partition=bindparam("new_partition"),
        topic_offset=bindparam("new_offset"),
    )
)


async def write_changes(connection: AsyncConnection, changes: Changes, pointers: Pointers | None) -> None:
    """Write all that an applied or stale event changes.

    Raises:
        Conflict: a row is no longer as it was read.
    """
    if changes.new_release is not None:
        await _insert_release(connection, changes.new_release)
    for move in changes.deployment_moves:
        await _move_deployment(connection, move)
    if changes.new_deployment is not None:
        await _insert_deployment(connection, changes.new_deployment)
    if changes.release_move is not None:
        await _move_release(connection, changes.release_move)
    await connection.execute(_INSERT_ENTRY, [_entry(entry) for entry in changes.entries])
    if changes.pointer_move is not None and pointers is not None:
        await pointers.move(connection, changes.pointer_move)
    if changes.resolved is not None:
        resolved = {"wanted_id": changes.resolved.rejection_id, "at": changes.resolved.resolved_at}
        await _guarded(connection, _RESOLVE, resolved, what="rejection")


async def write_rejection(connection: AsyncConnection, rejection: Rejection, *, again: bool) -> None:
    """Remember a rejected event; `again`: the row is there, and says why it was rejected the time before.

    Raises:
        Conflict: the row is gone, or another worker rejected the event meanwhile.
    """
    if again:
        said_now = {
            "wanted_id": rejection.id,
            "new_reason": rejection.reason,
            "new_detail": rejection.detail,
            "new_topic": rejection.topic,
            "new_partition": rejection.partition,
            "new_offset": rejection.offset,
        }
        await _guarded(connection, _REJECT_AGAIN, said_now, what="rejection")
        return
    row = {
        "id": rejection.id,
        "created_at": rejection.created_at,
        "reason": rejection.reason,
        "detail": rejection.detail,
        "event_source": rejection.event_source,
        "event_id": rejection.event_id,
        "event_type": rejection.event_type,
        "release_mgt_id": rejection.release_id,
        "topic": rejection.topic,
        "topic_partition": rejection.partition,
        "topic_offset": rejection.offset,
        "resolved_at": rejection.resolved_at,
    }
    await connection.execute(_INSERT_REJECTION, row)


async def _guarded(connection: AsyncConnection, statement: Update, row: dict[str, Any], *, what: str) -> None:
    result = await connection.execute(statement, row)
    if result.rowcount != 1:
        raise Conflict(f"the {what} is no longer as it was read")


async def _insert_release(connection: AsyncConnection, new: NewRelease) -> None:
    release = new.release
    row = {
        "id": release.id,
        "created_at": new.created_at,
        "updated_at": new.created_at,
        "release_date": release.release_date,
        "release_number": release.release_number,
        "project_id": new.project_id,
        "description": new.description,
        "status": release.status.value,
        "organization_id": release.organization_id,
        "created_by": new.created_by,
        "metadata": new.metadata,
        "component_id": release.component_id,
        "deployment_track_id": release.deployment_track_id,
        "commit_hash": new.commit_hash,
        "image_tag": new.image_tag,
    }
    await connection.execute(_INSERT_RELEASE, row)
    if new.base_revisions:
        rows = [
            {
                "release_mgt_id": release.id,
                "endpoint_name": revision.endpoint_name,
                "api_id": revision.api_id,
                "revision_id": revision.revision_id,
                "access_mode": revision.access_mode,
            }
            for revision in new.base_revisions
        ]
        await connection.execute(_INSERT_BASE_REVISION, rows)


async def _move_release(connection: AsyncConnection, move: ReleaseMove) -> None:
    row = {
        "wanted_id": move.id,
        "previous": move.previous.value,
        "new_status": move.status.value,
        "at": move.updated_at,
    }
    await _guarded(connection, _MOVE_RELEASE, row, what="release")


async def _insert_deployment(connection: AsyncConnection, new: NewDeployment) -> None:
    deployment, said = new.deployment, new.particulars
    row = {
        "id": deployment.id,
        "created_at": deployment.updated_at,
        "updated_at": deployment.updated_at,
        "release_mgt_id": new.release_id,
        "environment_id": deployment.environment_id,
        "attempt": deployment.attempt,
        "config_revision": deployment.config_revision,
        "status": deployment.status.value,
        "comment": said.comment,
        "deployed_at": deployment.deployed_at,
        "deployed_by": deployment.deployed_by,
        "config_mapping_revision": said.config_mapping_revision or 0,
        "schema_based_config_revision": said.schema_based_config_revision or 0,
        "api_settings": said.api_settings,
    }
    await connection.execute(_INSERT_DEPLOYMENT, row)


async def _move_deployment(connection: AsyncConnection, move: DeploymentMove) -> None:
    deployment, said = move.deployment, move.particulars
    row = {
        "wanted_id": deployment.id,
        "previous": move.previous.value,
        "new_status": deployment.status.value,
        "at": deployment.updated_at,
        "new_deployed_at": deployment.deployed_at,
        "new_deployed_by": deployment.deployed_by,
        "new_comment": said.comment,
        "new_config_mapping_revision": said.config_mapping_revision,
        "new_schema_based_config_revision": said.schema_based_config_revision,
        "new_api_settings": said.api_settings,
    }
    await _guarded(connection, _MOVE_DEPLOYMENT, row, what="deployment")


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "created_at": entry.created_at,
        "updated_at": entry.created_at,
        "release_deployment_id": entry.deployment_id,
        "release_mgt_id": entry.release_id,
        "environment_id": entry.environment_id,
        "activity_type": entry.activity_type,
        "activity_data": entry.activity_data,
        "status": entry.status,
    }
