"""The rules: what one event does to one release. Pure: no clock, no randomness, no input or output.

Source: docs/contract.md#decision. The numbers in comments are its rules.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never
from uuid import UUID

from schemas.confusables import DIFFERENCES, collides
from schemas.detail import echo, joined, pointer
from schemas.event import Event, Foreign, Invalid
from schemas.incoming import (
    ActivityRecorded,
    DeploymentChange,
    ForeignActivity,
    ReleaseCreated,
    ReleaseTransition,
)
from schemas.reasons import Reason
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.text import INT_MAX
from schemas.types import EventType
from worker.rules.allowed_sources import AllowedSources
from worker.rules.attempts import Ignore, Move, Open, Refuse, Step, choose, choose_of_run, counting, roll_up
from worker.rules.effects import Effects, event_type_of
from worker.rules.message import Message
from worker.rules.rows import Deployment, EnvironmentPointer, Rejection, Release
from worker.rules.state import Applied, Duplicate, FirstUse, Outcome, Rejected, Stale, State
from worker.rules.transitions import ACTIVE, BEYOND_APPROVAL, UNDEPLOYABLE, review_may_become

WANTED_DEPLOYMENT_STATUS = {
    EventType.DEPLOYMENT_REQUESTED: DeploymentStatus.PENDING,
    EventType.DEPLOYMENT_STARTED: DeploymentStatus.IN_PROGRESS,
    EventType.DEPLOYMENT_SUCCEEDED: DeploymentStatus.SUCCESS,
    EventType.DEPLOYMENT_FAILED: DeploymentStatus.FAILED,
    EventType.DEPLOYMENT_CANCELLED: DeploymentStatus.CANCELLED,
    EventType.DEPLOYMENT_ROLLED_BACK: DeploymentStatus.ROLLED_BACK,
}
WANTED_RELEASE_STATUS = {
    EventType.RELEASE_SUBMITTED: ReleaseStatus.IN_REVIEW,
    EventType.RELEASE_APPROVED: ReleaseStatus.APPROVED,
    EventType.RELEASE_REJECTED: ReleaseStatus.REJECTED,
    EventType.RELEASE_REOPENED: ReleaseStatus.DRAFT,
}


def decide(state: State, message: Message, *, sources: AllowedSources | None = None) -> Outcome:
    """The outcome of `message` in `state`. The same arguments always give the same outcome.

    `sources`: the allow-list of event sources; None: every source is allowed.
    """
    known = duplicate(state, message)  # 1
    if known is not None:
        return known
    content = message.content
    if isinstance(content, Invalid):
        return reject(state, message, content.reason, content.detail)
    if problem := source_problem(content, sources):
        return reject(state, message, Reason.SOURCE_NOT_ALLOWED, problem)
    match content.data:
        case ReleaseCreated() as data:
            return _release_created(state, message, data)
        case ReleaseTransition():
            return _release_transition(state, message, content)
        case DeploymentChange() as data:
            return _deployment(state, message, content, data)
        case ActivityRecorded() as data:
            return _activity(state, message, data)
        case other:
            raise TypeError(f"no rule for {type(other).__name__}")


def duplicate(state: State, message: Message) -> Duplicate | None:
    """Rule 1. A redrive is decided again only if the event was rejected, never if it was applied or was corrected by
    another event.
    """
    if state.activities:
        activity = state.activities[0]
        first = FirstUse(type=event_type_of(activity), release_id=activity.release_id)
        counted = _counted(state, message, activity.release_id)
        return Duplicate(activities=state.activities, reused=_reused(first, message), counted=counted)
    rejection = state.rejection
    if rejection is not None and not (
        message.redrive and rejection.resolved_at is None and _redrives(message, rejection)
    ):
        first = FirstUse(type=rejection.event_type, release_id=rejection.release_id)
        return Duplicate(rejection=rejection, reused=_reused(first, message))
    return None


def _counted(state: State, message: Message, release_id: UUID) -> Mapping[str, Deployment] | None:
    """What each environment counts with; None: the query of this message does not load it."""
    if not isinstance(message.content, Event) or not isinstance(message.content.data, DeploymentChange):
        return None
    return counting(state.deployments) if state.release is not None and state.release.id == release_id else None


def _reused(first: FirstUse, message: Message) -> FirstUse | None:
    """`first`, if the message has another type or release, as far as both are known."""
    # A foreign event names no release: it is found, and a later one may be found for the same event.
    release_id = None if message.reference is not None else message.release_id
    pairs = ((first.type, message.content.type), (first.release_id, release_id))
    return first if any(None not in pair and pair[0] != pair[1] for pair in pairs) else None


def _redrives(message: Message, rejection: Rejection) -> bool:
    """Whether a redrive is of this rejection. If its header names a position, the rejected record must be there.

    Else the redrive must be behind the record that was rejected last. Other records were decided before, and are
    delivered again after a restart.
    """
    record, rejected_at = message.record, (rejection.topic, rejection.partition, rejection.offset)
    if message.redrive_of is not None:
        return message.redrive_of == rejected_at
    return (record.topic, record.partition) != rejected_at[:2] or record.offset > rejection.offset


def reject(state: State, message: Message, reason: Reason, detail: str) -> Rejected:
    content, record = message.content, message.record
    rejection = Rejection(
        id=message.id,
        created_at=message.at,
        reason=reason.value,
        detail=detail,
        event_source=content.source,
        event_id=content.id,
        event_type=content.type,
        release_id=message.release_id,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
    )
    return Rejected(rejection=rejection, again=state.rejection is not None)


def source_problem(event: Event, sources: AllowedSources | None) -> str | None:
    """Why the event's source is not allowed for the event's organization; None: it is allowed.

    Checked before the release is looked up: a dead letter must not disclose whether a release exists. Rule 3 checks
    that the release belongs to this organization.
    """
    if sources is None or sources.allow(event.source, organization_id=event.data.organization_id):
        return None
    return joined([f"{echo(event.source)} is not an allowed source of organization {echo(event.data.organization_id)}"])


def _organization_mismatch(state: State, message: Message, release: Release, organization_id: str) -> Rejected | None:
    """Rule 3, first half."""
    if release.organization_id == organization_id:
        return None
    return reject(
        state,
        message,
        Reason.ORGANIZATION_MISMATCH,
        "the release belongs to another organization; check release_id and organization_id",
    )


def _not_found(state: State, message: Message) -> Rejected:
    return reject(state, message, Reason.RELEASE_NOT_FOUND, f"release {message.release_id} does not exist")


def _number_taken(state: State, message: Message) -> Rejected:
    detail = f"another release of this component and track has this date and number: {DIFFERENCES}"
    return reject(state, message, Reason.RELEASE_CONFLICT, detail)


def _cannot_create(state: State, message: Message) -> Rejected | None:
    """9: without a release, no later check applies."""
    if state.number_taken:
        return _number_taken(state, message)
    reference = message.reference
    if reference is not None and message.release_id != reference.derived_id:
        return _not_found(state, message)  # another application has deleted it since it was found
    if state.next_number is not None and state.next_number > INT_MAX:
        detail = "the component and track have no free release number on this day"
        return reject(state, message, Reason.RELEASE_CONFLICT, detail)
    return None


def _release_created(state: State, message: Message, data: ReleaseCreated) -> Outcome:
    if state.release is not None:
        mismatch = _organization_mismatch(state, message, state.release, data.organization_id)
        detail = f"release {data.release_id} already exists"
        return mismatch or reject(state, message, Reason.RELEASE_CONFLICT, detail)  # 9
    if state.number_taken:
        return _number_taken(state, message)  # 9
    effects = Effects(state, message)
    effects.create_release(data, data, ReleaseStatus.DRAFT)
    return Applied(changes=effects.changes())


def _release_transition(state: State, message: Message, event: Event) -> Outcome:
    release = state.release
    if release is None:
        return _not_found(state, message)  # 2
    mismatch = _organization_mismatch(state, message, release, event.data.organization_id)
    if mismatch is not None:
        return mismatch  # 3
    wanted = WANTED_RELEASE_STATUS[event.type]
    effects = Effects(state, message)
    approved_before = wanted is ReleaseStatus.APPROVED and release.status in BEYOND_APPROVAL
    if release.status is wanted or approved_before:  # 9
        effects.append_stale(release)
        return Stale(changes=effects.changes())
    if not review_may_become(current=release.status, wanted=wanted):
        detail = f"the release is {release.status} and cannot become {wanted}"
        return reject(state, message, Reason.INVALID_TRANSITION, detail)
    effects.move_release(release, wanted, comment=event.data.comment)
    return Applied(changes=effects.changes())


def _deployment(state: State, message: Message, event: Event, data: DeploymentChange) -> Outcome:
    effects = Effects(state, message)
    release = state.release
    if release is None:
        if data.release is None:
            return _not_found(state, message)  # 2
        if (refused := _cannot_create(state, message)) is not None:
            return refused
        release = effects.create_release(data, data.release, ReleaseStatus.APPROVED)  # 2
    mismatch = _organization_mismatch(state, message, release, data.organization_id)
    if mismatch is not None:
        return mismatch  # 3
    if release.status in UNDEPLOYABLE:
        return reject(
            state, message, Reason.RELEASE_NOT_DEPLOYABLE, f"the release is {release.status}, not approved"
        )  # 3
    if (refused := _colliding(state, message, data.environment_id)) is not None:
        return refused

    wanted = WANTED_DEPLOYMENT_STATUS[event.type]
    siblings = _siblings(state, data.environment_id, data.config_revision)
    step = _step(state, message, siblings, wanted, data.attempt)  # 4, 5, 6, 11
    if isinstance(step, Move | Ignore) and step.target is not None and _inherits(state, message):
        effects.give_attempt(release, step.target)
    match step:
        case Refuse(reason, detail):
            return reject(state, message, reason, detail)
        case Ignore(target):
            effects.append_stale(release, target)
            return Stale(changes=effects.changes())
        case Move(target):
            target = effects.move_deployment(release, target, wanted, data)
        case Open(attempt):
            for active in siblings:
                if active.status in ACTIVE:
                    effects.supersede(release, active)  # 7
            target = effects.open_deployment(release, attempt, wanted, data)
        case _:
            assert_never(step)

    _follow(effects, release, target, wanted, state.pointer)
    return Applied(changes=effects.changes())


def _follow(
    effects: Effects,
    release: Release,
    target: Deployment,
    wanted: DeploymentStatus,
    pointer: EnvironmentPointer | None,
) -> None:
    """What follows from the change of an attempt: the release's status, and the environment's pointer."""
    counted = counting(effects.deployments)
    status = roll_up(counted.values())  # 8
    if status is not release.status:
        effects.move_release(release, status)
    latest = counted.get(target.environment_id)
    if wanted is DeploymentStatus.SUCCESS and latest is target and pointer and _newer(release, target, pointer):
        effects.point(release, target, pointer)  # 10


def _step(
    state: State, message: Message, siblings: Sequence[Deployment], wanted: DeploymentStatus, attempt: int | None
) -> Step:
    foreign = message.foreign
    if foreign is None or not foreign.runs:
        return choose(siblings, wanted=wanted, attempt=attempt, event_time=message.at)
    run = _known_run(state, foreign)
    given = None if run is None else state.runs[run]
    return choose_of_run(siblings, wanted=wanted, known=run is not None, attempt=given, event_time=message.at)


def _inherits(state: State, message: Message) -> bool:
    """Whether the event's run gets the attempt of the run that it is the first part of."""
    foreign = message.foreign
    return foreign is not None and len(foreign.opens) > 1 and _known_run(state, foreign) in foreign.runs[1:]


