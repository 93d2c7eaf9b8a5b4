"""The SELECT of each query variant: put together once, at the start, from fragments in the words of one database.

What all databases agree on stands here, the rest in the database's folder. Parameters are fields of
`worker.rules.query.Query`; a loaded row has the columns of `worker.db.columns.LOADED`. The statements as they are sent
are in docs/reference/sql.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from worker.db.columns import ACTIVITY_READ, DEPLOYMENT_READ, REJECTIONS, RELEASE_READ
from worker.db.pointers import ComponentKey
from worker.rules.identity import ACTIVITIES_MAX
from worker.rules.query import QueryVariant
from worker.rules.transitions import REVOCABLE

# ruff: noqa: S608 - the fragments are constants of this program; values are parameters

_EVENT_KNOWN: Final = """\
CASE WHEN EXISTS (SELECT 1 FROM release_activity_logs WHERE id = :event_id) THEN 1 ELSE 0 END AS logged,
    CASE WHEN EXISTS (SELECT 1 FROM release_event_rejections WHERE id = :event_id) THEN 1 ELSE 0 END AS rejected"""

_NUMBER_TAKEN: Final = """\
CASE WHEN r.id IS NULL AND EXISTS (
        SELECT 1 FROM releases
        WHERE release_date = :release_date AND release_number = :release_number
            AND component_id = :component_id AND deployment_track_id = :deployment_track_id
    ) THEN 1 ELSE 0 END AS number_taken"""

POINTER: Final = """\
CASE WHEN a.environment_id IS NULL THEN 0 ELSE 1 END AS pointer_found,
    a.release_mgt_deployment_id AS pointed_id, p.release_mgt_id AS pointed_release_id, p.deployed_at AS pointed_at"""
NO_POINTER: Final = "0 AS pointer_found, NULL AS pointed_id, NULL AS pointed_release_id, NULL AS pointed_at"

_NO_NUMBER: Final = "0 AS number_taken"
_OTHER_TRACK: Final = "n.deployment_track_id AS other_track"
_NO_OTHER_TRACK: Final = "NULL AS other_track"

RELEASE: Final = ", ".join(f"r.{name}" for name in RELEASE_READ)
_NO_RELEASE: Final = ", ".join(f"NULL AS {name}" for name in RELEASE_READ)
_NO_DEPLOYMENT: Final = ", ".join(f"NULL AS {name}" for name in DEPLOYMENT_READ)

DEPLOYMENT: Final = ", ".join(f"d.{name}" for name in DEPLOYMENT_READ)
COUNTED: Final = ", ".join("e.environment_id" if name == "environment_id" else f"d.{name}" for name in DEPLOYMENT_READ)
"""DEPLOYMENT where an environment is named even if none of its attempts counts."""

ATTEMPTS: Final = """\
release_deployments d
        WHERE d.release_mgt_id = :release_id AND d.environment_id = :environment_id
            AND d.config_revision = :config_revision"""
REVOCABLE_STATUSES: Final = ", ".join(f"'{status.value}'" for status in REVOCABLE)
SAME_NUMBER: Final = """\
n.release_date = :release_date AND n.release_number = :release_number AND n.component_id = :component_id"""

SAME_DAY_NUMBER: Final = "release_date = :release_date AND release_number = :release_number"

_ACTIVITY_IDS: Final = ", ".join(f":id_{position}" for position in range(ACTIVITIES_MAX))

OWN_COUNTING_MAX: Final = ":events + 1"
"""How many attempts of the event's environment are loaded as candidates for what it counts with. One event changes at
most one attempt that counts (the one it moves, or the one it supersedes), so the next best is enough for one event,
and n further ones for n."""

TRACKS_MAX: Final = 100
"""How many releases of one date, number and component are loaded for the comparison of their tracks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fragments:
    """What one database says in its own words. The defaults are what PostgreSQL and SQLite agree on.

    `counting`: of each environment the attempts of the latest events that are not cancelled, OWN_COUNTING_MAX of the
    event's own environment; one row of nulls where there are none. `other_tracks`: the join of up to TRACKS_MAX rows
    `n` of releases with the number, none where there is an `r`. `pointer`: the joins of the environment's row `a` of
    `app_environments`, and of the deployment `p` that it points at, if it points at anything that looks like an id.
    `latest`, `named`: the two highest attempts, of all and up to the named one. `revocable`: the highest attempts that
    may become ROLLED_BACK, one for each event that is decided. `environments`: a CTE with the release's environments
    and a null; DISTINCT would read every attempt, this goes from one environment straight to the next. `release`: the
    joins of the release `r` and of its version, which is the expression `version`. `before` stands before every SELECT,
    `after` behind one with `environments`. `flushed`: stands before the table of a known event's rows, and makes them
    durable where a commit can be visible before it is. `first`: ends a SELECT that is sorted, for its first row.
    `fence`: ends a subquery that the planner must not merge with the SELECT around it. `equal`: that a column is
    exactly a text.
    """

    counting: str
    other_tracks: str
    pointer: Mapping[ComponentKey, str]
    version: str = "v.version"
    release: str = """\
FROM (SELECT 1 AS one) once
LEFT JOIN releases r ON r.id = :release_id
LEFT JOIN release_versions v ON v.release_mgt_id = :release_id"""
    environments: str = """\
WITH RECURSIVE environments (environment_id) AS (
    SELECT min(environment_id) FROM release_deployments WHERE release_mgt_id = :release_id
    UNION ALL
    SELECT (
        SELECT min(d.environment_id) FROM release_deployments d
        WHERE d.release_mgt_id = :release_id AND d.environment_id > e.environment_id
    ) FROM environments e WHERE e.environment_id IS NOT NULL
)
"""
    latest: str = f"""SELECT * FROM (
        SELECT {DEPLOYMENT}
        FROM {ATTEMPTS}
        ORDER BY d.attempt DESC LIMIT 2
    ) latest"""
    # Up to the named attempt, not equal to it: the same index as for the latest, whatever the statistics say.
    named: str = f"""SELECT * FROM (
        SELECT {DEPLOYMENT}
        FROM {ATTEMPTS} AND d.attempt <= :attempt
        ORDER BY d.attempt DESC LIMIT 2
    ) named"""
    revocable: str = f"""SELECT * FROM (
        SELECT {DEPLOYMENT}
        FROM {ATTEMPTS} AND d.status IN ({REVOCABLE_STATUSES})
        ORDER BY d.attempt DESC LIMIT :events
    ) revocable"""
    before: str = ""
    after: str = ""
    flushed: str = ""
    first: str = "LIMIT 1"
    fence: str = ""
    equal: Callable[[str, str], str] = lambda column, value: f"{column} = {value}"


