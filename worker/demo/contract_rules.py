"""The contract's rules, one function a rule: how an event changes a draft of its release, or why it may not.

Written from the contract alone. The numbers in comments are those of its section "What an event does".
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from worker.demo.contract_envelope import ACTIVITY, CREATED, DEPLOYMENT_TARGETS, RELEASE_TARGETS, Event
from worker.demo.contract_state import (
    ACTIVE,
    BEYOND_APPROVAL,
    DEPLOYMENT_MOVES,
    ENDED,
    NOT_DEPLOYABLE,
    PROGRESS,
    REVIEW_MOVES,
    Activity,
    Deployment,
    Outcome,
    Release,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    reason: str | None = None


LENIENCE: Final = timedelta(seconds=10)
"""How far behind the clock may be that stamps the end of an attempt."""

APPLIED: Final = Verdict("applied")
STALE: Final = Verdict("stale")


@dataclass(slots=True)
class Turn:
    """One event's turn: a draft of its release, thrown away if the event is rejected."""

    event: Event
    release: Release
    activities: list[Activity] = field(default_factory=list)


def newborn(event: Event) -> Turn | None:
    """2: make the release this event brings along, if it does."""
    fields = event.data if event.kind == CREATED else event.data.get("release")
    if fields is None or (event.kind != CREATED and event.kind not in DEPLOYMENT_TARGETS):
        return None
    status = "DRAFT" if event.kind == CREATED else "APPROVED"
    release = Release(
        id=event.release_id,
        organization_id=event.data["organization_id"],
        fields=fields,
        status=status,
        created_at=event.time,
        updated_at=event.time,
    )
    return Turn(event, release, [Activity(activity_type="RELEASE_CREATED", about="release", status=status)])


def decide_existing(turn: Turn) -> Verdict:
    event, release = turn.event, turn.release
    if event.data["organization_id"] != release.organization_id:  # 3
        return Verdict("rejected", "organization_mismatch")
    if event.kind in DEPLOYMENT_TARGETS:
        return decide_deployment(turn)
    if event.kind == ACTIVITY:
        turn.activities.append(Activity(activity_type=event.data["activity_type"], about="neither"))
        return APPLIED
    if event.kind == CREATED:  # 9
        return Verdict("rejected", "release_conflict")
    target = RELEASE_TARGETS[event.kind]
    if target == release.status or (target == "APPROVED" and release.status in BEYOND_APPROVAL):
        return STALE
    if target not in REVIEW_MOVES.get(release.status, ()):
        return Verdict("rejected", "invalid_transition")
    _move_release(turn, target)
    return APPLIED


def decide_deployment(turn: Turn) -> Verdict:
    if turn.release.status in NOT_DEPLOYABLE:  # 3
        return Verdict("rejected", "release_not_deployable")
    data = turn.event.data
    rows = turn.release.attempts(data["environment_id"], _number(data, "config_revision", 1))
    verdict = _numbered(turn, rows) if data.get("attempt") is not None else _unnumbered(turn, rows)
    if verdict == APPLIED:
        _follow(turn)
    return verdict


def _numbered(turn: Turn, rows: dict[int, Deployment]) -> Verdict:
    event, attempt, latest = turn.event, turn.event.data["attempt"], max(_attempts(rows))
    target = DEPLOYMENT_TARGETS[event.kind]
    row = rows.get(attempt)
    if row is None:  # 5
        if attempt != latest + 1:
            return Verdict("rejected", "attempt_gap")
        _open(turn, rows)
        return APPLIED
    superseded = row.status == "CANCELLED" and latest > attempt
    if target == row.status or superseded or _late(event, rows, row, target):  # 4
        return STALE
    if target not in DEPLOYMENT_MOVES[row.status]:
        return Verdict("rejected", "invalid_transition")
    _move(turn, row, target)
    return APPLIED


def _unnumbered(turn: Turn, rows: dict[int, Deployment]) -> Verdict:
    event = turn.event
    target = DEPLOYMENT_TARGETS[event.kind]
    latest = rows.get(max(_attempts(rows)))
    if latest and _late(event, rows, latest, target):  # 6, for every type
        return STALE
    if target == "ROLLED_BACK":
        able = [row for row in rows.values() if target in DEPLOYMENT_MOVES[row.status]]
        if not able:
            return Verdict("rejected", "invalid_transition")
        _move(turn, max(able, key=lambda row: row.attempt), target)
    elif target == "PENDING" or latest is None or latest.status not in ACTIVE:
        _open(turn, rows)
    elif latest.status == target:
        return STALE
    else:
        _move(turn, latest, target)
    return APPLIED


