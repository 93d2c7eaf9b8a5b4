"""Adds the procedure on SQL Server by which the worker writes a message: one call is one transaction.

Many calls are one batch, in one round trip, and each commits or fails alone: a call that fails returns its error as a
row. The text of such a batch depends on the number of calls alone, so its plan is used again. A login that may EXECUTE
the procedure needs no INSERT or UPDATE on the tables that it writes.

The name ends with the version of what a message looks like: a worker of the version before runs on beside it.
"""

from alembic import op

revision = "0.0.233"
down_revision = "0.0.232"
branch_labels = None
depends_on = None

# The columns of each table with the types in which a message has them. A text is nvarchar(max): OPENJSON would cut it,
# where the INSERT refuses it. An instant has the digits of datetime2.
RELEASE = {
    "id": "uniqueidentifier",
    "created_at": "datetime2",
    "updated_at": "datetime2",
    "release_date": "date",
    "release_number": "int",
    "project_id": "uniqueidentifier",
    "description": "nvarchar(max)",
    "status": "nvarchar(max)",
    "organization_id": "nvarchar(max)",
    "created_by": "nvarchar(max)",
    "metadata": "nvarchar(max)",
    "component_id": "uniqueidentifier",
    "deployment_track_id": "nvarchar(max)",
    "commit_hash": "nvarchar(max)",
    "image_tag": "nvarchar(max)",
}
BASE_REVISION = {
    "release_mgt_id": "uniqueidentifier",
    "endpoint_name": "nvarchar(max)",
    "api_id": "nvarchar(max)",
    "revision_id": "nvarchar(max)",
    "access_mode": "nvarchar(max)",
}
DEPLOYMENT = {
    "id": "uniqueidentifier",
    "created_at": "datetime2",
    "updated_at": "datetime2",
    "release_mgt_id": "uniqueidentifier",
    "environment_id": "nvarchar(max)",
    "attempt": "bigint",
    "config_revision": "int",
    "status": "nvarchar(max)",
    "comment": "nvarchar(max)",
    "deployed_at": "datetime2",
    "deployed_by": "nvarchar(max)",
    "config_mapping_revision": "int",
    "schema_based_config_revision": "int",
    "api_settings": "nvarchar(max)",
}
ACTIVITY = {
    "id": "uniqueidentifier",
    "created_at": "datetime2",
    "updated_at": "datetime2",
    "release_deployment_id": "uniqueidentifier",
    "release_mgt_id": "uniqueidentifier",
    "environment_id": "nvarchar(max)",
    "activity_type": "nvarchar(max)",
    "activity_data": "nvarchar(max)",
    "status": "nvarchar(max)",
}
REJECTION = {
    "id": "uniqueidentifier",
    "created_at": "datetime2",
    "reason": "nvarchar(max)",
    "detail": "nvarchar(max)",
    "event_source": "nvarchar(max)",
    "event_id": "nvarchar(max)",
    "event_type": "nvarchar(max)",
    "release_mgt_id": "uniqueidentifier",
    "topic": "nvarchar(max)",
    "topic_partition": "int",
    "topic_offset": "bigint",
    "resolved_at": "datetime2",
}
MESSAGE = {
    "event_id": "uniqueidentifier",
    "claim": "nvarchar(10)",
    "absent_release_id": "uniqueidentifier",
    "predecessor_id": "uniqueidentifier",
    "release_id": "uniqueidentifier",
    "version": "bigint",
    "same_version": "bit",
    "new_version": "bigint",
    "new_release": "nvarchar(max) AS JSON",
    "base_revisions": "nvarchar(max) AS JSON",
    "moved_release": "nvarchar(max) AS JSON",
    "moved_deployment": "nvarchar(max) AS JSON",
    "new_deployment": "nvarchar(max) AS JSON",
    "activities": "nvarchar(max) AS JSON",
    "pointer": "nvarchar(max) AS JSON",
    "resolved_rejection": "nvarchar(max) AS JSON",
    "new_rejection": "nvarchar(max) AS JSON",
    "rejection": "nvarchar(max) AS JSON",
}

