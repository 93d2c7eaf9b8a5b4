"""Adds to app_environments the three columns that say which release and deployment runs there."""

import sqlalchemy as sa
from alembic import op

revision = "0.0.216"
down_revision = "0.0.215"
branch_labels = None
depends_on = None

COLUMNS = ("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("app_environments", sa.Column(name, sa.Unicode(50), nullable=True))


def downgrade() -> None:
    for name in reversed(COLUMNS):
        op.drop_column("app_environments", name)
