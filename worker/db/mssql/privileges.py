"""The privileges of a login on SQL Server, as T-SQL for a DBA to read and to run."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from worker.db.mssql.procedure import PROCEDURE, TABLES
from worker.db.privileges import PRIVILEGES as OF_TABLES
from worker.db.privileges import Privileges, Role, checked_login, grants, literal

_LOGIN_LENGTH_MAX: Final = 128
"""Of a sysname."""

_SCHEMA: Final = "$(schema)"
"""Stands for the schema in a statement."""

PRIVILEGES: Mapping[Role, tuple[Privileges, ...]] = MappingProxyType(
    {
        **OF_TABLES,
        Role.WORKER: tuple(
            Privileges(privileges.table, inserted=False) if privileges.table in TABLES else privileges
            for privileges in OF_TABLES[Role.WORKER]
        ),
    }
)
"""On tables. A worker writes most of them by its procedure, which has the same owner: SELECT is enough."""

_FIND_SCHEMA: Final = """DECLARE @schema nvarchar(258);
SELECT @schema = QUOTENAME(s.name) FROM sys.tables t JOIN sys.schemas s ON s.schema_id = t.schema_id
WHERE t.name = N'release_activity_logs';
IF @@ROWCOUNT <> 1 THROW 51010, N'not exactly one schema has the table release_activity_logs', 1;"""


def script(login: str, *, role: Role, revision: str) -> str:
    """A user for the login, where the database has none, and grants to it; to be run again after every migration.

    Raises:
        ConfigurationError: there can be no such login.
    """
    login = checked_login(login, length_max=_LOGIN_LENGTH_MAX)
    name, text = f"[{login.replace(']', ']]')}]", f"N{literal(login)}"
    create = f"CREATE USER {name} FOR LOGIN {name} WITH DEFAULT_SCHEMA = {_SCHEMA};"
    lines = [
        f"-- The privileges of a {role} of rudder-worker at revision {revision}, and no others. The login must exist.",
        "-- To be run by sqlcmd -b, in the worker's database by its owner, after `rudder-worker migrate`. Make a user",
        "-- of another kind, such as FROM EXTERNAL PROVIDER for Entra ID, before it. Join a user that a restore parted",
        "-- from its login with ALTER USER ... WITH LOGIN. The worker finds its tables by the user's default schema,",
        "-- which has to be theirs; a user that exists keeps its own.",
        "SET XACT_ABORT ON;",
        _FIND_SCHEMA,
        f"IF DATABASE_PRINCIPAL_ID({text}) IS NULL {_execute(create)}",
    ]
    statements = [*grants(name, PRIVILEGES[role], schema=f"{_SCHEMA}.")]
    if role is Role.WORKER:
        statements.append(f"GRANT EXECUTE ON {_SCHEMA}.{PROCEDURE} TO {name};")
    return "\n".join([*lines, *map(_execute, statements), "GO"])


def _execute(statement: str) -> str:
    before, _, after = statement.partition(_SCHEMA)
    return f"EXEC (N{literal(before)} + @schema + N{literal(after)});"