MOVED_RELEASE = {
    "id": "uniqueidentifier",
    "status": "nvarchar(max)",
    "updated_at": "datetime2",
    "previous_status": "nvarchar(50)",
}
MOVED_DEPLOYMENT = {
    **{
        name: DEPLOYMENT[name]
        for name in (
            "id",
            "status",
            "updated_at",
            "deployed_at",
            "deployed_by",
            "comment",
            "config_mapping_revision",
            "schema_based_config_revision",
            "api_settings",
        )
    },
    "previous_status": "nvarchar(50)",
}
POINTER = {
    "environment_id": "nvarchar(255)",
    "component_id": "uniqueidentifier",
    "component": "nvarchar(20)",
    "deployment_track_id": "nvarchar(255)",
    "release_id": "nvarchar(50)",
    "deployment_id": "nvarchar(50)",
    "deployment_name": "nvarchar(max)",
    "previous": "nvarchar(max)",
}
RESOLVED = {"id": "uniqueidentifier", "resolved_at": "datetime2"}
REJECTED_AGAIN = ("reason", "detail", "event_type", "release_mgt_id", "topic", "topic_partition", "topic_offset")


def shape(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {type_}" for name, type_ in columns.items())


def insert(table: str, columns: dict[str, str], part: str) -> str:
    # OPENJSON counts as 50 rows. For so many the optimizer may check a foreign key by reading the whole of the other
    # table, uncommitted rows of other transactions included; a loop reads one row by its key.
    names = ", ".join(columns)
    return f"""IF @{part} IS NOT NULL
            INSERT INTO {table} ({names})
            SELECT {names}
            FROM OPENJSON(@{part}) WITH ({shape(columns)})
            OPTION (LOOP JOIN);"""  # noqa: S608 - constants below


def throw(number: int, message: str) -> str:
    return f"BEGIN; THROW {number}, N'{message}', 1; END;"


CHANGED_RELEASE = throw(51003, "the release is no longer as it was read")

# app_environments may be another application's table, with an UPDATE that is granted on three of its columns, and
# with another type of component_id. Each comparison is once for an index and once exact, as collations ignore case and
# trailing blanks.
MOVE_POINTER = """UPDATE app_environments SET release_mgt_release_id = @release_id,
    release_mgt_deployment_id = @deployment_id, release_mgt_deployment_name = @deployment_name
WHERE environment_id = @environment_id COLLATE DATABASE_DEFAULT
    AND (environment_id + N'.') COLLATE Latin1_General_100_BIN2 = @environment_id + N'.'
    AND deployment_track_id = @track_id COLLATE DATABASE_DEFAULT
    AND (deployment_track_id + N'.') COLLATE Latin1_General_100_BIN2 = @track_id + N'.'
    AND """
COMPONENTS = {
    "uuid": "component_id = @component_id",
    "text": "component_id = LOWER(CONVERT(nvarchar(36), @component_id))",
    "exact text": (
        "CASE WHEN LEN(component_id + N'.') = 37 THEN TRY_CONVERT(uniqueidentifier, component_id) END = @component_id"
    ),
}


def literal(text: str) -> str:
    return "N'" + text.replace("'", "''") + "'"


PROCEDURE = f"""CREATE PROCEDURE rudder_write_v1 @message nvarchar(max), @position int = 0, @alone bit = 1,
    @written uniqueidentifier = NULL OUTPUT AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    IF @message = N'' RETURN;
    IF @@TRANCOUNT > 0 {throw(51008, "rudder_write_v1 commits, so it is not to be called in a transaction")}
    -- One call that waits for a lock delays those behind it.
    IF @alone = 0 SET LOCK_TIMEOUT 250;
    DECLARE @event_id uniqueidentifier, @claim nvarchar(10), @absent_release_id uniqueidentifier,
        @predecessor_id uniqueidentifier, @release_id uniqueidentifier, @version bigint, @same_version bit,
        @new_version bigint, @new_release nvarchar(max), @base_revisions nvarchar(max), @moved_release nvarchar(max),
        @moved_deployment nvarchar(max), @new_deployment nvarchar(max), @activities nvarchar(max),
        @pointer nvarchar(max), @resolved_rejection nvarchar(max), @new_rejection nvarchar(max),
        @rejection nvarchar(max), @resource nvarchar(255), @granted int, @wait int = @@LOCK_TIMEOUT, @found int,
        @move nvarchar(max), @environment_id nvarchar(255), @component_id uniqueidentifier, @component nvarchar(20),
        @track_id nvarchar(255), @pointed_release_id nvarchar(50), @deployment_id nvarchar(50),
        @deployment_name nvarchar(max), @previous nvarchar(max);
    BEGIN TRY
        SELECT {", ".join(f"@{name} = {name}" for name in MESSAGE)}
        FROM OPENJSON(@message) WITH ({shape(MESSAGE)});
        SET @resource = CONCAT(N'rudder event ', LOWER(CONVERT(nvarchar(36), @event_id)));
        BEGIN TRANSACTION;
        EXEC @granted = sp_getapplock @Resource = @resource, @LockMode = N'Exclusive', @LockOwner = N'Transaction',
            @LockTimeout = @wait;
        IF @granted = -1 {throw(51005, "another transaction keeps the lock of this event")}
        IF @granted IN (-2, -3) {throw(51006, "deadlock on the lock of this event")}
        IF @granted < 0 {throw(51007, "sp_getapplock does not lock this event")}
        IF @claim = N'reject' AND EXISTS (SELECT 1 FROM release_activity_logs WHERE id = @event_id)
            {CHANGED_RELEASE}
        IF @claim = N'apply' AND EXISTS (SELECT 1 FROM release_event_rejections WHERE id = @event_id)
            {throw(51004, "the event is no longer as it was read")}
        IF EXISTS (SELECT 1 FROM releases WHERE id = @absent_release_id) {CHANGED_RELEASE}
        -- That the event before it in a chain is stored would prove too little: another worker may have stored it.
        IF @predecessor_id IS NOT NULL AND (@written IS NULL OR @written <> @predecessor_id) {CHANGED_RELEASE}
        IF @same_version = 1 AND @version IS NULL
            AND EXISTS (SELECT 1 FROM release_versions WHERE release_mgt_id = @release_id)
            {CHANGED_RELEASE}
        IF @same_version = 1 AND @version IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM release_versions WHERE release_mgt_id = @release_id AND version = @version)
            {CHANGED_RELEASE}
        {insert("releases", RELEASE, "new_release")}
        {insert("release_apim_base_revisions", BASE_REVISION, "base_revisions")}
        IF @new_version IS NOT NULL
            INSERT INTO release_versions (release_mgt_id, version) VALUES (@release_id, @new_version);
        IF @version IS NOT NULL AND @same_version IS NULL
        BEGIN
            UPDATE release_versions SET version = version + 1
            WHERE release_mgt_id = @release_id AND version = @version;
            IF @@ROWCOUNT = 0 {CHANGED_RELEASE}
        END;
        IF @moved_release IS NOT NULL
        BEGIN
            UPDATE r SET status = m.status, updated_at = m.updated_at
            FROM OPENJSON(@moved_release) WITH ({shape(MOVED_RELEASE)}) m
            JOIN releases r ON r.id = m.id AND COALESCE(r.status, N'') = m.previous_status
            OPTION (LOOP JOIN);
            IF @@ROWCOUNT = 0 {CHANGED_RELEASE}
        END;
        IF @moved_deployment IS NOT NULL
        BEGIN
            UPDATE d SET status = m.status, updated_at = m.updated_at, deployed_at = m.deployed_at,
                deployed_by = m.deployed_by, comment = COALESCE(m.comment, d.comment),
                config_mapping_revision = COALESCE(m.config_mapping_revision, d.config_mapping_revision),
                schema_based_config_revision = COALESCE(m.schema_based_config_revision, d.schema_based_config_revision),
                api_settings = COALESCE(m.api_settings, d.api_settings)
            FROM OPENJSON(@moved_deployment) WITH ({shape(MOVED_DEPLOYMENT)}) m
            JOIN release_deployments d ON d.id = m.id AND d.status = m.previous_status
            OPTION (LOOP JOIN);
            SET @found = @@ROWCOUNT;
            IF @found <> (SELECT COUNT(*) FROM OPENJSON(@moved_deployment))
                {throw(51004, "the deployment is no longer as it was read")}
        END;
        {insert("release_deployments", DEPLOYMENT, "new_deployment")}
        {insert("release_activity_logs", ACTIVITY, "activities")}
        IF @pointer IS NOT NULL
        BEGIN
            SELECT @environment_id = environment_id, @component_id = component_id, @component = component,
                @track_id = deployment_track_id, @pointed_release_id = release_id, @deployment_id = deployment_id,
                @deployment_name = deployment_name, @previous = previous
            FROM OPENJSON(@pointer) WITH ({shape(POINTER)});
            SET @move = {literal(MOVE_POINTER)};
            SET @move = @move + CASE @component{
    "".join(
        f'''
                WHEN N'{kind}' THEN {literal(condition)}'''
        for kind, condition in COMPONENTS.items()
    )
} END;
            SET @move = @move + CASE WHEN @previous IS NULL THEN N' AND release_mgt_deployment_id IS NULL'
                ELSE N' AND release_mgt_deployment_id = @previous' END;
            SET @move = @move + N'; SET @found = @@ROWCOUNT;';
            EXEC sp_executesql @move, N'@environment_id nvarchar(255), @component_id uniqueidentifier,
                @track_id nvarchar(255), @release_id nvarchar(50), @deployment_id nvarchar(50),
                @deployment_name nvarchar(max), @previous nvarchar(max), @found int OUTPUT', @environment_id,
                @component_id, @track_id, @pointed_release_id, @deployment_id, @deployment_name, @previous,
                @found OUTPUT;
            IF @found = 0 {throw(51004, "the app_environments row is no longer as it was read")}
        END;
        IF @resolved_rejection IS NOT NULL
        BEGIN
            UPDATE e SET resolved_at = m.resolved_at
            FROM OPENJSON(@resolved_rejection) WITH ({shape(RESOLVED)}) m
            JOIN release_event_rejections e ON e.id = m.id
            OPTION (LOOP JOIN);
            SET @found = @@ROWCOUNT;
            IF @found <> (SELECT COUNT(*) FROM OPENJSON(@resolved_rejection))
                {throw(51004, "the rejection is no longer as it was read")}
        END;
        {insert("release_event_rejections", REJECTION, "new_rejection")}
        IF @rejection IS NOT NULL
        BEGIN
            UPDATE e SET {", ".join(f"{name} = m.{name}" for name in REJECTED_AGAIN)}
            FROM OPENJSON(@rejection) WITH ({shape({name: REJECTION[name] for name in ("id", *REJECTED_AGAIN)})}) m
            JOIN release_event_rejections e ON e.id = m.id
            OPTION (LOOP JOIN);
            IF @@ROWCOUNT = 0 {throw(51004, "the rejection is no longer as it was read")}
        END;
        COMMIT;
        SET @written = @event_id;
    END TRY
    BEGIN CATCH
        IF XACT_STATE() <> 0 ROLLBACK;
        SELECT @position AS position, ERROR_NUMBER() AS number, ERROR_MESSAGE() AS message;
    END CATCH;
END"""  # noqa: S608 - all parts are constants above


def upgrade() -> None:
    if op.get_context().dialect.name == "mssql":
        op.execute(PROCEDURE)


def downgrade() -> None:
    if op.get_context().dialect.name == "mssql":
        op.execute("DROP PROCEDURE rudder_write_v1")