def _known_run(state: State, foreign: Foreign) -> UUID | None:
    """The run whose attempt the event changes: its own, else the one that it is a part of if no other part has taken
    it, or its first part.
    """
    own, *others = foreign.runs
    if own in state.runs:
        return own
    taken = any(part in state.runs for part in foreign.opens[1:])
    return next((run for run in others if run in state.runs and not taken), None)


def _newer(release: Release, target: Deployment, pointer: EnvironmentPointer) -> bool:
    """Whether this deployment is newer than the one in the environment's row.

    The later event wins, not the later message: messages of different releases are processed in no fixed order. Within
    a release, rule 8 decides.
    """
    if pointer.release_id is None or pointer.deployed_at is None or pointer.release_id == release.id:
        return True
    return (target.deployed_at, release.id) > (pointer.deployed_at, pointer.release_id)


def _activity(state: State, message: Message, data: ActivityRecorded) -> Outcome:
    effects = Effects(state, message)
    release = state.release
    if release is None:
        block = data.release if isinstance(data, ForeignActivity) else None
        if block is None:
            return _not_found(state, message)  # 2
        if (refused := _cannot_create(state, message)) is not None:
            return refused
        release = effects.create_release(data, block, ReleaseStatus.APPROVED)
    mismatch = _organization_mismatch(state, message, release, data.organization_id)
    if mismatch is not None:
        return mismatch  # 3
    target: Deployment | None = None
    if data.environment_id is not None:
        siblings = _siblings(state, data.environment_id, data.config_revision or 1)
        wanted = data.attempt or max((sibling.attempt for sibling in siblings), default=None)
        target = next((sibling for sibling in siblings if sibling.attempt == wanted), None)
    effects.append_custom(release, target, data)
    return Applied(changes=effects.changes())


def _colliding(state: State, message: Message, environment_id: str) -> Rejected | None:
    existing = _colliding_environment(state, environment_id)
    if existing is None:
        return None
    path = pointer(("data", "environment_id"))
    problem = f"{path}: collides with {echo(existing)}, an environment of the release: {DIFFERENCES}"
    return reject(state, message, Reason.INVALID_DATA, joined([problem]))


def _colliding_environment(state: State, environment_id: str) -> str | None:
    """An environment of the release whose id differs, and has the same confusable key."""
    known = {deployment.environment_id for deployment in state.deployments} | state.environments
    return None if environment_id in known else collides(environment_id, sorted(known))


def _siblings(state: State, environment_id: str, config_revision: int) -> list[Deployment]:
    return [
        deployment
        for deployment in state.deployments
        if deployment.environment_id == environment_id and deployment.config_revision == config_revision
    ]
