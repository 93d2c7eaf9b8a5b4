"""Creates redrive_records: the journal of each redrive, one row per rejected event.

A row is written before its record is sent, and changed after the broker's acknowledgement and after the decision, so
that an interrupted redrive can continue and sends nothing twice. `end_offset` is the log end of the partition before
the record was sent: the record, if it was sent, is at this offset or behind it. The unique index keeps two redrives
from sending one event at the same time.
"""

import sqlalchemy as sa
from alembic import op

revision = "0.0.227"
down_revision = "0.0.226"
branch_labels = None
depends_on = None

GUID = sa.Uuid().with_variant(sa.CHAR(36), "sqlite")
UNSETTLED = "state IN ('SENDING', 'SENT')"


def upgrade() -> None:
    op.create_table(
        "redrive_records",
        sa.Column("action_id", GUID, sa.ForeignKey("operator_actions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("rejection_id", GUID, nullable=False),
        sa.Column("release_mgt_id", GUID),
        sa.Column("topic", sa.Unicode(249), nullable=False),
        sa.Column("topic_partition", sa.Integer(), nullable=False),
        sa.Column("topic_offset", sa.BigInteger(), nullable=False),
        sa.Column("predicted", sa.Unicode(100), nullable=False),
        sa.Column("state", sa.Unicode(20), nullable=False),
        sa.Column("end_offset", sa.BigInteger()),
        sa.Column("sent_offset", sa.BigInteger()),
        sa.Column("outcome", sa.Unicode(100)),
        sa.Column("detail", sa.Unicode(1000)),
    )
    op.create_index("idx_redrive_records_rejection_id", "redrive_records", ["rejection_id"])
    where = sa.text(UNSETTLED)
    op.create_index(
        "unique_redrive_records_unsettled",
        "redrive_records",
        ["rejection_id"],
        unique=True,
        mssql_where=where,
        postgresql_where=where,
        sqlite_where=where,
    )


def downgrade() -> None:
    op.drop_table("redrive_records")
