"""What SQL Server says in its own words where a message's rows are loaded."""

from collections.abc import Mapping
from typing import Final

from worker.db.pointers import ComponentKey, PointerFragments
from worker.db.queries import (
    ATTEMPTS,
    COUNTED,
    DEPLOYMENT,
    OWN_COUNTING_MAX,
    REVOCABLE_STATUSES,
    SAME_NUMBER,
    TRACKS_MAX,
    Fragments,
)

# ruff: noqa: S608 - the fragments are constants of this program; values are parameters


def exactly(column: str, value: str) -> str:
    """Whether a column is exactly equal to a text.

    The first comparison is for the index. The second is needed because default collations ignore case, and every one
    trailing blanks, unless a full stop follows them. The database's own collation is named for an `app_environments`
    that has another.
    """
    return (
        f"{column} = {value} COLLATE DATABASE_DEFAULT "
        f"AND ({column} + N'.') COLLATE Latin1_General_100_BIN2 = {value} + N'.'"
    )


def uuid_of(text: str) -> str:
    """A text as a uniqueidentifier; NULL where it is none."""
    return f"CASE WHEN LEN({text} + N'.') = 37 THEN TRY_CONVERT(uniqueidentifier, {text}) END"


EXACT_COMPONENT: Final = uuid_of("component_id")
"""What a case-sensitive text is compared as."""

COMPONENTS: Final[Mapping[ComponentKey, str]] = {
    ComponentKey.UUID: "a.component_id = {}",
    # varchar: no column has to be converted for it.
    ComponentKey.TEXT: "a.component_id = LOWER(CONVERT(varchar(36), {}))",
    ComponentKey.CASE_SENSITIVE_TEXT: f"{uuid_of('a.component_id')} = {{}}",
}
"""Whether the component of an `app_environments` row is a UUID."""


def pointer_of(environment: str, component: str, track: str) -> str:
    """The joins of an `app_environments` row and of the deployment that it points at."""
    return f"""LEFT JOIN app_environments a
    ON {exactly("a.environment_id", environment)}
    AND {component}
    AND {exactly("a.deployment_track_id", track)}
LEFT JOIN release_deployments p ON p.id = {uuid_of("a.release_mgt_deployment_id")}"""


FRAGMENTS: Final = Fragments(
    # The version is read first: what is read after it is at least as new, so a change in between fails the write.
    before="""SET NOCOUNT ON;
DECLARE @version bigint = (SELECT version FROM release_versions WHERE release_mgt_id = :release_id);
""",
    version="@version",
    release="""FROM (SELECT 1 AS one) once
LEFT JOIN releases r ON r.id = :release_id""",
    # No aggregate may stand in the recursive part; a row number may.
    environments="""WITH environments (environment_id) AS (
    SELECT MIN(environment_id) FROM release_deployments WHERE release_mgt_id = :release_id
    UNION ALL
    SELECT following.environment_id FROM (
        SELECT d.environment_id, ROW_NUMBER() OVER (ORDER BY d.environment_id) AS position
        FROM release_deployments d JOIN environments e ON d.environment_id > e.environment_id
        WHERE d.release_mgt_id = :release_id
    ) following WHERE following.position = 1
)
""",
    # More environments than the 100 levels that a recursion has by default.
    after="\nOPTION (MAXRECURSION 0)",
    first="OFFSET 0 ROWS FETCH NEXT 1 ROWS ONLY",
    equal=exactly,
    latest=f"""SELECT * FROM (
        SELECT TOP (2) {DEPLOYMENT}
        FROM {ATTEMPTS}
        ORDER BY d.attempt DESC
    ) latest""",
    named=f"""SELECT * FROM (
        SELECT TOP (2) {DEPLOYMENT}
        FROM {ATTEMPTS} AND d.attempt <= :attempt
        ORDER BY d.attempt DESC
    ) named""",
    revocable=f"""SELECT * FROM (
        SELECT TOP (:events) {DEPLOYMENT}
        FROM {ATTEMPTS} AND d.status IN ({REVOCABLE_STATUSES})
        ORDER BY d.attempt DESC
    ) revocable""",
    counting=f"""SELECT {COUNTED}
    FROM environments e OUTER APPLY (
        SELECT TOP ({OWN_COUNTING_MAX}) * FROM release_deployments c
        WHERE c.release_mgt_id = :release_id AND c.environment_id = e.environment_id AND c.status <> N'CANCELLED'
        ORDER BY c.updated_at DESC, c.config_revision DESC, c.attempt DESC
    ) d WHERE e.environment_id IS NOT NULL""",
    other_tracks=f"""OUTER APPLY (
    SELECT TOP ({TRACKS_MAX}) n.deployment_track_id FROM releases n
    WHERE r.id IS NULL AND {SAME_NUMBER}
) n""",
    pointer={
        key: pointer_of(
            ":environment_id",
            component.format("COALESCE(r.component_id, :component_id)"),
            "COALESCE(r.deployment_track_id, :deployment_track_id)",
        )
        for key, component in COMPONENTS.items()
    },
)


def _row(component: str) -> str:
    environment = exactly("environment_id", ":environment_id")
    return f"{environment} AND {component} = :component_id AND {exactly('deployment_track_id', ':deployment_track_id')}"


POINTERS: Final = PointerFragments(
    row={
        ComponentKey.UUID: _row("component_id"),
        ComponentKey.TEXT: _row("component_id"),
        ComponentKey.CASE_SENSITIVE_TEXT: _row(EXACT_COMPONENT),
    },
    sorted_text=lambda column: f"CONVERT(varbinary(8000), {column})",
)
