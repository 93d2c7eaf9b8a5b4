"""The privileges of each role on the tables, for DBAs, who grant privileges by what they can read.

Nothing is deleted, no table is made or changed, and an UPDATE may touch named columns only.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from worker.rules.errors import ConfigurationError


class Role(StrEnum):
    """Whom a login is for. WORKER: `run`. OPERATOR: the commands that change what operators own; `replay --execute`
    writes what a worker writes, so it needs both roles. READER: the commands that only read.
    """

    WORKER = "worker"
    OPERATOR = "operator"
    READER = "reader"


@dataclass(frozen=True, slots=True)
class Privileges:
    """On one table. `updated`: the columns that an UPDATE may set. Every table is read."""

    table: str
    inserted: bool = True
    updated: tuple[str, ...] = ()


_WORKER: Final = (
    Privileges("releases", updated=("status", "updated_at")),
    Privileges("release_versions", updated=("version",)),
    Privileges("release_apim_base_revisions"),
    Privileges(
        "release_deployments",
        updated=(
            "status",
            "updated_at",
            "deployed_at",
            "deployed_by",
            "comment",
            "config_mapping_revision",
            "schema_based_config_revision",
            "api_settings",
        ),
    ),
    Privileges("release_activity_logs"),
    Privileges(
        "release_event_rejections",
        updated=(
            "reason",
            "detail",
            "event_type",
            "release_mgt_id",
            "topic",
            "topic_partition",
            "topic_offset",
            "resolved_at",
        ),
    ),
    Privileges(
        "app_environments",
        inserted=False,
        updated=("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name"),
    ),
    Privileges("worker_breakers"),
    Privileges("rudder_alembic_version", inserted=False),
)
"""A test compares the columns with what the worker's statements set."""

_OPERATOR: Final = (
    Privileges("operator_actions", updated=("finished_at", "counts", "result", "detail")),
    Privileges("release_event_dismissals"),
    Privileges("redrive_records", updated=("state", "end_offset", "sent_offset", "outcome", "detail")),
    Privileges("worker_breakers", inserted=False, updated=("closed_at", "closed_by", "note")),
)
_OTHERS: Final = ("database_identity",)
"""Tables that only migrations write."""


def _reading(writing: tuple[Privileges, ...]) -> tuple[Privileges, ...]:
    """These privileges, and SELECT on every other table."""
    written = {privileges.table for privileges in writing}
    tables = dict.fromkeys((*(privileges.table for privileges in (*_WORKER, *_OPERATOR)), *_OTHERS))
    return (*writing, *(Privileges(table, inserted=False) for table in tables if table not in written))


PRIVILEGES: Mapping[Role, tuple[Privileges, ...]] = MappingProxyType(
    {Role.WORKER: _WORKER, Role.OPERATOR: _reading(_OPERATOR), Role.READER: _reading(())}
)
"""Of logins whose statements write the tables themselves; SQL Server's worker has a procedure for that."""


def grants(name: str, tables: Iterable[Privileges], *, schema: str = "") -> Iterator[str]:
    """A statement for each table, and one for its columns. `name`: quoted. `schema`: with its dot."""
    for privileges in tables:
        yield f"GRANT SELECT{', INSERT' if privileges.inserted else ''} ON {schema}{privileges.table} TO {name};"
        if privileges.updated:
            yield f"GRANT UPDATE ({', '.join(privileges.updated)}) ON {schema}{privileges.table} TO {name};"


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def checked_login(login: str, *, length_max: int) -> str:
    """The name of a login, as it is.

    Raises:
        ConfigurationError: it is none: empty, too long, or with control characters.
    """
    if not login.strip() or len(login) > length_max or not login.isprintable():
        raise ConfigurationError(f"a login has 1 to {length_max} printable characters")
    return login
