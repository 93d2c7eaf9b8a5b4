"""What SQLite says in its own words where a message's rows are loaded."""

from typing import Final

from worker.db.pointers import PLAIN_ROW, ComponentKey, PointerFragments
from worker.db.queries import (
    COUNTED,
    OWN_COUNTING_MAX,
    SAME_NUMBER,
    Fragments,
)

# ruff: noqa: S608 - the fragments are constants of this program; values are parameters

_POINTER: Final = """\
LEFT JOIN app_environments a ON a.environment_id = :environment_id
    AND a.component_id = COALESCE(r.component_id, :component_id)
    AND a.deployment_track_id = COALESCE(r.deployment_track_id, :deployment_track_id)
LEFT JOIN release_deployments p ON p.id = lower(a.release_mgt_deployment_id)"""

FRAGMENTS: Final = Fragments(
    counting=f"""SELECT {COUNTED}
    FROM environments e LEFT JOIN release_deployments d ON d.id IN (
        SELECT c.id FROM release_deployments c
        WHERE c.release_mgt_id = :release_id AND c.environment_id = e.environment_id AND c.status <> 'CANCELLED'
        ORDER BY c.updated_at DESC, c.config_revision DESC, c.attempt DESC LIMIT {OWN_COUNTING_MAX}
    ) WHERE e.environment_id IS NOT NULL""",
    other_tracks=f"LEFT JOIN releases n ON r.id IS NULL AND {SAME_NUMBER}",
    # Ids are texts here, whatever the column was declared as.
    pointer=dict.fromkeys(ComponentKey, _POINTER),
)

POINTERS: Final = PointerFragments(
    row={ComponentKey.UUID: PLAIN_ROW, ComponentKey.TEXT: PLAIN_ROW},
    sorted_text=lambda column: f"{column} COLLATE BINARY",
)
