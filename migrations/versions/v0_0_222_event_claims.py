"""Adds two functions on PostgreSQL that keep an event from being both rejected and applied.

There, all that a message writes is one statement with one snapshot, which is older than any lock that the statement
waits for. A volatile PL/pgSQL function has a snapshot of its own for each of its queries: it locks the event until the
commit, and then looks whether another worker has decided it otherwise. The other databases look in the transaction.
"""

from alembic import op

revision = "0.0.222"
down_revision = "0.0.221"
branch_labels = None
depends_on = None

LOCK = "PERFORM pg_advisory_xact_lock(hashtextextended(event::text, 0))"

CREATE = (
    f"""
CREATE FUNCTION rudder_claim_rejection(event uuid, absent_release uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    {LOCK};
    IF EXISTS (SELECT FROM release_activity_logs WHERE id = event) THEN
        RAISE EXCEPTION USING ERRCODE = 'RW003', MESSAGE = 'the event was applied while it was decided';
    END IF;
    IF absent_release IS NOT NULL AND EXISTS (SELECT FROM releases WHERE id = absent_release) THEN
        RAISE EXCEPTION USING ERRCODE = 'RW003', MESSAGE = 'the release was created while the event was decided';
    END IF;
    RETURN TRUE;
END
$$""",  # noqa: S608 - a constant
    f"""
CREATE FUNCTION rudder_claim_application(event uuid, redriven boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    {LOCK};
    IF NOT redriven AND EXISTS (SELECT FROM release_event_rejections WHERE id = event) THEN
        RAISE EXCEPTION USING ERRCODE = 'RW004', MESSAGE = 'the event was rejected while it was decided';
    END IF;
    RETURN TRUE;
END
$$""",
)


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        for statement in CREATE:
            op.execute(statement)


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION rudder_claim_application(uuid, boolean)")
        op.execute("DROP FUNCTION rudder_claim_rejection(uuid, uuid)")
