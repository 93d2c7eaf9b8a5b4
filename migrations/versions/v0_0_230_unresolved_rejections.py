"""Adds an index on the unresolved rejections by time, so that a page of open dead letters costs the same however many
there are. It holds only rows that no redrive or correction has resolved.
"""

import sqlalchemy as sa
from alembic import op

revision = "0.0.230"
down_revision = "0.0.229"
branch_labels = None
depends_on = None

NAME = "idx_release_event_rejections_unresolved"
TABLE = "release_event_rejections"


def upgrade() -> None:
    where = sa.text("resolved_at IS NULL")
    op.create_index(NAME, TABLE, ["created_at", "id"], mssql_where=where, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    op.drop_index(NAME, TABLE)
