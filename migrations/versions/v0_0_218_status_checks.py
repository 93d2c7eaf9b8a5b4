"""Adds CHECK constraints: status is one of the machines' values, attempt is at least 1.

SQLite takes a new constraint only by rebuilding the table. The tables are written out below for that, not reflected,
so that `--sql` works, and their indexes made again. Foreign keys must be off meanwhile (env.py sees to it).
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0.0.218"
down_revision = "0.0.217"
branch_labels = None
depends_on = None

RELEASE_STATUSES = (
    "DRAFT",
    "IN_REVIEW",
    "APPROVED",
    "REJECTED",
    "DEPLOYING",
    "DEPLOYED",
    "FAILED",
    "ROLLED_BACK",
)
DEPLOYMENT_STATUSES = ("PENDING", "IN_PROGRESS", "SUCCESS", "FAILED", "CANCELLED", "ROLLED_BACK")
# A log entry's status is that of the release or of the deployment it tells about.
LOG_STATUSES = (*DEPLOYMENT_STATUSES, *(status for status in RELEASE_STATUSES if status not in DEPLOYMENT_STATUSES))

INDEXES = {
    "releases": (
        ("idx_releases_org_project", ["organization_id", "project_id"]),
        ("idx_releases_status", ["status"]),
        ("idx_releases_date_number", ["release_date", "release_number"]),
    ),
    "release_deployments": (
        ("idx_deployments_release_mgt_id", ["release_mgt_id"]),
        ("idx_deployments_release_mgt_id_environment_id", ["release_mgt_id", "environment_id"]),
        ("idx_release_deployments_env_config_rev", ["environment_id", "config_revision"]),
    ),
    "release_activity_logs": (
        ("idx_deployment_logs_release_mgt_id", ["release_mgt_id"]),
        ("idx_release_activity_logs_status", ["status"]),
    ),
}


def upgrade() -> None:
    _refuse_foreign_keys_on_sqlite()
    for table, checks in _checks().items():
        with op.batch_alter_table(table, copy_from=_sqlite_table(table)) as batch:
            for name, condition in checks.items():
                batch.create_check_constraint(name, sa.text(condition))
        _restore_indexes_on_sqlite(table)


def downgrade() -> None:
    _refuse_foreign_keys_on_sqlite()
    for table, checks in reversed(_checks().items()):
        guards = [sa.CheckConstraint(condition, name=name) for name, condition in checks.items()]
        with op.batch_alter_table(table, copy_from=_sqlite_table(table, *guards)) as batch:
            for name in checks:
                batch.drop_constraint(name, type_="check")
        _restore_indexes_on_sqlite(table)


def _checks() -> dict[str, dict[str, str]]:
    return {
        "releases": {"check_releases_status": _one_of(RELEASE_STATUSES)},
        "release_deployments": {
            "check_release_deployments_status": _one_of(DEPLOYMENT_STATUSES),
            "check_release_deployments_attempt": "attempt >= 1",
        },
        "release_activity_logs": {"check_release_activity_logs_status": _one_of(LOG_STATUSES)},
    }


def _one_of(statuses: tuple[str, ...]) -> str:
    if op.get_context().dialect.name != "mssql":
        return f"status IN ({', '.join(repr(status) for status in statuses)})"
    # Default collations ignore case, and every collation ignores trailing blanks, unless a full stop follows them.
    values = ", ".join(f"N'{status}.'" for status in statuses)
    return f"(status + N'.') COLLATE Latin1_General_100_BIN2 IN ({values})"


def _refuse_foreign_keys_on_sqlite() -> None:
    context = op.get_context()
    if context.dialect.name != "sqlite" or context.as_sql:
        return
    if op.get_bind().scalar(sa.text("PRAGMA foreign_keys")):
        raise RuntimeError("foreign keys are on: rebuilding releases would delete the rows that refer to it")


def _restore_indexes_on_sqlite(table: str) -> None:
    # Batch mode would restore those of `copy_from`, but in an order that differs from run to run, and so from script
    # to script.
    if op.get_context().dialect.name == "sqlite":
        for name, columns in INDEXES[table]:
            op.create_index(name, table, columns)


def _sqlite_table(name: str, *guards: sa.CheckConstraint) -> sa.Table:
    metadata = sa.MetaData()
    items = {"releases": _releases, "release_deployments": _deployments, "release_activity_logs": _logs}[name]()
    return sa.Table(name, metadata, *items, *guards)


def _id_and_times() -> list[Any]:
    now = sa.text("(strftime('%Y-%m-%d %H:%M:%f000', 'now'))")
    return [
        sa.Column("id", sa.CHAR(36), primary_key=True),
        sa.Column("created_at", sa.DateTime(), server_default=now),
        sa.Column("updated_at", sa.DateTime(), server_default=now),
    ]


def _releases() -> list[Any]:
    return [
        *_id_and_times(),
        sa.Column("release_date", sa.DATE(), nullable=False),
        sa.Column("release_number", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.CHAR(36), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("status", sa.Unicode(50), nullable=False, server_default="DRAFT"),
        sa.Column("organization_id", sa.Unicode(255), nullable=False),
        sa.Column("created_by", sa.Unicode(255), nullable=False),
        sa.Column("metadata", sa.Text()),
        sa.Column("component_id", sa.CHAR(36), nullable=False),
        sa.Column("deployment_track_id", sa.Unicode(255), nullable=False),
        sa.Column("commit_hash", sa.Unicode(255)),
        sa.Column("image_tag", sa.Unicode(255)),
        sa.UniqueConstraint(
            "release_date",
            "release_number",
            "component_id",
            "deployment_track_id",
            name="unique_release_date_number_per_component_deployment_track",
        ),
    ]


def _deployments() -> list[Any]:
    return [
        *_id_and_times(),
        sa.Column("release_mgt_id", sa.CHAR(36), sa.ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
        sa.Column("environment_id", sa.Unicode(255), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False, server_default=sa.text("1")),
        sa.Column("config_revision", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("status", sa.Unicode(50), nullable=False, server_default="PENDING"),
        sa.Column("comment", sa.Text()),
        sa.Column("deployed_at", sa.DateTime()),
        sa.Column("deployed_by", sa.Unicode(255)),
        sa.Column("config_mapping_revision", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("schema_based_config_revision", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("api_settings", sa.Text()),
        sa.UniqueConstraint(
            "release_mgt_id",
            "environment_id",
            "config_revision",
            "attempt",
            name="unique_release_mgt_id_environment_id_config_revision_attempt",
        ),
    ]


def _logs() -> list[Any]:
    return [
        *_id_and_times(),
        sa.Column("release_deployment_id", sa.CHAR(36)),
        sa.Column("release_mgt_id", sa.CHAR(36), sa.ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
        sa.Column("environment_id", sa.Unicode(255)),
        sa.Column("activity_type", sa.Unicode(255), nullable=False),
        sa.Column("activity_data", sa.Text()),
        sa.Column("status", sa.Unicode(50), nullable=False, server_default="PENDING"),
    ]
