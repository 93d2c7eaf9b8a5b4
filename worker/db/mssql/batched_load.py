"""The SELECT for many messages: their queries are one JSON parameter, so that text and plan are always the same.

The versions of the releases are read first, by a statement of their own: what is read after it is at least as new, also
where READ_COMMITTED_SNAPSHOT is off.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from worker.db.loads import ATTEMPTS_MAX, BatchedLoad
from worker.db.mssql.fragments import COMPONENTS, pointer_of
from worker.db.mssql.json_text import json_text
from worker.db.pointers import ComponentKey
from worker.db.queries import DEPLOYMENT, NO_POINTER, POINTER, RELEASE, TRACKS_MAX
from worker.db.statement import positional
from worker.rules.query import Query, QueryVariant

# ruff: noqa: S608 - the fragments are constants of this program; values are parameters

_COLUMNS: Final[Mapping[str, str]] = {
    "position": "int",
    "event_id": "uniqueidentifier",
    "release_id": "uniqueidentifier",
    "attempts_of": "uniqueidentifier",
    "environment_id": "nvarchar(255)",
    "release_date": "date",
    "release_number": "int",
    "component_id": "uniqueidentifier",
    "deployment_track_id": "nvarchar(255)",
}
"""Of a query. No text of an event is longer."""

_SHAPE: Final = ", ".join(f"{name} {type_}" for name, type_ in _COLUMNS.items())
_NAMES: Final = ", ".join(f"b.{name}" for name in _COLUMNS)


def batched_load(component: ComponentKey | None) -> BatchedLoad:
    """A row of `b` for each query, and of each release all attempts, up to a bound."""
    return BatchedLoad(statement=positional(_select(component)), values_of=_values)


def _select(component: ComponentKey | None) -> str:
    pointer = ""
    if component is not None:
        key = COMPONENTS[component].format("COALESCE(r.component_id, b.component_id)")
        track = "COALESCE(r.deployment_track_id, b.deployment_track_id)"
        pointer = "\n" + pointer_of("b.environment_id", key, track)
    # OPENJSON counts as 50 rows, for which the optimizer may read the whole of a small table that grows.
    return f"""SET NOCOUNT ON;
DECLARE @queries nvarchar(max) = :queries;
SELECT @queries = (
    SELECT {_NAMES}, v.version
    FROM OPENJSON(@queries) WITH ({_SHAPE}) b
    LEFT JOIN release_versions v ON v.release_mgt_id = b.release_id
    FOR JSON PATH, INCLUDE_NULL_VALUES
) OPTION (LOOP JOIN);
SELECT
    CASE WHEN EXISTS (SELECT 1 FROM release_activity_logs WHERE id = b.event_id) THEN 1 ELSE 0 END AS logged,
    CASE WHEN EXISTS (SELECT 1 FROM release_event_rejections WHERE id = b.event_id) THEN 1 ELSE 0 END AS rejected,
    CASE WHEN r.id IS NULL AND EXISTS (
        SELECT 1 FROM releases
        WHERE release_date = b.release_date AND release_number = b.release_number
            AND component_id = b.component_id AND deployment_track_id = b.deployment_track_id
    ) THEN 1 ELSE 0 END AS number_taken,
    b.version AS release_version,
    {NO_POINTER if component is None else POINTER},
    {RELEASE},
    {DEPLOYMENT},
    n.deployment_track_id AS other_track,
    b.position
FROM OPENJSON(@queries) WITH ({_SHAPE}, version bigint) b
LEFT JOIN releases r ON r.id = b.release_id
OUTER APPLY (
    SELECT TOP ({ATTEMPTS_MAX + 1}) * FROM release_deployments a WHERE a.release_mgt_id = b.attempts_of
) d
OUTER APPLY (
    SELECT TOP ({TRACKS_MAX}) n.deployment_track_id FROM releases n
    WHERE r.id IS NULL AND n.release_date = b.release_date AND n.release_number = b.release_number
        AND n.component_id = b.component_id
) n{pointer}
OPTION (LOOP JOIN)"""


def _values(queries: Sequence[Query], with_attempts: frozenset[int]) -> Sequence[object]:
    """The one parameter. The environment is that of a pointer, which only a success moves."""
    rows = [
        {
            "position": position,
            "event_id": query.event_id,
            "release_id": query.release_id,
            "attempts_of": query.release_id if position - 1 in with_attempts else None,
            "environment_id": query.environment_id if query.variant is QueryVariant.DEPLOYMENT_SUCCEEDED else None,
            "release_date": query.release_date,
            "release_number": query.release_number,
            "component_id": query.component_id,
            "deployment_track_id": query.deployment_track_id,
        }
        for position, query in enumerate(queries, 1)
    ]
    return (json_text(rows),)
