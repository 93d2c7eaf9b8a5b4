"""Creates app_environments, only where the database does not have it.

The table belongs to another system wherever there is one. What this revision made bears a mark, the name of its
primary key, so that the downgrade knows it. It drops the table only where it bears the mark and is empty: the worker
never inserts a row, so any row in it is another system's.
"""

from alembic import op
from sqlalchemy import text

revision = "0.0.212"
down_revision = None
branch_labels = None
depends_on = None

MARK = "pk_app_environments_made_by_rudder_worker"

# With `id` in it the unique constraint refuses nothing. It is an index for the worker's search, in the only form that
# every database takes inside the one conditional statement.
CREATE = {
    "mssql": f"""
IF OBJECT_ID(N'app_environments') IS NULL
CREATE TABLE app_environments (
    id UNIQUEIDENTIFIER NOT NULL,
    environment_id NVARCHAR(255) NOT NULL,
    component_id UNIQUEIDENTIFIER NOT NULL,
    deployment_track_id NVARCHAR(255) NOT NULL,
    created_at DATETIME2 NULL DEFAULT GETDATE(),
    updated_at DATETIME2 NULL DEFAULT GETDATE(),
    CONSTRAINT {MARK} PRIMARY KEY (id),
    CONSTRAINT idx_app_environments_environment_component_track
        UNIQUE (environment_id, component_id, deployment_track_id, id)
)""",
    "postgresql": f"""
CREATE TABLE IF NOT EXISTS app_environments (
    id UUID NOT NULL,
    environment_id VARCHAR(255) NOT NULL,
    component_id UUID NOT NULL,
    deployment_track_id VARCHAR(255) NOT NULL,
    created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT timezone('utc', now()),
    updated_at TIMESTAMP WITHOUT TIME ZONE DEFAULT timezone('utc', now()),
    CONSTRAINT {MARK} PRIMARY KEY (id),
    CONSTRAINT idx_app_environments_environment_component_track
        UNIQUE (environment_id, component_id, deployment_track_id, id)
)""",
    "sqlite": f"""
CREATE TABLE IF NOT EXISTS app_environments (
    id CHAR(36) NOT NULL,
    environment_id VARCHAR(255) NOT NULL,
    component_id CHAR(36) NOT NULL,
    deployment_track_id VARCHAR(255) NOT NULL,
    created_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
    updated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
    CONSTRAINT {MARK} PRIMARY KEY (id),
    CONSTRAINT idx_app_environments_environment_component_track
        UNIQUE (environment_id, component_id, deployment_track_id, id)
)""",
}

DROP = {
    "mssql": f"""
IF OBJECT_ID(N'{MARK}', N'PK') IS NOT NULL
BEGIN
    IF NOT EXISTS (SELECT 1 FROM app_environments)
        DROP TABLE app_environments;
END""",  # noqa: S608 - a constant
    "postgresql": f"""
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_constraint WHERE conname = '{MARK}' AND conrelid = to_regclass('app_environments')
    ) THEN
        IF NOT EXISTS (SELECT FROM app_environments) THEN
            DROP TABLE app_environments;
        END IF;
    END IF;
END
$$""",  # noqa: S608 - a constant
}


def upgrade() -> None:
    op.execute(CREATE[op.get_context().dialect.name])


def downgrade() -> None:
    context = op.get_context()
    if context.dialect.name != "sqlite":
        op.execute(DROP[context.dialect.name])
    elif context.as_sql:
        # SQLite's SQL cannot drop a table on a condition.
        note = f"-- DROP TABLE app_environments;  -- only if its primary key is {MARK} and it is empty"
        context.impl.static_output(note)
    else:
        _drop_on_sqlite()


def _drop_on_sqlite() -> None:
    connection = op.get_bind()
    made_here = connection.scalar(
        text("SELECT count(*) FROM sqlite_master WHERE name = 'app_environments' AND instr(sql, :mark) > 0"),
        {"mark": MARK},
    )
    if made_here and not connection.scalar(text("SELECT EXISTS (SELECT 1 FROM app_environments)")):
        op.execute("DROP TABLE app_environments")
