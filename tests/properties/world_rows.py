"""Every cell that the world's tables would have in a database."""

from typing import Any

from tests.properties.world import DeploymentRow, ReleaseRow, World
from worker.rules.rows import Activity, Rejection

Row = dict[str, Any]


def rows_of(world: World) -> dict[str, list[Row]]:
    """Every cell that the world's tables would have in a database."""
    return {
        "releases": [release_row(row) for row in world.releases.values()],
        "release_versions": [
            {"release_mgt_id": release_id, "version": version} for release_id, version in world.versions.items()
        ],
        "release_deployments": [deployment_row(row) for row in world.deployments.values()],
        "release_activity_logs": [entry_row(activity) for activity in world.activities.values()],
        "release_event_rejections": [rejection_row(rejection) for rejection in world.rejections.values()],
    }


def release_row(row: ReleaseRow) -> Row:
    new, release = row.inserted, row.release
    return {
        "id": release.id,
        "created_at": new.created_at,
        "updated_at": row.updated_at,
        "release_date": release.release_date,
        "release_number": release.release_number,
        "project_id": release.project_id,
        "description": new.description,
        "status": release.status.value,
        "organization_id": release.organization_id,
        "created_by": new.created_by,
        "metadata": new.metadata,
        "component_id": release.component_id,
        "deployment_track_id": release.deployment_track_id,
        "commit_hash": release.commit_hash,
        "image_tag": release.image_tag,
    }


def deployment_row(row: DeploymentRow) -> Row:
    deployment, said = row.deployment, row.optional_fields
    return {
        "id": deployment.id,
        "created_at": row.created_at,
        "updated_at": deployment.updated_at,
        "release_mgt_id": row.release_id,
        "environment_id": deployment.environment_id,
        "attempt": deployment.attempt,
        "config_revision": deployment.config_revision,
        "status": deployment.status.value,
        "comment": said.comment,
        "deployed_at": deployment.deployed_at,
        "deployed_by": deployment.deployed_by,
        "config_mapping_revision": said.config_mapping_revision,
        "schema_based_config_revision": said.schema_based_config_revision,
        "api_settings": said.api_settings,
    }


def entry_row(activity: Activity) -> Row:
    return {
        "id": activity.id,
        "created_at": activity.created_at,
        "updated_at": activity.created_at,
        "release_deployment_id": activity.deployment_id,
        "release_mgt_id": activity.release_id,
        "environment_id": activity.environment_id,
        "activity_type": activity.activity_type,
        "activity_data": activity.activity_data,
        "status": activity.status,
    }


def rejection_row(rejection: Rejection) -> Row:
    return {
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
