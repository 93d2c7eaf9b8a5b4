"""What PostgreSQL says in its own words where a message's rows are loaded."""

from typing import Final

from worker.db.pointers import PLAIN_ROW, ComponentKey, PointerFragments
from worker.db.queries import (
    COUNTED,
    OWN_COUNTING_MAX,
    SAME_NUMBER,
    TRACKS_MAX,
    Fragments,
)

# ruff: noqa: S608 - the fragments are constants of this program; values are parameters


def _pointer(component: str) -> str:
    # OFFSET 0 keeps the planner from finding rows by environment alone, however few it had when the plan was made.
    return f"""LEFT JOIN LATERAL (
    SELECT * FROM app_environments a
    WHERE a.environment_id = :environment_id AND a.component_id = {component}
        AND a.deployment_track_id = COALESCE(r.deployment_track_id, :deployment_track_id)
    OFFSET 0
) a ON TRUE
LEFT JOIN release_deployments p ON p.id = CASE
    WHEN a.release_mgt_deployment_id ~* '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$'
    THEN a.release_mgt_deployment_id::uuid
END"""


FRAGMENTS: Final = Fragments(
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
