"""Creates release_apim_base_revisions, which has no primary key."""

import sqlalchemy as sa
from alembic import op

revision = "0.0.215"
down_revision = "0.0.213"
branch_labels = None
depends_on = None

GUID = sa.Uuid().with_variant(sa.CHAR(36), "sqlite")


def upgrade() -> None:
    op.create_table(
        "release_apim_base_revisions",
        sa.Column("release_mgt_id", GUID, sa.ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
        sa.Column("endpoint_name", sa.Unicode(255), nullable=False),
        sa.Column("api_id", sa.Unicode(255), nullable=False),
        sa.Column("revision_id", sa.Unicode(255), nullable=False),
        sa.Column("access_mode", sa.Unicode(255), nullable=False),
    )
    op.create_index("idx_release_apim_base_revisions_release_mgt_id", "release_apim_base_revisions", ["release_mgt_id"])


def downgrade() -> None:
    op.drop_table("release_apim_base_revisions")
