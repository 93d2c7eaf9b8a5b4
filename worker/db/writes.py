"""What one message writes, as statements that every database understands, and what must still be true for it.

All of it is one transaction, which is written as a whole or not at all. How it reaches the server is in the database's
folder. Every UPDATE names what was read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto
from functools import cache
from typing import Final, assert_never
from uuid import UUID

from worker.db.columns import ACTIVITIES, BASE_REVISIONS, DEPLOYMENTS, REJECTIONS, RELEASES, VERSIONS
from worker.db.pointers import KEY_COLUMNS, POINTER_COLUMNS, Pointers
from worker.db.pointers import TABLE as APP_ENVIRONMENTS
from worker.db.statement import Check, Condition, Write, WriteStatement
from worker.rules.errors import Conflict, StaleRead
from worker.rules.query import Query
from worker.rules.rows import Activity, DeploymentMove, NewDeployment, NewRelease, Rejection, ReleaseMove
from worker.rules.state import Changes, State

# ruff: noqa: S608 - the statements are constants of this program; values are parameters


class Claim(Enum):
    """What a transaction does with its event's identity. An event is rejected or applied, never both: each transaction
    locks the identity until its commit, looks for the opposite under that lock, and fails where it finds it.

    REJECT: looks for the event in the activity log. APPLY: looks for its rejection. APPLY_REDRIVEN: its rejection is
    known, and is resolved by the same transaction.
    """

    REJECT = auto()
    APPLY = auto()
    APPLY_REDRIVEN = auto()


@dataclass(frozen=True, slots=True)
class NumberClaim:
    """The number of a release that is created, and how many releases had it with their tracks when that was decided.

    Tracks that SQL Server's default collation takes for one are one on every database, and no constraint of another
    database compares so: the decision compares, and the transaction looks whether it compared with all.
    """

    release_date: date
    release_number: int
    component_id: UUID
    compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSet:
    """What one transaction writes. `event_id`: that of the event's first log entry and of its rejection.
    `absent_release_id`: a release whose absence is the reason of a rejection. `version_check`: of a release that does
    not change. `predecessor_id`: that of the event before it in a chain, which the same call must have written: that
    its row is stored would prove too little, since another worker may have stored it with another outcome.
    """

    event_id: UUID
    claim: Claim
    absent_release_id: UUID | None
    number: NumberClaim | None
    version_check: Check | None
    predecessor_id: UUID | None
    writes: Sequence[Write]


RELEASE: Final = "release"
"""The row that another worker changed: what `StaleRead` stands for."""

CHANGE_VERSION: Final = WriteStatement(
    "release_version",
    "UPDATE release_versions SET version = version + 1 WHERE release_mgt_id = :release_id AND version = :version",
    RELEASE,
)
SAME_VERSION: Final = Condition(
    "SELECT 1 FROM release_versions WHERE release_mgt_id = :release_id AND version = :version", RELEASE, exists=True
)
NO_VERSION: Final = Condition("SELECT 1 FROM release_versions WHERE release_mgt_id = :release_id", RELEASE)
NO_RELEASE: Final = Condition("SELECT 1 FROM releases WHERE id = :release_id", RELEASE)
NOT_APPLIED: Final = Condition("SELECT 1 FROM release_activity_logs WHERE id = :event_id", RELEASE)
NOT_REJECTED: Final = Condition("SELECT 1 FROM release_event_rejections WHERE id = :event_id", "event")


def _insert(name: str, table: str, columns: Sequence[str], rows: int = 1) -> WriteStatement:
    row = f"({', '.join(f':{column}' for column in columns)})"
    return WriteStatement(name, f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}")


INSERT_VERSION: Final = _insert("release_version", "release_versions", VERSIONS)
INSERT_RELEASE: Final = _insert("new_release", "releases", RELEASES)
INSERT_DEPLOYMENT: Final = _insert("new_deployment", "release_deployments", DEPLOYMENTS)
INSERT_REJECTION: Final = _insert("new_rejection", "release_event_rejections", REJECTIONS)


@cache
def insert_base_revisions(rows: int) -> WriteStatement:
    return _insert("base_revisions", "release_apim_base_revisions", BASE_REVISIONS, rows)


@cache
def insert_activities(rows: int) -> WriteStatement:
    return _insert("activities", "release_activity_logs", ACTIVITIES, rows)


MOVE_RELEASE: Final = WriteStatement(
    "moved_release",
    # COALESCE keeps a planner without statistics from the index on the status, which finds every release there is.
    "UPDATE releases SET status = :status, updated_at = :updated_at "
    "WHERE id = :id AND COALESCE(status, '') = :previous_status",
    RELEASE,
)
MOVE_DEPLOYMENT: Final = WriteStatement(
    "moved_deployment",
    "UPDATE release_deployments SET status = :status, updated_at = :updated_at, deployed_at = :deployed_at, "
    "deployed_by = :deployed_by, comment = COALESCE(:comment, comment), "
    "config_mapping_revision = COALESCE(:config_mapping_revision, config_mapping_revision), "
    "schema_based_config_revision = COALESCE(:schema_based_config_revision, schema_based_config_revision), "
    "api_settings = COALESCE(:api_settings, api_settings) WHERE id = :id AND status = :previous_status",
    "deployment",
)
RESOLVE_REJECTION: Final = WriteStatement(
    "resolved_rejection",
    "UPDATE release_event_rejections SET resolved_at = :resolved_at WHERE id = :id",
    "rejection",
)
REJECT_AGAIN: Final = WriteStatement(
    "rejection",
    "UPDATE release_event_rejections SET reason = :reason, detail = :detail, event_type = :event_type, "
    "release_mgt_id = :release_mgt_id, topic = :topic, topic_partition = :topic_partition, "
    "topic_offset = :topic_offset WHERE id = :id",
    "rejection",
)

_ROWS_MAX: Final = 100
"""Of one INSERT: databases bound the number of parameters."""


def write_set_of(
    changes: Changes, query: Query, state: State, pointers: Pointers | None, *, follows: UUID | None = None
) -> WriteSet:
    """All that `changes` writes, decided in `state`, in order: what a row refers to comes before it. `follows`: the id
    of the event of the same release that is written before this one, in the same call.
    """
    rejection, new = changes.rejection, changes.new_release
    found = state.release is not None
    number = None
    if new is not None:
        release = new.release
        number = NumberClaim(release.release_date, release.release_number, release.component_id, state.tracks_compared)
    return WriteSet(
        event_id=query.event_id,
        claim=_claim(changes),
        absent_release_id=query.release_id if rejection is not None and not found else None,
        number=number,
        version_check=_version_check(query, state) if found and changes.release_version is None else None,
        predecessor_id=follows,
        writes=tuple(_writes(changes, query, state, pointers)),
    )


def identity_checks(write_set: WriteSet) -> Iterator[Check]:
    """What is looked at under the lock of the event's identity; see `Claim`."""
    match write_set.claim:
        case Claim.REJECT:
            yield Check(NOT_APPLIED, (write_set.event_id,))
            if write_set.absent_release_id is not None:
                yield Check(NO_RELEASE, (write_set.absent_release_id,))
        case Claim.APPLY:
            yield Check(NOT_REJECTED, (write_set.event_id,))
        case Claim.APPLY_REDRIVEN:
            pass
        case _:
            assert_never(write_set.claim)


