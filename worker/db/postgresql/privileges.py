"""The privileges of a role on PostgreSQL, as SQL for a DBA to read and to run."""

from typing import Final

from worker.db.pointers import TABLE as POINTER_TABLE
from worker.db.privileges import PRIVILEGES, Role, checked_login, grants, literal
from worker.rules.errors import ConfigurationError

_ROLE_LENGTH_MAX: Final = 63
"""NAMEDATALEN of a usual build, without its last byte."""

_QUOTE: Final = "$rights$"

_FUNCTIONS: Final = (
    "rudder_guard(boolean, text)",
    "rudder_claim_rejection(uuid, uuid)",
    "rudder_claim_application(uuid, boolean)",
    "rudder_claim_number(date, integer, uuid, integer)",
)


def script(login: str, *, role: Role, revision: str) -> str:
    """Grants to the login, in the schema that is current; to be run again after every migration.

    Raises:
        ConfigurationError: there can be no such login.
    """
    login = checked_login(login, length_max=_ROLE_LENGTH_MAX)
    if _QUOTE in login:
        raise ConfigurationError(f"a role with {_QUOTE} in its name cannot be written down")
    name, text = '"' + login.replace('"', '""') + '"', literal(login)
    lines = [
        f"-- The privileges of a {role} of rudder-worker at revision {revision}, and no others. The role must exist.",
        "-- To be run in the worker's database and schema by their owner, after `rudder-worker migrate`. What PUBLIC",
        "-- may do everywhere, such as making temporary tables, is not revoked here.",
        f"DO {_QUOTE} BEGIN",
        f"    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), {text});",
        f"    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), {text});",
        f"END {_QUOTE};",
    ]
    functions = _FUNCTIONS if role is Role.WORKER else ()
    executing = [f"GRANT EXECUTE ON FUNCTION {function} TO {name};" for function in functions]
    return "\n".join([*lines, *grants(name, PRIVILEGES[role]), *executing])


def missing_privileges(*, pointers: bool) -> str:
    """An expression: what the current role lacks to write, comma-separated; an empty text where it lacks nothing.

    It fails where a function of the worker is missing. `pointers`: whether `app_environments` is written to.
    """
    held: dict[str, str] = {}
    for privileges in PRIVILEGES[Role.WORKER]:
        if privileges.table == POINTER_TABLE and not pointers:
            continue
        if privileges.inserted:
            held[f"INSERT on {privileges.table}"] = f"has_any_column_privilege('{privileges.table}', 'INSERT')"
        if privileges.updated:
            columns = (
                f"has_column_privilege('{privileges.table}', '{column}', 'UPDATE')" for column in privileges.updated
            )
            held[f"UPDATE on {privileges.table}"] = " AND ".join(columns)
    for function in _FUNCTIONS:
        held[f"EXECUTE on {function}"] = f"has_function_privilege('{function}', 'EXECUTE')"
    cases = ", ".join(f"CASE WHEN NOT ({holds}) THEN '{right}' END" for right, holds in held.items())
    return f"concat_ws(', ', {cases})"
