"""Adds a function on PostgreSQL that fails a statement whose basis is no longer true: with SQLSTATE RW003 where the
release has changed, RW004 where any other row has.

There, all that a message writes is one statement, which commits by itself. A guarded UPDATE in it that finds no row
must undo the rest of it, and only an error does. The other databases write in a transaction and need nothing.
"""

from alembic import op

revision = "0.0.221"
down_revision = "0.0.220"
branch_labels = None
depends_on = None

CREATE = """
CREATE FUNCTION rudder_guard(holds boolean, what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE what WHEN 'release' THEN 'RW003' ELSE 'RW004' END,
            MESSAGE = format('the %s is no longer as it was read', what);
    END IF;
    RETURN TRUE;
END
$$"""


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(CREATE)


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION rudder_guard(boolean, text)")