RUN_QUERY: Final = """\
SELECT l.release_mgt_id, d.attempt
FROM release_activity_logs l LEFT JOIN release_deployments d ON d.id = l.release_deployment_id
WHERE l.id = :run"""
"""The release of a run, and its attempt; null where its row was deleted."""

NUMBERS_QUERY: Final = """\
SELECT deployment_track_id, MAX(release_number)
FROM releases
WHERE release_date = :release_date AND component_id = :component_id
GROUP BY deployment_track_id"""
"""The highest number of each track of a component on one day: tracks that collide share their numbers."""

NUMBER_COUNT_QUERY: Final = """\
SELECT COUNT(*)
FROM releases
WHERE release_date = :release_date AND component_id = :component_id AND release_number = :release_number"""


def release_query(fragments: Fragments) -> str:
    """The releases that a foreign event can mean, with the rank of what they were found by, from 0."""

    def by(rank: int, condition: str) -> str:
        return f"""SELECT * FROM (
    SELECT {rank} AS found_by, id FROM (
        SELECT id, release_date, release_number FROM releases
        WHERE component_id = :component_id AND {condition}
            AND {fragments.equal("deployment_track_id", ":deployment_track_id")}
            AND {fragments.equal("organization_id", ":organization_id")}{fragments.fence}
    ) of_component
    ORDER BY release_date DESC, release_number DESC {fragments.first}
) found_{rank}"""

    by_run = "SELECT {rank} AS found_by, release_mgt_id AS id FROM release_activity_logs WHERE id = :{run}"
    ranks = (
        fragments.equal("commit_hash", ":commit_hash"),
        fragments.equal("image_tag", ":image_digest"),
        fragments.equal("image_tag", ":image_tag"),
        SAME_DAY_NUMBER,
    )
    return "\nUNION ALL ".join(
        [
            by_run.format(rank=0, run="run"),
            by_run.format(rank=1, run="other_run"),
            "SELECT 2 AS found_by, id FROM releases WHERE id = :derived_id",
            *(by(rank, condition) for rank, condition in enumerate(ranks, start=3)),
        ]
    )


def activities_query(fragments: Fragments) -> str:
    """Those of a known event, in any order. Its parameters are all ids that its activities can have."""
    return (
        f"SELECT {', '.join(ACTIVITY_READ)} FROM {fragments.flushed}release_activity_logs WHERE id IN ({_ACTIVITY_IDS})"
    )


def rejection_query(fragments: Fragments) -> str:
    return f"SELECT {', '.join(REJECTIONS)} FROM {fragments.flushed}release_event_rejections WHERE id = :event_id"


def queries(fragments: Fragments, component: ComponentKey | None) -> Mapping[QueryVariant, str]:
    """The statements for an `app_environments` whose `component_id` is of that kind. None: it is left alone."""

    def select(*attempts: str, counting: bool = False, number: bool = False, pointer: bool = False) -> str:
        joins = [fragments.release]
        if number:
            joins.append(fragments.other_tracks)
        if attempts:
            joins.append("LEFT JOIN (\n    " + "\n    UNION ALL\n    ".join(attempts) + "\n) d ON 1 = 1")
        if pointer and component is not None:
            joins.append(fragments.pointer[component])
        return (
            f"{fragments.before}{fragments.environments if counting else ''}"
            f"SELECT {_EVENT_KNOWN},\n"
            f"    {_NUMBER_TAKEN if number else _NO_NUMBER}, {fragments.version} AS release_version,\n"
            f"    {POINTER if pointer and component is not None else NO_POINTER},\n"
            f"    {RELEASE},\n"
            f"    {DEPLOYMENT if attempts else _NO_DEPLOYMENT},\n"
            f"    {_OTHER_TRACK if number else _NO_OTHER_TRACK}\n"
            + "\n".join(joins)
            + (fragments.after if counting else "")
        )

    attempts = (fragments.latest, fragments.named)
    return {
        QueryVariant.EVENT: (
            f"SELECT {_EVENT_KNOWN},\n    {_NO_NUMBER}, NULL AS release_version,\n    {NO_POINTER},\n"
            f"    {_NO_RELEASE},\n    {_NO_DEPLOYMENT},\n    {_NO_OTHER_TRACK}"
        ),
        QueryVariant.RELEASE: select(),
        QueryVariant.RELEASE_CREATED: select(number=True),
        QueryVariant.ATTEMPTS: select(*attempts),
        QueryVariant.DEPLOYMENT: select(*attempts, fragments.counting, counting=True, number=True),
        QueryVariant.DEPLOYMENT_SUCCEEDED: select(
            *attempts, fragments.counting, counting=True, number=True, pointer=True
        ),
        QueryVariant.DEPLOYMENT_ROLLED_BACK: select(
            *attempts, fragments.revocable, fragments.counting, counting=True, number=True
        ),
    }
