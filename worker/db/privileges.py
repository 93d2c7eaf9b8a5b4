"""What a login needs to run the worker, and no more: for DBAs, who grant privileges by what they can read.

Nothing is deleted, no table is made or changed, and an UPDATE may touch named columns only. `verify` reads only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from worker.rules.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Privileges:
    """On one table. `updated`: the columns that an UPDATE may set. Every table is read."""

    table: str
    inserted: bool = True
    updated: tuple[str, ...] = ()


PRIVILEGES = (
    Privileges("releases", updated=("status", "updated_at")),
    Privileges("release_versions", updated=("version",)),
    Privileges("release_apim_base_revisions"),
    Privileges(
        "release_deployments",
        updated=(
            "status",
            "updated_at",
            "deployed_at",
            "deployed_by",
            "comment",
            "config_mapping_revision",
            "schema_based_config_revision",
            "api_settings",
        ),
    ),
    Privileges("release_activity_logs"),
    Privileges(
        "release_event_rejections",
        updated=(
            "reason",
            "detail",
            "event_type",
            "release_mgt_id",
            "topic",
            "topic_partition",
            "topic_offset",
            "resolved_at",
        ),
    ),
    Privileges(
        "app_environments",
        inserted=False,
        updated=("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name"),
    ),
    Privileges("rudder_alembic_version", inserted=False),
)
"""A test compares the columns with what the worker's statements set."""


def grants(name: str, *, schema: str = "") -> Iterator[str]:
    """A statement for each table, and one for its columns. `name`: quoted. `schema`: with its dot."""
    for privileges in PRIVILEGES:
        yield f"GRANT SELECT{', INSERT' if privileges.inserted else ''} ON {schema}{privileges.table} TO {name};"
        if privileges.updated:
            yield f"GRANT UPDATE ({', '.join(privileges.updated)}) ON {schema}{privileges.table} TO {name};"


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def checked_login(login: str, *, length_max: int) -> str:
    """The name of a login, as it is.

    Raises:
        ConfigurationError: it is none: empty, too long, or with control characters.
    """
    if not login.strip() or len(login) > length_max or not login.isprintable():
        raise ConfigurationError(f"a login has 1 to {length_max} printable characters")
    return login
