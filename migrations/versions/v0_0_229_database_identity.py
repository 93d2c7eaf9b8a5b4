"""Creates database_identity: one row with a random id, by which a plan names the database that it was made for.

A restored copy keeps the id.
"""

import sqlalchemy as sa
from alembic import op

revision = "0.0.229"
down_revision = "0.0.228"
branch_labels = None
depends_on = None

GUID = sa.Uuid().with_variant(sa.CHAR(36), "sqlite")

NEW_ID = {
    "mssql": "NEWID()",
    # gen_random_uuid() is missing before PostgreSQL 13.
    "postgresql": "md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text)::uuid",
    "sqlite": """lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' ||
    hex(randomblob(2)) || '-' || hex(randomblob(6)))""",
}


def upgrade() -> None:
    op.create_table("database_identity", sa.Column("id", GUID, primary_key=True))
    database = op.get_context().dialect.name
    op.execute(f"INSERT INTO database_identity (id) SELECT {NEW_ID[database]}")


def downgrade() -> None:
    op.drop_table("database_identity")
