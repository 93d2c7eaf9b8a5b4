"""Adds a function on PostgreSQL that keeps two releases with confusable tracks from getting one number.

Tracks that SQL Server's default collation takes for one are one on every database. The unique constraint of releases
compares to the letter here, so the application compares the tracks that it has read. The function locks the number
until the commit, and then looks, with a snapshot of its own, whether as many releases have it as were compared. SQLite
has one writer, and SQL Server's own constraint compares as its collation does.
"""

from alembic import op

revision = "0.0.223"
down_revision = "0.0.222"
branch_labels = None
depends_on = None

CREATE = """
CREATE FUNCTION rudder_claim_number(of_date date, number integer, component uuid, compared integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    there integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(' ', of_date, number, component), 1));
    SELECT count(*) INTO there FROM (
        SELECT FROM releases
        WHERE release_date = of_date AND release_number = number AND component_id = component LIMIT 100
    ) releases;
    IF there <> compared THEN
        RAISE EXCEPTION USING ERRCODE = 'RW003', MESSAGE = 'the number was given to a release while it was decided';
    END IF;
    RETURN TRUE;
END
$$"""


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(CREATE)


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION rudder_claim_number(date, integer, uuid, integer)")