def changed(row: str) -> Conflict:
    """The error for a row that is no longer as it was read."""
    return (StaleRead if row == RELEASE else Conflict)(f"the {row} is no longer as it was read")


@cache
def presence(*, pointers: bool) -> str:
    """A query that finds nothing and reads nothing. It fails where a table, a column or the privilege to read is
    missing. `pointers`: whether app_environments is one of the tables.
    """
    tables = {
        "releases": RELEASES,
        "release_versions": VERSIONS,
        "release_apim_base_revisions": BASE_REVISIONS,
        "release_deployments": DEPLOYMENTS,
        "release_activity_logs": ACTIVITIES,
        "release_event_rejections": REJECTIONS,
    }
    if pointers:
        tables[APP_ENVIRONMENTS] = (*KEY_COLUMNS, *POINTER_COLUMNS)
    return " UNION ALL ".join(
        f"SELECT 1 FROM {table} WHERE 1 = 0 AND ({' OR '.join(f'{column} IS NULL' for column in columns)})"
        for table, columns in tables.items()
    )


def _claim(changes: Changes) -> Claim:
    if changes.rejection is not None:
        return Claim.REJECT
    return Claim.APPLY_REDRIVEN if any(resolved.own for resolved in changes.resolved) else Claim.APPLY


def _version_check(query: Query, state: State) -> Check:
    release_id, version = query.release_id, state.release_version
    return Check(NO_VERSION, (release_id,)) if version is None else Check(SAME_VERSION, (release_id, version))


