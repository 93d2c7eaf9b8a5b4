"""Creates operator_actions: who ran which command that changes something, when, and with which result.

`started_at` and `finished_at` are UTC, by the clock of the host that runs the command. `finished_at` and
`result` are null while the command runs, and stay so if it is killed.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

revision = "0.0.226"
down_revision = "0.0.225"
branch_labels = None
depends_on = None

GUID = sa.Uuid().with_variant(sa.CHAR(36), "sqlite")
TIMESTAMP = sa.DateTime().with_variant(mssql.DATETIME2, "mssql")
LONG_TEXT = sa.Text().with_variant(mssql.NVARCHAR(), "mssql")


def upgrade() -> None:
    op.create_table(
        "operator_actions",
        sa.Column("id", GUID, primary_key=True),
        sa.Column("started_at", TIMESTAMP, nullable=False),
        sa.Column("finished_at", TIMESTAMP),
        sa.Column("operator", sa.Unicode(255), nullable=False),
        sa.Column("host", sa.Unicode(255), nullable=False),
        sa.Column("command", sa.Unicode(50), nullable=False),
        sa.Column("arguments", LONG_TEXT, nullable=False),
        sa.Column("plan_sha256", sa.Unicode(64)),
        sa.Column("counts", LONG_TEXT),
        sa.Column("result", sa.Unicode(50)),
        sa.Column("detail", sa.Unicode(1000)),
    )
    op.create_index("idx_operator_actions_started_at", "operator_actions", ["started_at"])


def downgrade() -> None:
    op.drop_table("operator_actions")
