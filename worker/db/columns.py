"""The columns that the worker reads and writes, by table: from the models, which are their one home."""

from typing import Final

from worker.db.models import Base

_TABLES = Base.metadata.tables


def columns_of(table: str) -> tuple[str, ...]:
    """All columns of a table, in the order in which a row's values are given."""
    return tuple(_TABLES[table].columns.keys())


RELEASES: Final = columns_of("releases")
VERSIONS: Final = columns_of("release_versions")
BASE_REVISIONS: Final = columns_of("release_apim_base_revisions")
DEPLOYMENTS: Final = columns_of("release_deployments")
ACTIVITIES: Final = columns_of("release_activity_logs")
REJECTIONS: Final = columns_of("release_event_rejections")

RELEASE_READ: Final = (
    "id",
    "organization_id",
    "status",
    "component_id",
    "deployment_track_id",
    "release_date",
    "release_number",
    "updated_at",
    "project_id",
    "commit_hash",
    "image_tag",
)
DEPLOYMENT_READ: Final = (
    "id",
    "environment_id",
    "config_revision",
    "attempt",
    "status",
    "updated_at",
    "deployed_at",
    "deployed_by",
    "created_at",
)
ACTIVITY_READ: Final = (
    "id",
    "created_at",
    "release_mgt_id",
    "release_deployment_id",
    "environment_id",
    "activity_type",
    "activity_data",
    "status",
)

FACTS: Final = (
    "logged",
    "rejected",
    "number_taken",
    "release_version",
    "pointer_found",
    "pointed_id",
    "pointed_release_id",
    "pointed_at",
)
"""What a loaded row begins with: whether the event is known, whether another release has the number, the release's
version, and what the `app_environments` row points at: a deployment's id as text, its release and its `deployed_at`.
"""

LOADED: Final = (
    *FACTS,
    *(f"release_{name}" for name in RELEASE_READ),
    *(f"deployment_{name}" for name in DEPLOYMENT_READ),
    "other_track",
)
"""The columns of a loaded row: FACTS, the release, a deployment, the track of another release with the same number.

There is one row at least. There is one row for each attempt, perhaps the same one twice; or, with nulls in place of the
attempt, for an environment none of whose attempts counts; or for each other release with the number.
"""
