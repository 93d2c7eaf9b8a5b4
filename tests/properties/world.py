"""A database in memory: it holds the rows that `decide` writes, and refuses rows that the contract forbids.

It replaces the rows only, so that tests can run whole sequences of events through `decide`; the real stores have tests
of their own. The guards are written from the contract, not taken from the code under test.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from schemas.confusables import confusable_key
from schemas.event import Event
from schemas.incoming import DeploymentChange, ReleaseCreated, ReleaseFields
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.types import EventType
from worker.rules.decide import decide
from worker.rules.identity import activity_ids
from worker.rules.message import Message
from worker.rules.rows import (
    Activity,
    Deployment,
    DeploymentMove,
    EnvironmentPointer,
    EnvironmentPointerMove,
    NewDeployment,
    NewRelease,
    OptionalFields,
    Rejection,
    Release,
    ReleaseMove,
)
from worker.rules.state import Applied, Changes, Duplicate, Outcome, Rejected, Stale, State

ACTIVITIES_MAX = 4
ACTIVE = ("PENDING", "IN_PROGRESS")
DEPLOYMENT_MACHINE: Mapping[str, str] = {
    "PENDING": "IN_PROGRESS SUCCESS FAILED CANCELLED",
    "IN_PROGRESS": "SUCCESS FAILED CANCELLED ROLLED_BACK",
    "SUCCESS": "ROLLED_BACK",
    "FAILED": "ROLLED_BACK",
    "CANCELLED": "",
    "ROLLED_BACK": "",
}
RELEASE_MACHINE: Mapping[str, str] = {
    "DRAFT": "IN_REVIEW",
    "IN_REVIEW": "APPROVED REJECTED DRAFT",
    "REJECTED": "DRAFT IN_REVIEW",
    "APPROVED": "DEPLOYING DEPLOYED FAILED ROLLED_BACK",
    "DEPLOYING": "DEPLOYED FAILED ROLLED_BACK APPROVED",
    "DEPLOYED": "DEPLOYING FAILED ROLLED_BACK",
    "FAILED": "DEPLOYING DEPLOYED ROLLED_BACK",
    "ROLLED_BACK": "DEPLOYING DEPLOYED FAILED",
}

PointerKey = tuple[str, UUID, str]
NumberKey = tuple[date, int, UUID, str]


class GuardFailed(AssertionError):
    """A write that a database would refuse."""


def guard(holds: bool, what: str) -> None:
    if not holds:
        raise GuardFailed(what)


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A `releases` row with its base revisions: as inserted, its current values, and the time of its last change."""

    inserted: NewRelease
    release: Release
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    release_id: UUID
    deployment: Deployment
    created_at: datetime
    optional_fields: OptionalFields


