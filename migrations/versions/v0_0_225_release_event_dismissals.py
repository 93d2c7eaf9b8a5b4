"""Creates release_event_dismissals: rejected events that an operator has settled without a redrive.

A table of its own: the rows of release_event_rejections are a function of the topics, and an operator's decision is not
in a topic.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

revision = "0.0.225"
down_revision = "0.0.224"
branch_labels = None
depends_on = None

GUID = sa.Uuid().with_variant(sa.CHAR(36), "sqlite")
TIMESTAMP = sa.DateTime().with_variant(mssql.DATETIME2, "mssql")


def upgrade() -> None:
    op.create_table(
        "release_event_dismissals",
        sa.Column(
            "rejection_id", GUID, sa.ForeignKey("release_event_rejections.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("dismissed_at", TIMESTAMP, nullable=False),
        sa.Column("dismissed_by", sa.Unicode(255), nullable=False),
        sa.Column("note", sa.Unicode(1000), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("release_event_dismissals")
