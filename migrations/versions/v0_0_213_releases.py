"""Creates releases, release_deployments and release_activity_logs, with their eight indexes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

revision = "0.0.213"
down_revision = "0.0.212"
branch_labels = None
depends_on = None

GUID = sa.Uuid().with_variant(sa.CHAR(36), "sqlite")
TIMESTAMP = sa.DateTime().with_variant(mssql.DATETIME2, "mssql")
LONG_TEXT = sa.Text().with_variant(mssql.NVARCHAR(), "mssql")

NOW = {
    "mssql": "GETDATE()",
    "postgresql": "timezone('utc', now())",
    "sqlite": "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))",
}

INDEXES = (
    ("idx_releases_org_project", "releases", ["organization_id", "project_id"]),
    ("idx_releases_status", "releases", ["status"]),
    ("idx_deployments_release_mgt_id", "release_deployments", ["release_mgt_id"]),
    ("idx_deployments_release_mgt_id_environment_id", "release_deployments", ["release_mgt_id", "environment_id"]),
    ("idx_deployment_logs_release_mgt_id", "release_activity_logs", ["release_mgt_id"]),
    ("idx_releases_date_number", "releases", ["release_date", "release_number"]),
    ("idx_release_deployments_env_config_rev", "release_deployments", ["environment_id", "config_revision"]),
    ("idx_release_activity_logs_status", "release_activity_logs", ["status"]),
)


def upgrade() -> None:
    now = sa.text(NOW[op.get_context().dialect.name])
    op.create_table(
        "releases",
        sa.Column("id", GUID, primary_key=True),
        sa.Column("created_at", TIMESTAMP, server_default=now),
        sa.Column("updated_at", TIMESTAMP, server_default=now),
        # DATE, since `Date` renders as DATETIME for a SQL Server whose version was not asked, as in --sql mode.
        sa.Column("release_date", sa.DATE(), nullable=False),
        sa.Column("release_number", sa.Integer(), nullable=False),
        sa.Column("project_id", GUID, nullable=False),
        sa.Column("description", LONG_TEXT),
        sa.Column("status", sa.Unicode(50), nullable=False, server_default="DRAFT"),
        sa.Column("organization_id", sa.Unicode(255), nullable=False),
        sa.Column("created_by", sa.Unicode(255), nullable=False),
        sa.Column("metadata", LONG_TEXT),
        sa.Column("component_id", GUID, nullable=False),
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
    )
    op.create_table(
        "release_deployments",
        sa.Column("id", GUID, primary_key=True),
        sa.Column("created_at", TIMESTAMP, server_default=now),
        sa.Column("updated_at", TIMESTAMP, server_default=now),
        sa.Column("release_mgt_id", GUID, sa.ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
        sa.Column("environment_id", sa.Unicode(255), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False, server_default=sa.text("1")),
        sa.Column("config_revision", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("status", sa.Unicode(50), nullable=False, server_default="PENDING"),
        sa.Column("comment", LONG_TEXT),
        sa.Column("deployed_at", TIMESTAMP),
        sa.Column("deployed_by", sa.Unicode(255)),
        sa.Column("config_mapping_revision", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("schema_based_config_revision", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("api_settings", LONG_TEXT),
        sa.UniqueConstraint(
            "release_mgt_id",
            "environment_id",
            "config_revision",
            "attempt",
            name="unique_release_mgt_id_environment_id_config_revision_attempt",
        ),
    )
    op.create_table(
        "release_activity_logs",
        sa.Column("id", GUID, primary_key=True),
        sa.Column("created_at", TIMESTAMP, server_default=now),
        sa.Column("updated_at", TIMESTAMP, server_default=now),
        sa.Column("release_deployment_id", GUID),
        sa.Column("release_mgt_id", GUID, sa.ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
        sa.Column("environment_id", sa.Unicode(255)),
        sa.Column("activity_type", sa.Unicode(255), nullable=False),
        sa.Column("activity_data", LONG_TEXT),
        sa.Column("status", sa.Unicode(50), nullable=False, server_default="PENDING"),
    )
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    op.drop_table("release_activity_logs")
    op.drop_table("release_deployments")
    op.drop_table("releases")
