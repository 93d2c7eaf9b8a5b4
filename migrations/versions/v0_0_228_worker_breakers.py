"""Creates worker_breakers: each time that the breaker of a consumer group opened, and how it was closed.

A row without `closed_at` is an open breaker; the unique index allows one per group. `reasons` and `sources` are JSON
objects: numbers of rejections.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

revision = "0.0.228"
down_revision = "0.0.227"
branch_labels = None
depends_on = None

GUID = sa.Uuid().with_variant(sa.CHAR(36), "sqlite")
TIMESTAMP = sa.DateTime().with_variant(mssql.DATETIME2, "mssql")
LONG_TEXT = sa.Text().with_variant(mssql.NVARCHAR(), "mssql")


def upgrade() -> None:
    op.create_table(
        "worker_breakers",
        sa.Column("id", GUID, primary_key=True),
        sa.Column("group_id", sa.Unicode(255), nullable=False),
        sa.Column("opened_at", TIMESTAMP, nullable=False),
        sa.Column("opened_by", sa.Unicode(255), nullable=False),
        sa.Column("window_events", sa.Integer(), nullable=False),
        sa.Column("rejected_events", sa.Integer(), nullable=False),
        sa.Column("reasons", LONG_TEXT, nullable=False),
        sa.Column("sources", LONG_TEXT, nullable=False),
        sa.Column("first_topic", sa.Unicode(249), nullable=False),
        sa.Column("first_partition", sa.Integer(), nullable=False),
        sa.Column("first_offset", sa.BigInteger(), nullable=False),
        sa.Column("last_topic", sa.Unicode(249), nullable=False),
        sa.Column("last_partition", sa.Integer(), nullable=False),
        sa.Column("last_offset", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", TIMESTAMP),
        sa.Column("closed_by", sa.Unicode(255)),
        sa.Column("note", sa.Unicode(1000)),
    )
    op.create_index("idx_worker_breakers_group_opened", "worker_breakers", ["group_id", "opened_at"])
    where = sa.text("closed_at IS NULL")
    op.create_index(
        "unique_worker_breakers_open",
        "worker_breakers",
        ["group_id"],
        unique=True,
        mssql_where=where,
        postgresql_where=where,
        sqlite_where=where,
    )


def downgrade() -> None:
    op.drop_table("worker_breakers")
