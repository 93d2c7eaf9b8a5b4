"""Adds to app_environments the three columns that say which release and deployment runs there.

Columns that another system's table has already are used as they are, and noted in a table, so that the downgrade leaves
them where they were.
"""

import sqlalchemy as sa
from alembic import op

revision = "0.0.216"
down_revision = "0.0.215"
branch_labels = None
depends_on = None

COLUMNS = ("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name")


NOTED = "rudder_columns_found"


def upgrade() -> None:
    found = _found()
    for name in COLUMNS:
        if name not in found:
            op.add_column("app_environments", sa.Column(name, sa.Unicode(50), nullable=True))
    if found:
        noted = op.create_table(NOTED, sa.Column("name", sa.Unicode(50), primary_key=True))
        op.bulk_insert(noted, [{"name": name} for name in found])


def downgrade() -> None:
    noted = _noted()
    for name in reversed(COLUMNS):
        if name not in noted:
            op.drop_column("app_environments", name)
    if noted:
        op.drop_table(NOTED)


def _found() -> list[str]:
    """The columns that are there before. A script is for a table without them."""
    if op.get_context().as_sql:
        return []
    there = {column["name"].lower() for column in sa.inspect(op.get_bind()).get_columns("app_environments")}
    return [name for name in COLUMNS if name in there]


def _noted() -> list[str]:
    if op.get_context().as_sql or not sa.inspect(op.get_bind()).has_table(NOTED):
        return []
    return list(op.get_bind().execute(sa.text(f"SELECT name FROM {NOTED}")).scalars())  # noqa: S608 - a constant
