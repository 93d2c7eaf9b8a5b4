"""What an outcome writes, as statements in plain SQL that every database understands.

A dialect decides how they reach the server, in how few round trips and in which transaction; what is written is the
same everywhere. Every UPDATE is guarded by what was read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto
from functools import cache
from typing import assert_never
from uuid import UUID

from worker.db.pointers import KEY_COLUMNS, POINTER_COLUMNS, Pointers
from worker.db.pointers import TABLE as APP_ENVIRONMENTS
from worker.db.row_decoder import REJECTION_COLUMNS
from worker.rules.rows import Activity, DeploymentMove, NewDeployment, NewRelease, Rejection, ReleaseMove
from worker.rules.state import Applied, Changes, Duplicate, Outcome, Rejected, Stale


@dataclass(frozen=True, slots=True)
class Write:
    """One statement; a `?` for each parameter. `guarded`: what it has to find, or another worker was first."""

    sql: str
    parameters: tuple[object, ...]
    guarded: str | None = None


class Claim(Enum):
    """What a write does with its event's identity. An event is rejected or applied, never both: each write locks the
    identity until its commit, looks for the opposite under that lock, and fails where it finds it.

    REJECT: looks for the event in the activity log. APPLY: looks for its rejection. APPLY_REDRIVEN: its rejection is
    known, and is resolved by the same write.
    """

    REJECT = auto()
    APPLY = auto()
    APPLY_REDRIVEN = auto()


@dataclass(frozen=True, slots=True)
class NumberClaim:
    """The number of a release that is created, and how many releases had it with their tracks when that was decided.

    Tracks that SQL Server's default collation takes for one are one on every database, and no constraint of another
    database compares so: the decision compares, and the write looks whether it compared with all.
    """

    release_date: date
    release_number: int
    component_id: UUID
    releases: int


_RELEASE_COLUMNS = (
    "id",
    "created_at",
    "updated_at",
    "release_date",
    "release_number",
    "project_id",
    "description",
    "status",
    "organization_id",
    "created_by",
    "metadata",
    "component_id",
    "deployment_track_id",
    "commit_hash",
    "image_tag",
)
_BASE_REVISION_COLUMNS = ("release_mgt_id", "endpoint_name", "api_id", "revision_id", "access_mode")
_DEPLOYMENT_COLUMNS = (
    "id",
    "created_at",
    "updated_at",
    "release_mgt_id",
    "environment_id",
    "attempt",
    "config_revision",
    "status",
    "comment",
    "deployed_at",
    "deployed_by",
    "config_mapping_revision",
    "schema_based_config_revision",
    "api_settings",
)
_ENTRY_COLUMNS = (
    "id",
    "created_at",
    "updated_at",
    "release_deployment_id",
    "release_mgt_id",
    "environment_id",
    "activity_type",
    "activity_data",
    "status",
)
TABLES = {
    "releases": _RELEASE_COLUMNS,
    "release_apim_base_revisions": _BASE_REVISION_COLUMNS,
    "release_deployments": _DEPLOYMENT_COLUMNS,
    "release_activity_logs": _ENTRY_COLUMNS,
    "release_event_rejections": REJECTION_COLUMNS,
}


@cache
def presence(*, environments: bool) -> str:
    """A query that finds nothing and reads nothing. It fails where a table, a column or the right to read is missing.

    `environments`: whether app_environments is one of the tables.
    """
    tables = {**TABLES, **({APP_ENVIRONMENTS: (*KEY_COLUMNS, *POINTER_COLUMNS)} if environments else {})}
    return " UNION ALL ".join(
        f"SELECT 1 FROM {table} WHERE 1 = 0 AND ({' OR '.join(f'{column} IS NULL' for column in columns)})"  # noqa: S608 - our names
        for table, columns in tables.items()
    )


_ROWS_MAX = 100
"""Of one INSERT: SQL Server takes no more than 2,100 parameters."""

# COALESCE, lest a planner without statistics takes the index on the status, which finds every release there is.
MOVE_RELEASE = "UPDATE releases SET status = ?, updated_at = ? WHERE id = ? AND COALESCE(status, '') = ?"
HOLD_RELEASE = "UPDATE releases SET updated_at = updated_at WHERE id = ?"
"""Changes nothing, and so makes every other worker wait, or find that it came second."""

_MOVE_DEPLOYMENT = (
    "UPDATE release_deployments SET status = ?, updated_at = ?, deployed_at = ?, deployed_by = ?, "
    "comment = COALESCE(?, comment), config_mapping_revision = COALESCE(?, config_mapping_revision), "
    "schema_based_config_revision = COALESCE(?, schema_based_config_revision), "
    "api_settings = COALESCE(?, api_settings) WHERE id = ? AND status = ?"
)
_RESOLVE = "UPDATE release_event_rejections SET resolved_at = ? WHERE id = ?"
_REJECT_AGAIN = (
    "UPDATE release_event_rejections SET reason = ?, detail = ?, event_type = ?, release_mgt_id = ?, "
    "topic = ?, topic_partition = ?, topic_offset = ? WHERE id = ?"
)


@cache
def _insert(table: str, columns: Sequence[str], rows: int = 1) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"  # noqa: S608 - our names


def writes(outcome: Outcome, pointers: Pointers | None) -> list[Write]:
    """All that the outcome writes, in order: what a row refers to comes before it."""
    match outcome:
        case Applied(changes=changes) | Stale(changes=changes):
            return list(_changes(changes, pointers))
        case Rejected(rejection=rejection, again=again):
            return [_rejection(rejection, again=again)]
        case Duplicate():
            return []
        case _:
            assert_never(outcome)


def claim_of(outcome: Outcome) -> Claim:
    """What writing the outcome does with the event's identity."""
    match outcome:
        case Rejected():
            return Claim.REJECT
        case Applied(changes=changes) | Stale(changes=changes) if changes.resolved is not None:
            return Claim.APPLY_REDRIVEN
        case _:
            return Claim.APPLY


