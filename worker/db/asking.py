"""The question of a message as one SELECT: answered from one snapshot where the database has them, in one round trip.

What every database understands stands here; the few words that each has of its own come from beside its dialect.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from worker.db.placeholders import Statement
from worker.db.question import ABLE_TO_ROLL_BACK, Parts
from worker.db.row_decoder import COLUMNS, DEPLOYMENT_COLUMNS, ENTRY_COLUMNS, REJECTION_COLUMNS, RELEASE_COLUMNS

# ruff: noqa: S608 - what is put together here are constants of this program, never anybody's values

DEPLOYMENT = ", ".join(f"d.{name}" for name in DEPLOYMENT_COLUMNS)
COUNTING = DEPLOYMENT.replace("d.environment_id", "e.environment_id")
"""The columns of `Words.counting`: an environment is named even where none of its attempts counts."""

ENTRIES = f"SELECT {', '.join(ENTRY_COLUMNS)} FROM release_activity_logs WHERE id"
REJECTION = f"SELECT {', '.join(REJECTION_COLUMNS)} FROM release_event_rejections WHERE id = :event"


RECURSIVE_ENVIRONMENTS = """WITH RECURSIVE environments (environment_id) AS (
    SELECT min(environment_id) FROM release_deployments WHERE release_mgt_id = :release
    UNION ALL
    SELECT (
        SELECT min(d.environment_id) FROM release_deployments d
        WHERE d.release_mgt_id = :release AND d.environment_id > e.environment_id
    ) FROM environments e WHERE e.environment_id IS NOT NULL
)
"""
"""`Words.environments` where a recursion may have aggregates. DISTINCT would read every attempt; this goes from one
environment straight to the next."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words:
    """What one database says in its own way.

    `top`, `limit`: `the first {rows} rows only`, before the columns or at the end. `environments`: a CTE of that
    name with the release's environments and a null, found without reading every attempt. `counting`: of each of
    them the attempts of the latest events that are not cancelled, OWN_COUNTING_MAX of the event's own environment,
    and one row of nulls where there are none. `tracks`: the join of up to TRACKS_MAX rows `n` of releases, none
    where there is an `r`, `MEANT` standing for the condition. `exactly`: that `COLUMN` is the text `VALUE`, to the
    letter. `version`: of a release's row. `environment`: the join of `app_environments a`, `MEANT` standing for the
    condition. `uuid_of_text`: a CASE or function that makes no error of any text, `TEXT` standing for it.
    `text_of_uuid`: for comparing with text, `UUID` standing for it. `placed`: the driver's placeholders.
    """

    top: str
    limit: str
    environments: str
    counting: str
    tracks: str
    exactly: str
    version: str
    environment: str
    uuid_of_text: str
    text_of_uuid: str
    placed: Callable[[str], Statement]


@cache
def asking(parts: Parts, words: Words, *, component_is_uuid: bool, component_case_matters: bool = False) -> Statement:
    """The SELECT for these parts, in the columns of `worker.db.row_decoder`. `component_…`: as in `Pointers`."""
    known = f"{_exists('release_activity_logs', 'id = :event')}, {_exists('release_event_rejections', 'id = :event')}"
    if not parts.release:
        return words.placed(f"SELECT {known}, {_nulls(COLUMNS - 2)}")
    columns = ", ".join(
        (
            known,
            _NUMBER_TAKEN if parts.number else "0",
            words.version,
            _POINTED if parts.pointer else f"0, {_nulls(3)}",
            ", ".join(f"r.{name}" for name in RELEASE_COLUMNS),
            DEPLOYMENT if parts.attempts else _nulls(len(DEPLOYMENT_COLUMNS)),
            "n.deployment_track_id" if parts.number else "NULL",
        )
    )
    sql = words.environments if parts.counting else ""
    sql += f"SELECT {columns}\nFROM (SELECT 1 AS one) once\nLEFT JOIN releases r ON r.id = :release"
    if parts.number:
        sql += "\n" + words.tracks.replace("MEANT", _SAME_NUMBER)
    if parts.attempts:
        sql += f"\nLEFT JOIN (\n{_attempts(parts, words)}\n) d ON 1 = 1"
    if parts.pointer:
        sql += _pointer(
            parts, words, component_is_uuid=component_is_uuid, component_case_matters=component_case_matters
        )
    return words.placed(sql)


_NUMBER_TAKEN = """CASE WHEN r.id IS NULL AND EXISTS (
    SELECT 1 FROM releases WHERE release_date = :date AND release_number = :number
    AND component_id = :component AND deployment_track_id = :track
) THEN 1 ELSE 0 END"""

_SAME_NUMBER = "n.release_date = :date AND n.release_number = :number AND n.component_id = :component"

_POINTED = (
    "CASE WHEN a.environment_id IS NULL THEN 0 ELSE 1 END, a.release_mgt_deployment_id, p.release_mgt_id, p.deployed_at"
)

_SIBLINGS = (
    "release_deployments d WHERE d.release_mgt_id = :release AND d.environment_id = :environment "
    "AND d.config_revision = :config_revision"
)


def _attempts(parts: Parts, words: Words) -> str:
    def highest(name: str, condition: str = "", *, rows: int = 2) -> str:
        top, limit = words.top.format(rows=rows), words.limit.format(rows=rows)
        select = f"SELECT {top}{DEPLOYMENT} FROM {_SIBLINGS}{condition} ORDER BY d.attempt DESC{limit}"
        return f"SELECT * FROM ({select}) {name}"

    # Two of each: whether the end of an attempt is late depends on the attempt before it. Up to the named one, rather
    # than equal to it: the same index as the others, whatever the statistics say. Where the named one is missing these
    # are the ones below, which the decision knows or has no use for.
    selects = [highest("latest"), highest("named", " AND d.attempt <= :attempt")]
    if parts.fallback:
        able = ", ".join(f"'{status}'" for status in ABLE_TO_ROLL_BACK)
        selects.append(highest("fallback", f" AND d.status IN ({able})", rows=1))
    if parts.counting:
        selects.append(words.counting)
    return "\nUNION ALL\n".join(selects)


def _pointer(parts: Parts, words: Words, *, component_is_uuid: bool, component_case_matters: bool) -> str:
    own, component, track = "a.component_id", "r.component_id", "r.deployment_track_id"
    if parts.number:  # a release that is still to be created is the block's
        component, track = f"COALESCE({component}, :component)", f"COALESCE({track}, :track)"
    if component_case_matters:
        own = words.uuid_of_text.replace("TEXT", own)
    elif not component_is_uuid:
        component = words.text_of_uuid.replace("UUID", component)
    # Anybody may have written anything into the pointer: only what looks like an id is taken for one.
    pointed = words.uuid_of_text.replace("TEXT", "a.release_mgt_deployment_id")
    environment = words.exactly.replace("COLUMN", "a.environment_id").replace("VALUE", ":environment")
    track = words.exactly.replace("COLUMN", "a.deployment_track_id").replace("VALUE", track)
    meant = f"{environment} AND {own} = {component} AND {track}"
    joined = words.environment.replace("MEANT", meant)
    return f"\n{joined}\nLEFT JOIN release_deployments p ON p.id = {pointed}"


def _exists(table: str, condition: str) -> str:
    return f"CASE WHEN EXISTS (SELECT 1 FROM {table} WHERE {condition}) THEN 1 ELSE 0 END"


def _nulls(number: int) -> str:
    return ", ".join(["NULL"] * number)
