"""Adds two indexes on release_deployments, so that a decision costs the same however many attempts a release has.

`idx_release_deployments_counting` leads from one environment of a release to the next, and in each to the attempt of
the latest event; cancelled attempts count for nothing. `idx_release_deployments_revocable` leads to the highest attempt
that may become ROLLED_BACK. Both hold only the rows that can be meant.
"""

import sqlalchemy as sa
from alembic import op

revision = "0.0.220"
down_revision = "0.0.219"
branch_labels = None
depends_on = None

TABLE = "release_deployments"
INDEXES = (
    (
        "idx_release_deployments_counting",
        ("release_mgt_id", "environment_id", "updated_at", "config_revision", "attempt"),
        "status <> 'CANCELLED'",
    ),
    (
        "idx_release_deployments_revocable",
        ("release_mgt_id", "environment_id", "config_revision", "attempt"),
        "status IN ('IN_PROGRESS', 'SUCCESS', 'FAILED')",
    ),
)


def upgrade() -> None:
    for name, columns, condition in INDEXES:
        where = sa.text(condition)
        op.create_index(name, TABLE, list(columns), mssql_where=where, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    for name, _columns, _condition in reversed(INDEXES):
        op.drop_index(name, TABLE)
