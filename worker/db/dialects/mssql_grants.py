"""The rights of a login on SQL Server, as T-SQL for a DBA to read and to run."""

from typing import Final

from worker.db.rights import checked_login, grants, literal

_LOGIN_LENGTH_MAX: Final = 128
"""Of a sysname."""


def script(login: str, *, revision: str) -> str:
    """A user for the login, where the database has none, and grants to it; to be run again after every migration.

    Raises:
        Misconfigured: there can be no such login.
    """
    login = checked_login(login, length_max=_LOGIN_LENGTH_MAX)
    name, text = f"[{login.replace(']', ']]')}]", f"N{literal(login)}"
    lines = [
        f"-- What a login needs to run rudder-worker at revision {revision}, and nothing else. The login must exist.",
        "-- To be run by sqlcmd -b, in the worker's database by its owner, after `rudder-worker migrate`. Who is a",
        "-- user by other means, such as FROM EXTERNAL PROVIDER for Entra ID, is made one before. Whom a restore",
        "-- parted from the login, ALTER USER ... WITH LOGIN joins with it again.",
        f"IF DATABASE_PRINCIPAL_ID({text}) IS NULL CREATE USER {name} FOR LOGIN {name} WITH DEFAULT_SCHEMA = dbo;",
        "GO",
    ]
    return "\n".join([*lines, *grants(name, schema="dbo."), "GO"])