def _late(event: Event, rows: dict[int, Deployment], row: Deployment, target: str) -> bool:
    """Whether the event comes too late for the row."""
    if target in ENDED and row.status in ACTIVE:
        # Another clock may have stamped the end; what the attempt before ended with may be notified once more.
        too_early = event.time + LENIENCE < row.created_at
        before = rows.get(row.attempt - 1)
        return too_early or (before is not None and event.time <= before.updated_at)
    if event.time != row.updated_at:
        return event.time < row.updated_at
    return PROGRESS[target] <= PROGRESS[row.status]


def _open(turn: Turn, rows: dict[int, Deployment]) -> None:
    """Open the next attempt in the event's status, 7: over the active one, which it supersedes."""
    event, data, latest = turn.event, turn.event.data, max(_attempts(rows))
    if latest and rows[latest].status in ACTIVE:
        older = rows[latest]
        last = max(older.updated_at, event.time)
        turn.release.deployments[older.key] = replace(older, status="CANCELLED", updated_at=last)
        _log_deployment(turn, older.status, turn.release.deployments[older.key])
    row = Deployment(
        environment_id=data["environment_id"],
        config_revision=_number(data, "config_revision", 1),
        attempt=latest + 1,
        status=DEPLOYMENT_TARGETS[event.kind],
        settings={
            "config_mapping_revision": _number(data, "config_mapping_revision", 0),
            "schema_based_config_revision": _number(data, "schema_based_config_revision", 0),
            "api_settings": data.get("api_settings"),
        },
        created_at=event.time,
        updated_at=event.time,
    )
    _put(turn, None, row)


def _move(turn: Turn, row: Deployment, target: str) -> None:
    said = {name: turn.event.data[name] for name in row.settings if turn.event.data.get(name) is not None}
    last = max(row.updated_at, turn.event.time)
    moved = replace(row, status=target, updated_at=last, settings=row.settings | said)
    _put(turn, row.status, moved)


def _put(turn: Turn, previous: str | None, row: Deployment) -> None:
    data = turn.event.data
    if row.status == "SUCCESS":  # 10
        row = replace(row, deployed_at=turn.event.time, deployed_by=data.get("actor"))
    if data.get("comment") is not None:
        row = replace(row, comment=data["comment"])
    turn.release.deployments[row.key] = row
    _log_deployment(turn, previous, row)
    if row.status == "SUCCESS" and turn.release.standing()[row.environment_id].key == row.key:  # 10
        turn.release.pointed[row.environment_id] = row.key


def _follow(turn: Turn) -> None:
    """8: the release's status follows its deployments."""
    statuses = {row.status for row in turn.release.standing().values()}
    if statuses & set(ACTIVE):
        status = "DEPLOYING"
    elif "FAILED" in statuses:
        status = "FAILED"
    elif "SUCCESS" in statuses:
        status = "DEPLOYED"
    elif "ROLLED_BACK" in statuses:
        status = "ROLLED_BACK"
    else:
        status = "APPROVED"
    if status != turn.release.status:
        _move_release(turn, status)


def _move_release(turn: Turn, status: str) -> None:
    release = turn.release
    turn.activities.append(
        Activity(activity_type="RELEASE_STATUS_CHANGED", about="release", previous=release.status, status=status)
    )
    release.status, release.updated_at = status, max(release.updated_at, turn.event.time)


def _log_deployment(turn: Turn, previous: str | None, row: Deployment) -> None:
    turn.activities.append(
        Activity(
            activity_type="DEPLOYMENT_STATUS_CHANGED",
            about="deployment",
            previous=previous,
            status=row.status,
            deployment=row.key,
        )
    )


def _attempts(rows: dict[int, Deployment]) -> list[int]:
    return [0, *rows]


def _number(data: dict[str, object], name: str, default: int) -> int:
    value = data.get(name)
    return value if isinstance(value, int) else default