class World:
    """The tables. `environments` are those that have an `app_environments` row, for any component and track."""

    def __init__(self, *, environments: Iterable[str] = ()) -> None:
        self.environments = frozenset(environments)
        self.releases: dict[UUID, ReleaseRow] = {}
        self.versions: dict[UUID, int] = {}
        self.deployments: dict[UUID, DeploymentRow] = {}
        self.activities: dict[UUID, Activity] = {}
        self.rejections: dict[UUID, Rejection] = {}
        self.pointers: dict[PointerKey, EnvironmentPointerMove] = {}
        self._attempts: dict[UUID, list[UUID]] = defaultdict(list)
        self._numbers: dict[NumberKey, UUID] = {}

    def take(self, message: Message) -> Outcome:
        """One message's transaction."""
        outcome = decide(self.load(message), message)
        self.write(outcome)
        return outcome

    def load(self, message: Message) -> State:
        content = message.content
        if content.source is not None and content.id is not None:
            ids = activity_ids(source=content.source, event_id=content.id)
            activities = tuple(self.activities[activity_id] for activity_id in ids if activity_id in self.activities)
            if activities:
                known = self.releases.get(content.data.release_id) if isinstance(content, Event) else None
                return State(
                    activities=activities,
                    release=known.release if known else None,
                    deployments=self.attempts(known.release.id) if known else (),
                )
        rejection = self.rejections.get(message.id)
        if not isinstance(content, Event) or (rejection is not None and not message.redrive):
            return State(rejection=rejection)
        row = self.releases.get(content.data.release_id)
        block = _block(content)
        taken = row is None and block is not None and _number(block) in self._numbers
        return State(
            rejection=rejection,
            corrected=None if message.corrects is None else self.rejections.get(message.corrects),
            release=row.release if row else None,
            release_version=self.versions.get(row.release.id) if row else None,
            number_taken=taken,
            deployments=self.attempts(row.release.id) if row else (),
            pointer=self._pointer(content, row.release if row else block),
        )

    def attempts(self, release_id: UUID) -> tuple[Deployment, ...]:
        return tuple(self.deployments[row_id].deployment for row_id in self._attempts[release_id])

    def _pointer(self, event: Event, release: Release | ReleaseFields | None) -> EnvironmentPointer | None:
        data = event.data
        if event.type is not EventType.DEPLOYMENT_SUCCEEDED or release is None:
            return None
        if not isinstance(data, DeploymentChange) or data.environment_id not in self.environments:
            return None
        key = (data.environment_id, release.component_id, release.deployment_track_id)
        return self.pointer(data.environment_id, self.pointers.get(key))

    def pointer(self, environment_id: str, move: EnvironmentPointerMove | None) -> EnvironmentPointer:
        """The pointer of an `app_environments` row after `move`; empty for None."""
        if move is None:
            return EnvironmentPointer(environment_id=environment_id, deployment_id=None)
        row = self.deployments[move.deployment_id]
        return EnvironmentPointer(
            environment_id=environment_id,
            deployment_id=str(move.deployment_id),
            release_id=move.release_id,
            deployed_at=row.deployment.deployed_at,
        )

    def write(self, outcome: Outcome) -> None:
        match outcome:
            case Applied(changes=changes):
                self._write_changes(changes)
            case Stale(changes=changes):
                moved = replace(changes, activities=(), resolved=())
                guard(moved == Changes(), "a stale event changes something beside the log")
                guard(len(changes.activities) == 1, "a stale event has not exactly one entry")
                self._write_changes(changes)
            case Rejected(rejection=rejection, again=again):
                self._write_rejection(rejection, again=again)
            case Duplicate(activities=activities, rejection=rejection):
                guard(bool(activities) != (rejection is not None), "a duplicate of nothing, or of two things")

    def _write_version(self, changes: Changes) -> None:
        """0 when the release is created, +1 with every event that changes the release or a deployment of it."""
        changed = [changes.release_move, changes.new_deployment, *changes.deployment_moves]
        if changes.new_release is None and not any(changed):
            guard(changes.release_version is None, "a version without a change")
            return
        release_id = changes.activities[0].release_id
        before = -1 if changes.new_release is not None else self.versions.get(release_id, 0)
        steps = (changes.new_release is not None) + any(changed)
        guard(changes.release_version == before + steps, f"version {changes.release_version} after {before}")
        self.versions[release_id] = before + steps

    def write_changes(self, changes: Changes) -> None:
        if changes.rejection is not None:
            self._write_rejection(changes.rejection, again=changes.rejected_before)
        else:
            self._write_changes(changes)

    def _write_changes(self, changes: Changes) -> None:
        self._write_version(changes)
        if changes.new_release is not None:
            self._insert_release(changes.new_release)
        for move in changes.deployment_moves:
            self._move_deployment(move)
        if changes.new_deployment is not None:
            self._insert_deployment(changes.new_deployment)
        if changes.release_move is not None:
            self._move_release(changes.release_move)
        guard(1 <= len(changes.activities) <= ACTIVITIES_MAX, f"{len(changes.activities)} entries")
        for activity in changes.activities:
            self._append(activity)
        if changes.pointer_move is not None:
            self._move_pointer(changes.pointer_move)
        for resolved in changes.resolved:
            rejection = self.rejections[resolved.rejection_id]
            guard(rejection.resolved_at is None, "a rejection is resolved twice")
            self.rejections[rejection.id] = replace(rejection, resolved_at=resolved.resolved_at)
        unsettled = self.rejections.get(changes.activities[0].id)
        guard(unsettled is None or unsettled.resolved_at is not None, "an event is both applied and rejected")

    def _insert_release(self, new: NewRelease) -> None:
        release = new.release
        guard(release.id not in self.releases, "the release is known")
        guard(_number(release) not in self._numbers, "the release's number is taken")
        self._numbers[_number(release)] = release.id
        self.releases[release.id] = ReleaseRow(new, release, new.created_at)

    def _move_release(self, move: ReleaseMove) -> None:
        row = self.releases[move.id]
        guard(row.release.status is move.previous, f"the release is {row.release.status}, not {move.previous}")
        guard(move.status in RELEASE_MACHINE[move.previous].split(), f"release: {move.previous} to {move.status}")
        guard(move.updated_at >= row.updated_at, "a release's last event time goes back")
        moved = replace(row.release, status=move.status, updated_at=move.updated_at)
        self.releases[move.id] = replace(row, release=moved, updated_at=move.updated_at)

    def _insert_deployment(self, new: NewDeployment) -> None:
        opened = new.deployment
        guard(new.release_id in self.releases, "an attempt without its release")
        guard(opened.id not in self.deployments, "the attempt's id is known")
        siblings = self.siblings(new.release_id, opened)
        guard(opened.attempt == len(siblings) + 1, f"attempt {opened.attempt} after {len(siblings)}")
        active = [sibling for sibling in siblings if sibling.status in ACTIVE]
        guard(not (active and opened.status in ACTIVE), "a second active attempt")
        said = {name: value for name, value in asdict(new.optional_fields).items() if value is not None}
        defaults: dict[str, Any] = {"config_mapping_revision": 0, "schema_based_config_revision": 0}
        guard(opened.created_at == opened.updated_at, "a new attempt was changed before it was created")
        row = DeploymentRow(new.release_id, opened, opened.created_at, OptionalFields(**(defaults | said)))
        self.deployments[opened.id] = row
        self._attempts[new.release_id].append(opened.id)

    def _move_deployment(self, move: DeploymentMove) -> None:
        moved = move.deployment
        row = self.deployments[moved.id]
        before = row.deployment
        guard(before.status is move.previous, f"the attempt is {before.status}, not {move.previous}")
        guard(moved.status in DEPLOYMENT_MACHINE[move.previous].split(), f"{move.previous} to {moved.status}")
        key = (before.environment_id, before.config_revision, before.attempt)
        guard((moved.environment_id, moved.config_revision, moved.attempt) == key, "an attempt changes its key")
        guard(moved.created_at == before.created_at, "an attempt changes its first event")
        guard(moved.updated_at >= before.updated_at, "an attempt's last event time goes back")
        said = {name: value for name, value in asdict(move.optional_fields).items() if value is not None}
        self.deployments[moved.id] = replace(
            row, deployment=moved, optional_fields=replace(row.optional_fields, **said)
        )

    def siblings(self, release_id: UUID, like: Deployment) -> list[Deployment]:
        """The attempts of one environment and config revision."""
        key = (like.environment_id, like.config_revision)
        return [one for one in self.attempts(release_id) if (one.environment_id, one.config_revision) == key]

    def _append(self, activity: Activity) -> None:
        guard(activity.id not in self.activities, "the entry is known")
        guard(activity.release_id in self.releases, "an entry without its release")
        guard(
            activity.deployment_id is None or activity.deployment_id in self.deployments, "an entry without its attempt"
        )
        self.activities[activity.id] = activity

    def _move_pointer(self, move: EnvironmentPointerMove) -> None:
        guard(move.environment_id in self.environments, "app_environments gets a row")
        deployment, release = self.deployments[move.deployment_id].deployment, self.releases[move.release_id].release
        guard(deployment.status is DeploymentStatus.SUCCESS, "app_environments points at no success")
        guard(deployment.environment_id == move.environment_id, "app_environments points into another environment")
        key = (move.environment_id, move.component_id, move.deployment_track_id)
        guard(key[1:] == (release.component_id, release.deployment_track_id), "another component's or track's pointer")
        before = self.pointers.get(key)
        guard(move.previous == (str(before.deployment_id) if before else None), "app_environments points elsewhere")
        self.pointers[key] = move

    def _write_rejection(self, rejection: Rejection, *, again: bool) -> None:
        known = self.rejections.get(rejection.id)
        guard(again == (known is not None), "`again` is wrong")
        guard(rejection.id not in self.activities, "an event is both rejected and applied")
        self.rejections[rejection.id] = replace(rejection, created_at=known.created_at) if known else rejection

    def tables(self, *, positions: bool = True) -> dict[str, Any]:
        """All rows, for comparison; `positions=False` leaves out the positions of the events in their topics."""
        activities, rejections = list(self.activities.values()), list(self.rejections.values())
        if not positions:
            activities = [replace(activity, activity_data=_unplaced(activity.activity_data)) for activity in activities]
            rejections = [replace(rejection, topic="", partition=0, offset=0) for rejection in rejections]
        return {
            "releases": dict(self.releases),
            "versions": dict(self.versions),
            "deployments": dict(self.deployments),
            "entries": {activity.id: activity for activity in activities},
            "rejections": {rejection.id: rejection for rejection in rejections},
            "pointers": {key: replace(move, previous=None) for key, move in self.pointers.items()},
        }

    def recount(self, release_id: UUID) -> ReleaseStatus:
        """Rule 8 again, written in the simplest way: for each environment, sort and take the last."""
        attempts = [one for one in self.attempts(release_id) if one.status != "CANCELLED"]
        attempts.sort(key=lambda one: (one.updated_at, one.config_revision, one.attempt))
        last = {one.environment_id: str(one.status) for one in attempts}.values()
        if "PENDING" in last or "IN_PROGRESS" in last:
            return ReleaseStatus.DEPLOYING
        if "FAILED" in last:
            return ReleaseStatus.FAILED
        if "SUCCESS" in last:
            return ReleaseStatus.DEPLOYED
        return ReleaseStatus.ROLLED_BACK if "ROLLED_BACK" in last else ReleaseStatus.APPROVED


def _block(event: Event) -> ReleaseFields | None:
    if isinstance(event.data, ReleaseCreated):
        return event.data
    return event.data.release if isinstance(event.data, DeploymentChange) else None


def _number(fields: Release | ReleaseFields) -> NumberKey:
    """The track as SQL Server's unique constraint may compare it."""
    return fields.release_date, fields.release_number, fields.component_id, confusable_key(fields.deployment_track_id)


def _unplaced(activity_data: str) -> str:
    said = json.loads(activity_data)
    del said["record"]
    return json.dumps(said)
