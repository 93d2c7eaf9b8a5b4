"""Adds release_versions: how often each release was changed, which a write compares and subscribers order by.

A table of its own, since its one narrow row is updated with every event that changes the release: on PostgreSQL the
free half of a page lets that happen in place. A release that the worker created or changed gets the number of events
that changed it or a deployment of it, its creation aside, from the activity log. A release of another application gets
a row when the worker first changes it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0.0.224"
down_revision = "0.0.223"
branch_labels = None
depends_on = None

GUID = sa.Uuid().with_variant(sa.CHAR(36), "sqlite")

CHANGES = "('RELEASE_CREATED', 'RELEASE_STATUS_CHANGED', 'DEPLOYMENT_STATUS_CHANGED')"

# Of an entry that tells of a change its event {source, id, type, time} as text: one text for all entries of one event.
# Other applications may have written entries with any text.
EVENT = {
    "mssql": """CASE WHEN ISJSON(activity_data) = 1 AND JSON_QUERY(activity_data, '$.change') IS NOT NULL
        THEN JSON_QUERY(activity_data, '$.event') END COLLATE Latin1_General_100_BIN2""",
    "postgresql": "rudder_changing_event(activity_data)",
    "sqlite": """CASE WHEN json_valid(activity_data) AND json_type(activity_data, '$.change') = 'object'
        AND json_type(activity_data, '$.event') = 'object' THEN json_extract(activity_data, '$.event') END""",
}

# A cast fails on a text that is not JSON, and before version 16 there is no test for that.
CREATE_FUNCTION = """
CREATE FUNCTION rudder_changing_event(activity_data text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    data json;
BEGIN
    data := activity_data::json;
    RETURN CASE WHEN json_typeof(data -> 'change') = 'object' AND json_typeof(data -> 'event') = 'object'
        THEN data -> 'event' END;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$"""
DROP_FUNCTION = "DROP FUNCTION rudder_changing_event(text)"


def upgrade() -> None:
    database = op.get_context().dialect.name
    op.create_table(
        "release_versions",
        sa.Column("release_mgt_id", GUID, sa.ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        postgresql_with={"fillfactor": 50},
    )
    if database == "postgresql":
        op.execute(CREATE_FUNCTION)
    op.execute(
        f"""INSERT INTO release_versions (release_mgt_id, version)
SELECT release_mgt_id, COUNT(DISTINCT CASE WHEN activity_type <> 'RELEASE_CREATED' THEN event END)
FROM (
    SELECT release_mgt_id, activity_type, {EVENT[database]} AS event
    FROM release_activity_logs
    WHERE activity_type IN {CHANGES}
) changes
WHERE event IS NOT NULL
GROUP BY release_mgt_id"""  # noqa: S608 - all parts are constants above
    )
    if database == "postgresql":
        op.execute(DROP_FUNCTION)


def downgrade() -> None:
    op.drop_table("release_versions")
