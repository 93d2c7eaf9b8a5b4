"""Adds the indexes by which foreign events find their release: by commit and by image tag of a component."""

from alembic import op

revision = "0.0.234"
down_revision = "0.0.233"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("idx_releases_commit_hash", "releases", ["component_id", "commit_hash"])
    op.create_index("idx_releases_image_tag", "releases", ["component_id", "image_tag"])


def downgrade() -> None:
    op.drop_index("idx_releases_image_tag", "releases")
    op.drop_index("idx_releases_commit_hash", "releases")