def number_claim_of(outcome: Outcome, *, releases: int) -> NumberClaim | None:
    """None where no release is created. `releases`: as NumberClaim has it."""
    match outcome:
        case Applied(changes=changes) | Stale(changes=changes) if changes.new_release is not None:
            new = changes.new_release.release
            return NumberClaim(new.release_date, new.release_number, new.component_id, releases)
        case _:
            return None


def _changes(changes: Changes, pointers: Pointers | None) -> Iterator[Write]:
    if changes.new_release is not None:
        yield from _new_release(changes.new_release)
    if changes.release_move is not None:
        yield _move_release(changes.release_move)
    for move in changes.deployment_moves:
        yield _move_deployment(move)
    if changes.new_deployment is not None:
        yield _new_deployment(changes.new_deployment)
    yield _entries(changes.activities)
    if changes.pointer_move is not None and pointers is not None:
        sql, parameters = pointers.move(changes.pointer_move)
        yield Write(sql, parameters, "app_environments row")
    if changes.resolved is not None:
        yield Write(_RESOLVE, (changes.resolved.resolved_at, changes.resolved.rejection_id), "rejection")


def _rejection(rejection: Rejection, *, again: bool) -> Write:
    if again:  # the row is there, and tells of the time before; what comes back may be of another type or release
        said_now = (
            rejection.reason,
            rejection.detail,
            rejection.event_type,
            rejection.release_id,
            rejection.topic,
            rejection.partition,
            rejection.offset,
        )
        return Write(_REJECT_AGAIN, (*said_now, rejection.id), "rejection")
    row = (
        rejection.id,
        rejection.created_at,
        rejection.reason,
        rejection.detail,
        rejection.event_source,
        rejection.event_id,
        rejection.event_type,
        rejection.release_id,
        rejection.topic,
        rejection.partition,
        rejection.offset,
        rejection.resolved_at,
    )
    return Write(_insert("release_event_rejections", REJECTION_COLUMNS), row)


def _new_release(new: NewRelease) -> Iterator[Write]:
    release = new.release
    row = (
        release.id,
        new.created_at,
        new.created_at,
        release.release_date,
        release.release_number,
        new.project_id,
        new.description,
        release.status.value,
        release.organization_id,
        new.created_by,
        new.metadata,
        release.component_id,
        release.deployment_track_id,
        new.commit_hash,
        new.image_tag,
    )
    yield Write(_insert("releases", _RELEASE_COLUMNS), row)
    revisions = [
        (release.id, revision.endpoint_name, revision.api_id, revision.revision_id, revision.access_mode)
        for revision in new.base_revisions
    ]
    for first in range(0, len(revisions), _ROWS_MAX):
        some = revisions[first : first + _ROWS_MAX]
        sql = _insert("release_apim_base_revisions", _BASE_REVISION_COLUMNS, len(some))
        yield Write(sql, tuple(value for revision in some for value in revision))


def _move_release(move: ReleaseMove) -> Write:
    return Write(MOVE_RELEASE, (move.status.value, move.updated_at, move.id, move.previous.value), "release")


def _new_deployment(new: NewDeployment) -> Write:
    deployment, said = new.deployment, new.optional_fields
    row = (
        deployment.id,
        deployment.created_at,
        deployment.updated_at,
        new.release_id,
        deployment.environment_id,
        deployment.attempt,
        deployment.config_revision,
        deployment.status.value,
        said.comment,
        deployment.deployed_at,
        deployment.deployed_by,
        said.config_mapping_revision or 0,
        said.schema_based_config_revision or 0,
        said.api_settings,
    )
    return Write(_insert("release_deployments", _DEPLOYMENT_COLUMNS), row)


def _move_deployment(move: DeploymentMove) -> Write:
    deployment, said = move.deployment, move.optional_fields
    parameters = (
        deployment.status.value,
        deployment.updated_at,
        deployment.deployed_at,
        deployment.deployed_by,
        said.comment,
        said.config_mapping_revision,
        said.schema_based_config_revision,
        said.api_settings,
        deployment.id,
        move.previous.value,
    )
    return Write(_MOVE_DEPLOYMENT, parameters, "deployment")


def _entries(activities: Sequence[Activity]) -> Write:
    row = [
        value
        for activity in activities
        for value in (
            activity.id,
            activity.created_at,
            activity.created_at,
            activity.deployment_id,
            activity.release_id,
            activity.environment_id,
            activity.activity_type,
            activity.activity_data,
            activity.status,
        )
    ]
    return Write(_insert("release_activity_logs", _ENTRY_COLUMNS, len(activities)), tuple(row))
