"""The attempt that a deployment event applies to, and the release status that follows from the attempts.

Rules 4 to 8 of docs/contract.md#decision, as functions of the attempts alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.reasons import Reason
from schemas.statuses import DeploymentStatus, ReleaseStatus
from worker.rules.rows import Deployment
from worker.rules.transitions import ACTIVE, ENDS, PROGRESS, deployment_may_become

_CLOCK_DIFFERENCE_MAX = timedelta(seconds=10)
"""Largest difference of the clocks that stamp an attempt's first event and its end."""


@dataclass(frozen=True, slots=True)
class Open:
    """Insert a new attempt, with the event's status."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Move:
    """Change the attempt to the event's status."""

    target: Deployment


@dataclass(frozen=True, slots=True)
class Ignore:
    """The event is late for this attempt. None: the environment has none any more."""

    target: Deployment | None


@dataclass(frozen=True, slots=True)
class Refuse:
    """The event applies to no attempt."""

    reason: Reason
    detail: str


Step = Open | Move | Ignore | Refuse


def choose(
    siblings: Iterable[Deployment], *, wanted: DeploymentStatus, attempt: int | None, event_time: datetime
) -> Step:
    """The step for an event with the status `wanted`. `siblings`: attempts of its environment and config revision.
    `attempt`: the attempt in the event, if it has one.

    Of `siblings` it needs the two highest attempts, `attempt` and the one before it, and, for a roll-back without
    `attempt`, the highest attempt that may become ROLLED_BACK.
    """
    by_attempt = {sibling.attempt: sibling for sibling in siblings}
    latest = by_attempt[max(by_attempt)] if by_attempt else None
    if attempt is None:
        return _unnamed(by_attempt, latest, wanted=wanted, event_time=event_time)
    if attempt in by_attempt:
        return _named(by_attempt, attempt, latest, wanted=wanted, event_time=event_time)
    following = latest.attempt + 1 if latest else 1
    if attempt == following:
        return Open(attempt)
    return Refuse(Reason.ATTEMPT_GAP, f"attempt {attempt} does not exist, and the next one is {following}")


def choose_of_run(
    siblings: Iterable[Deployment],
    *,
    wanted: DeploymentStatus,
    known: bool,
    attempt: int | None,
    event_time: datetime,
) -> Step:
    """The step for an event of a run. `known`: the run has opened an attempt: `attempt`, or one that was deleted.

    All events of a run change its attempt, in whatever order they arrive, so an event that no longer fits is late: the
    first end stands. A run that begins before the latest event is over already, and one that is cancelled before it
    began ends no other one.
    """
    by_attempt = {sibling.attempt: sibling for sibling in siblings}
    latest = by_attempt[max(by_attempt)] if by_attempt else None
    if known:
        if attempt not in by_attempt:
            return Ignore(latest)
        step = _named(by_attempt, attempt, latest, wanted=wanted, event_time=event_time)
        return Ignore(by_attempt[attempt]) if isinstance(step, Refuse) else step
    if wanted is DeploymentStatus.ROLLED_BACK:
        return _unnamed(by_attempt, latest, wanted=wanted, event_time=event_time)
    if latest and _earlier(latest, wanted=wanted, event_time=event_time):
        return Ignore(latest)
    if latest and latest.status in ACTIVE and wanted is DeploymentStatus.CANCELLED:
        return Ignore(latest)
    return Open(latest.attempt + 1 if latest else 1)


def _named(
    by_attempt: dict[int, Deployment],
    attempt: int,
    latest: Deployment | None,
    *,
    wanted: DeploymentStatus,
    event_time: datetime,
) -> Step:
    target = by_attempt[attempt]
    superseded = target.status is DeploymentStatus.CANCELLED and target is not latest
    if target.status is wanted or superseded or _late(target, by_attempt, wanted=wanted, event_time=event_time):
        return Ignore(target)
    if deployment_may_become(current=target.status, wanted=wanted):
        return Move(target)
    return Refuse(Reason.INVALID_TRANSITION, f"attempt {target.attempt} is {target.status} and cannot become {wanted}")


def _unnamed(
    by_attempt: dict[int, Deployment], latest: Deployment | None, *, wanted: DeploymentStatus, event_time: datetime
) -> Step:
    if latest and _late(latest, by_attempt, wanted=wanted, event_time=event_time):
        return Ignore(latest)
    if wanted is DeploymentStatus.ROLLED_BACK:
        able = [n for n, sibling in by_attempt.items() if deployment_may_become(current=sibling.status, wanted=wanted)]
        if not able:
            return Refuse(Reason.INVALID_TRANSITION, "the environment has no attempt that can become ROLLED_BACK")
        return Move(by_attempt[max(able)])
    if latest and latest.status in ACTIVE and wanted is not DeploymentStatus.PENDING:
        return Ignore(latest) if latest.status is wanted else Move(latest)
    return Open(latest.attempt + 1 if latest else 1)


def _late(
    target: Deployment, by_attempt: dict[int, Deployment], *, wanted: DeploymentStatus, event_time: datetime
) -> bool:
    """Whether an event is late for `target` (docs/contract.md#decision, "late").

    An end may have been stamped by another clock, so it may be a little early. A repeated end of the previous attempt
    must not end this one.
    """
    if target.status in ACTIVE and wanted in ENDS:
        before = by_attempt.get(target.attempt - 1)
        repeated = before is not None and event_time <= before.updated_at
        return repeated or event_time < target.created_at - _CLOCK_DIFFERENCE_MAX
    return _earlier(target, wanted=wanted, event_time=event_time)


def _earlier(target: Deployment, *, wanted: DeploymentStatus, event_time: datetime) -> bool:
    if event_time == target.updated_at:
        return PROGRESS[wanted] <= PROGRESS[target.status]
    return event_time < target.updated_at


def counting(deployments: Iterable[Deployment]) -> dict[str, Deployment]:
    """By environment, its attempt with the latest event; cancelled attempts are left out."""
    counted: dict[str, Deployment] = {}
    cancelled = DeploymentStatus.CANCELLED
    for deployment in deployments:
        if deployment.status is cancelled:
            continue
        other = counted.get(deployment.environment_id)
        if other is None or _counts_before(deployment, other):
            counted[deployment.environment_id] = deployment
    return counted


def _counts_before(deployment: Deployment, other: Deployment) -> bool:
    if deployment.updated_at != other.updated_at:
        return deployment.updated_at > other.updated_at
    return (deployment.config_revision, deployment.attempt) > (other.config_revision, other.attempt)


def roll_up(counted: Iterable[Deployment]) -> ReleaseStatus:
    """The release's status, from the attempts that `counting` returns."""
    statuses = {deployment.status for deployment in counted}
    if statuses & ACTIVE:
        return ReleaseStatus.DEPLOYING
    for status, release_status in _BY_PRECEDENCE:
        if status in statuses:
            return release_status
    return ReleaseStatus.APPROVED


_BY_PRECEDENCE = (
    (DeploymentStatus.FAILED, ReleaseStatus.FAILED),
    (DeploymentStatus.SUCCESS, ReleaseStatus.DEPLOYED),
    (DeploymentStatus.ROLLED_BACK, ReleaseStatus.ROLLED_BACK),
)
