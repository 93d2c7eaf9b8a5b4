"""The columns that the worker reads and writes, by table, in the order in which a row's values are given.

The models have the same ones, with their types (`tests/unit/db/test_models.py`). They need SQLAlchemy; messages on
PostgreSQL do not.
"""

from typing import Final

RELEASES: Final = (
    "id",
    "created_at",
    "updated_at",
    "release_date",
    "release_number",
    "project_id",
    "description",
    "status",
    "organization_id",
    "created_by",
    "metadata",
    "component_id",
    "deployment_track_id",
    "commit_hash",
    "image_tag",
)
VERSIONS: Final = ("release_mgt_id", "version")
BASE_REVISIONS: Final = ("release_mgt_id", "endpoint_name", "api_id", "revision_id", "access_mode")
DEPLOYMENTS: Final = (
    "id",
    "created_at",
    "updated_at",
    "release_mgt_id",
    "environment_id",
    "attempt",
    "config_revision",
    "status",
    "comment",
    "deployed_at",
    "deployed_by",
    "config_mapping_revision",
    "schema_based_config_revision",
    "api_settings",
)
ACTIVITIES: Final = (
    "id",
    "created_at",
    "updated_at",
    "release_deployment_id",
    "release_mgt_id",
    "environment_id",
    "activity_type",
    "activity_data",
    "status",
)
REJECTIONS: Final = (
    "id",
    "created_at",
    "reason",
    "detail",
    "event_source",
    "event_id",
    "event_type",
    "release_mgt_id",
    "topic",
    "topic_partition",
    "topic_offset",
    "resolved_at",
)
BREAKERS: Final = (
    "id",
    "group_id",
    "opened_at",
    "opened_by",
    "window_events",
    "rejected_events",
    "reasons",
    "sources",
    "first_topic",
    "first_partition",
    "first_offset",
    "last_topic",
    "last_partition",
    "last_offset",
    "closed_at",
    "closed_by",
    "note",
)

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
