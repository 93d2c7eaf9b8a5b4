"""Creates release_event_rejections: the events that were refused, each with its reason.

`release_mgt_id` has no foreign key, since an event may name a release that never was. 249 is the longest topic name
that Kafka allows.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

revision = "0.0.217"
down_revision = "0.0.216"
branch_labels = None
depends_on = None

GUID = sa.Uuid().with_variant(sa.CHAR(36), "sqlite")
TIMESTAMP = sa.DateTime().with_variant(mssql.DATETIME2, "mssql")


def upgrade() -> None:
    op.create_table(
        "release_event_rejections",
        sa.Column("id", GUID, primary_key=True),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("reason", sa.Unicode(50), nullable=False),
        sa.Column("detail", sa.Unicode(1000), nullable=False),
        sa.Column("event_source", sa.Unicode(1024)),
        sa.Column("event_id", sa.Unicode(255)),
        sa.Column("event_type", sa.Unicode(255)),
        sa.Column("release_mgt_id", GUID),
        sa.Column("topic", sa.Unicode(249), nullable=False),
        sa.Column("topic_partition", sa.Integer(), nullable=False),
        sa.Column("topic_offset", sa.BigInteger(), nullable=False),
        sa.Column("resolved_at", TIMESTAMP),
    )
    op.create_index("idx_release_event_rejections_created_at", "release_event_rejections", ["created_at"])
    op.create_index("idx_release_event_rejections_release_mgt_id", "release_event_rejections", ["release_mgt_id"])


def downgrade() -> None:
    op.drop_table("release_event_rejections")
