"""What PostgreSQL says in its own words where messages' rows are loaded."""

from collections.abc import Sequence
from typing import Final

from worker.db.loads import ATTEMPTS_MAX, BatchedLoad
from worker.db.pointers import PLAIN_ROW, ComponentKey, PointerFragments
from worker.db.queries import (
    COUNTED,
    DEPLOYMENT,
    NO_POINTER,
    OWN_COUNTING_MAX,
    POINTER,
    RELEASE,
    SAME_NUMBER,
    TRACKS_MAX,
    Fragments,
)
from worker.db.statement import numbered
from worker.rules.query import Query, QueryVariant

# ruff: noqa: S608 - the fragments are constants of this program; values are parameters


def _pointer(component: str) -> str:
    return _pointer_of(":environment_id", component, "COALESCE(r.deployment_track_id, :deployment_track_id)")


def _pointer_of(environment: str, component: str, track: str) -> str:
    # OFFSET 0 keeps the planner from finding rows by environment alone, however few it had when the plan was made.
    return f"""LEFT JOIN LATERAL (
    SELECT * FROM app_environments a
    WHERE a.environment_id = {environment} AND a.component_id = {component}
        AND a.deployment_track_id = {track}
    OFFSET 0
) a ON TRUE
LEFT JOIN release_deployments p ON p.id = CASE
    WHEN a.release_mgt_deployment_id ~* '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$'
    THEN a.release_mgt_deployment_id::uuid
END"""


FRAGMENTS: Final = Fragments(
    # Without it, the planner walks the index of all releases in the order of the SELECT around it: sorts are off.
    fence=" OFFSET 0",
    # The records of a known event are published again: a crash of the server must not take the event back. In the
    # session of the load, so that it fails if the server has crashed since. A commit without data would not flush.
    flushed="(SELECT pg_logical_emit_message(TRUE, 'rudder-worker', '')) flushed CROSS JOIN ",
    counting=f"""SELECT {COUNTED}
    FROM environments e LEFT JOIN LATERAL (
        SELECT * FROM release_deployments c
        WHERE c.release_mgt_id = :release_id AND c.environment_id = e.environment_id AND c.status <> 'CANCELLED'
        ORDER BY c.updated_at DESC, c.config_revision DESC, c.attempt DESC
        LIMIT CASE WHEN e.environment_id = :environment_id THEN {OWN_COUNTING_MAX} ELSE 1 END
    ) d ON TRUE WHERE e.environment_id IS NOT NULL""",
    other_tracks=f"""LEFT JOIN LATERAL (
    SELECT n.deployment_track_id FROM releases n WHERE r.id IS NULL AND {SAME_NUMBER} LIMIT {TRACKS_MAX}
) n ON TRUE""",
    pointer={
        ComponentKey.UUID: _pointer("COALESCE(r.component_id, :component_id)"),
        ComponentKey.TEXT: _pointer("COALESCE(r.component_id, :component_id)::text"),
    },
)

POINTERS: Final = PointerFragments(
    row={ComponentKey.UUID: PLAIN_ROW, ComponentKey.TEXT: PLAIN_ROW},
    sorted_text=lambda column: f'{column} COLLATE "C"',
)


def batched_load(component: ComponentKey | None) -> BatchedLoad:
    """The SELECT for many messages: a row of `b` for each, and of each release all attempts, up to a bound."""
    return BatchedLoad(statement=numbered(_batched(component)), values_of=_arrays)


def _batched(component: ComponentKey | None) -> str:
    # COALESCE of a subquery, and not EXISTS: for EXISTS the planner may read a whole table into a hash table.
    pointer = ""
    if component is not None:
        key = "COALESCE(r.component_id, b.component_id)" + ("::text" if component is ComponentKey.TEXT else "")
        track = "COALESCE(r.deployment_track_id, b.deployment_track_id)"
        pointer = "\n" + _pointer_of("b.environment_id", key, track)
    return f"""SELECT
    COALESCE((SELECT 1 FROM release_activity_logs WHERE id = b.event_id), 0) AS logged,
    COALESCE((SELECT 1 FROM release_event_rejections WHERE id = b.event_id), 0) AS rejected,
    COALESCE((
        SELECT 1 FROM releases
        WHERE r.id IS NULL AND release_date = b.release_date AND release_number = b.release_number
            AND component_id = b.component_id AND deployment_track_id = b.deployment_track_id
        LIMIT 1
    ), 0) AS number_taken,
    v.version AS release_version,
    {NO_POINTER if component is None else POINTER},
    {RELEASE},
    {DEPLOYMENT},
    n.deployment_track_id AS other_track,
    b.position
FROM unnest(
    :event_ids::uuid[], :release_ids::uuid[], :attempts_of::uuid[], :environment_ids::text[], :release_dates::date[],
    :release_numbers::integer[], :component_ids::uuid[], :deployment_track_ids::text[]
) WITH ORDINALITY b (
    event_id, release_id, attempts_of, environment_id, release_date,
    release_number, component_id, deployment_track_id, position
)
LEFT JOIN releases r ON r.id = b.release_id
LEFT JOIN release_versions v ON v.release_mgt_id = b.release_id
LEFT JOIN LATERAL (
    SELECT * FROM release_deployments d WHERE d.release_mgt_id = b.attempts_of LIMIT {ATTEMPTS_MAX + 1}
) d ON TRUE
LEFT JOIN LATERAL (
    SELECT n.deployment_track_id FROM releases n
    WHERE r.id IS NULL AND n.release_date = b.release_date AND n.release_number = b.release_number
        AND n.component_id = b.component_id
    LIMIT {TRACKS_MAX}
) n ON TRUE{pointer}"""


def _arrays(queries: Sequence[Query], with_attempts: frozenset[int]) -> Sequence[object]:
    """One array for each column of `b`. The environment is that of a pointer, which only a success moves."""
    return (
        [query.event_id for query in queries],
        [query.release_id for query in queries],
        [query.release_id if position in with_attempts else None for position, query in enumerate(queries)],
        [query.environment_id if query.variant is QueryVariant.DEPLOYMENT_SUCCEEDED else None for query in queries],
        [query.release_date for query in queries],
        [query.release_number for query in queries],
        [query.component_id for query in queries],
        [query.deployment_track_id for query in queries],
    )