def _writes(changes: Changes, query: Query, state: State, pointers: Pointers | None) -> Iterator[Write]:
    if changes.new_release is not None:
        yield from _new_release(changes.new_release)
    if changes.release_version is not None:
        yield _version(changes.release_version, query, state)
    if changes.release_move is not None:
        yield _move_release(changes.release_move)
    for move in changes.deployment_moves:
        yield _move_deployment(move)
    if changes.new_deployment is not None:
        yield _new_deployment(changes.new_deployment)
    if changes.activities:
        yield _activities(changes.activities)
    if changes.pointer_move is not None and pointers is not None:
        yield pointers.move(changes.pointer_move)
    for resolved in changes.resolved:
        yield Write(RESOLVE_REJECTION, (resolved.resolved_at, resolved.rejection_id))
    if changes.rejection is not None:
        yield _rejection(changes.rejection, again=changes.rejected_before)


def _version(version: int, query: Query, state: State) -> Write:
    """A release without a version is new, or another application's that the worker changes for the first time."""
    release_id, loaded_version = query.release_id, state.release_version
    if loaded_version is None:
        return Write(INSERT_VERSION, (release_id, version))
    return Write(CHANGE_VERSION, (release_id, loaded_version))


def _rejection(rejection: Rejection, *, again: bool) -> Write:
    if again:  # the row is of the time before; what comes back may be of another type or release
        now = (
            rejection.reason,
            rejection.detail,
            rejection.event_type,
            rejection.release_id,
            rejection.topic,
            rejection.partition,
            rejection.offset,
        )
        return Write(REJECT_AGAIN, (*now, rejection.id))
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
    return Write(INSERT_REJECTION, row)


def _new_release(new: NewRelease) -> Iterator[Write]:
    release = new.release
    row = (
        release.id,
        new.created_at,
        new.created_at,
        release.release_date,
        release.release_number,
        release.project_id,
        new.description,
        release.status.value,
        release.organization_id,
        new.created_by,
        new.metadata,
        release.component_id,
        release.deployment_track_id,
        release.commit_hash,
        release.image_tag,
    )
    yield Write(INSERT_RELEASE, row)
    revisions = [
        (release.id, revision.endpoint_name, revision.api_id, revision.revision_id, revision.access_mode)
        for revision in new.base_revisions
    ]
    for first in range(0, len(revisions), _ROWS_MAX):
        some = revisions[first : first + _ROWS_MAX]
        yield Write(insert_base_revisions(len(some)), tuple(value for revision in some for value in revision))


def _move_release(move: ReleaseMove) -> Write:
    return Write(MOVE_RELEASE, (move.status.value, move.updated_at, move.id, move.previous.value))


def _new_deployment(new: NewDeployment) -> Write:
    deployment, optional = new.deployment, new.optional_fields
    row = (
        deployment.id,
        deployment.created_at,
        deployment.updated_at,
        new.release_id,
        deployment.environment_id,
        deployment.attempt,
        deployment.config_revision,
        deployment.status.value,
        optional.comment,
        deployment.deployed_at,
        deployment.deployed_by,
        optional.config_mapping_revision or 0,
        optional.schema_based_config_revision or 0,
        optional.api_settings,
    )
    return Write(INSERT_DEPLOYMENT, row)


def _move_deployment(move: DeploymentMove) -> Write:
    deployment, optional = move.deployment, move.optional_fields
    values = (
        deployment.status.value,
        deployment.updated_at,
        deployment.deployed_at,
        deployment.deployed_by,
        optional.comment,
        optional.config_mapping_revision,
        optional.schema_based_config_revision,
        optional.api_settings,
        deployment.id,
        move.previous.value,
    )
    return Write(MOVE_DEPLOYMENT, values)


def _activities(activities: Sequence[Activity]) -> Write:
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
    return Write(insert_activities(len(activities)), tuple(row))
