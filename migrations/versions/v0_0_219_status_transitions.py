"""Adds triggers that refuse an UPDATE of a status to a value that may not follow it.

The application decides by the same table; this holds for whoever else writes. A row may be inserted in any status, and
an UPDATE to the status a row already has is no transition. Every database says the same: `releases: status DEPLOYED
may not become DRAFT`, under SQL Server's errors 51001 (release_deployments) and 51002 (releases), PostgreSQL's SQLSTATE
RW001 and RW002, and as a plain constraint error on SQLite.
"""

from alembic import op

revision = "0.0.219"
down_revision = "0.0.218"
branch_labels = None
depends_on = None

# From each status, in the order of the machine, the statuses that may follow.
DEPLOYMENT_TRANSITIONS = {
    "PENDING": ("IN_PROGRESS", "SUCCESS", "FAILED", "CANCELLED"),
    "IN_PROGRESS": ("SUCCESS", "FAILED", "CANCELLED", "ROLLED_BACK"),
    "SUCCESS": ("ROLLED_BACK",),
    "FAILED": ("ROLLED_BACK",),
    "CANCELLED": (),
    "ROLLED_BACK": (),
}
RELEASE_TRANSITIONS = {
    "DRAFT": ("IN_REVIEW",),
    "IN_REVIEW": ("APPROVED", "REJECTED", "DRAFT"),
    "REJECTED": ("DRAFT", "IN_REVIEW"),
    "APPROVED": ("DEPLOYING", "DEPLOYED", "FAILED", "ROLLED_BACK"),
    "DEPLOYING": ("DEPLOYED", "FAILED", "ROLLED_BACK", "APPROVED"),
    "DEPLOYED": ("DEPLOYING", "FAILED", "ROLLED_BACK"),
    "FAILED": ("DEPLOYING", "DEPLOYED", "ROLLED_BACK"),
    "ROLLED_BACK": ("DEPLOYING", "DEPLOYED", "FAILED"),
}
Machine = dict[str, tuple[str, ...]]
GUARDS: tuple[tuple[str, Machine, int], ...] = (
    ("release_deployments", DEPLOYMENT_TRANSITIONS, 1),
    ("releases", RELEASE_TRANSITIONS, 2),
)


def upgrade() -> None:
    create = {"mssql": _mssql, "postgresql": _postgresql, "sqlite": _sqlite}[op.get_context().dialect.name]
    for table, machine, number in GUARDS:
        for statement in create(table, machine, number):
            op.execute(statement)


def downgrade() -> None:
    on_postgresql = op.get_context().dialect.name == "postgresql"
    for table, _machine, _number in reversed(GUARDS):
        name = _name(table)
        op.execute(f"DROP TRIGGER {name} ON {table}" if on_postgresql else f"DROP TRIGGER {name}")
        if on_postgresql:
            op.execute(f"DROP FUNCTION {name}()")


def _name(table: str) -> str:
    return f"guard_{table}_status"


def _pairs(machine: Machine) -> list[tuple[str, str]]:
    return [(old, new) for old, followers in machine.items() for new in followers]


def _mssql(table: str, machine: Machine, number: int) -> list[str]:
    # A default collation would take `success` for `SUCCESS` and so see no change: compare by code point. The CHECK
    # constraint ran before and let only exact values through. The join is by id, as one UPDATE may change many rows.
    exact = "COLLATE Latin1_General_100_BIN2"
    allowed = ",\n            ".join(f"(N'{old}', N'{new}')" for old, new in _pairs(machine))
    return [
        f"""CREATE TRIGGER {_name(table)} ON {table} AFTER UPDATE AS
BEGIN
    SET NOCOUNT ON;
    IF NOT UPDATE(status) RETURN;
    DECLARE @message NVARCHAR(400);
    SELECT TOP (1) @message = CONCAT(N'{table}: status ', d.status, N' may not become ', i.status)
    FROM inserted AS i
    JOIN deleted AS d ON d.id = i.id
    WHERE i.status {exact} <> d.status {exact}
        AND NOT EXISTS (
            SELECT 1
            FROM (VALUES
            {allowed}
            ) AS allowed (old_status, new_status)
            WHERE allowed.old_status {exact} = d.status {exact}
                AND allowed.new_status {exact} = i.status {exact}
        );
    IF @message IS NOT NULL
    BEGIN
        THROW 5100{number}, @message, 1;
    END;
END"""  # noqa: S608 - all parts are constants above
    ]


def _postgresql(table: str, machine: Machine, number: int) -> list[str]:
    # AFTER, so that no other trigger can change the row once it has been judged.
    name = _name(table)
    allowed = ",\n        ".join(f"('{old}', '{new}')" for old, new in _pairs(machine))
    return [
        f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        {allowed}
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'RW00{number}',
            MESSAGE = format('{table}: status %s may not become %s', OLD.status, NEW.status),
            TABLE = TG_TABLE_NAME,
            SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN NULL;
END
$$""",
        f"""CREATE TRIGGER {name} AFTER UPDATE ON {table} FOR EACH ROW
WHEN (OLD.status IS DISTINCT FROM NEW.status)
EXECUTE FUNCTION {name}()""",
    ]


def _sqlite(table: str, machine: Machine, _number: int) -> list[str]:
    # RAISE took nothing but a literal before SQLite 3.47: one for each refused pair. A value outside the machine is
    # left to the CHECK constraint, which comes after this trigger.
    refused = "\n".join(
        f"        WHEN '{old} {new}' THEN RAISE(ABORT, '{table}: status {old} may not become {new}')"
        for old in machine
        for new in machine
        if new != old and new not in machine[old]
    )
    return [
        f"""CREATE TRIGGER {_name(table)} BEFORE UPDATE OF status ON {table} FOR EACH ROW
WHEN OLD.status <> NEW.status
BEGIN
    SELECT CASE OLD.status || ' ' || NEW.status
{refused}
    END;
END"""
    ]
