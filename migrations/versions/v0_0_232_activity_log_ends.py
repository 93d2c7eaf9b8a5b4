"""Adds an index on release_activity_logs for delivery metrics: the ends of attempts in an environment, by time.

It holds no other activities, so most events write nothing into it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0.0.232"
down_revision = "0.0.231"
branch_labels = None
depends_on = None

NAME = "idx_release_activity_logs_ends"
TABLE = "release_activity_logs"
CONDITION = "activity_type = 'DEPLOYMENT_STATUS_CHANGED' AND status IN ('SUCCESS', 'FAILED', 'ROLLED_BACK')"


def upgrade() -> None:
    where = sa.text(CONDITION)
    columns = ["environment_id", "created_at", "id"]
    op.create_index(NAME, TABLE, columns, mssql_where=where, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    op.drop_index(NAME, TABLE)
