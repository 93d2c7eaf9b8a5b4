"""Adds an index on releases for the operators' list, which has the latest changes first and is read in pages."""

from alembic import op

revision = "0.0.231"
down_revision = "0.0.230"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("idx_releases_updated_at", "releases", ["updated_at", "id"])


def downgrade() -> None:
    op.drop_index("idx_releases_updated_at", "releases")
