"""One release's rows in memory: decide an event in their state, write its outcome, decide the next.

A second implementation of what `worker.db.writes` writes, in columns and without a database. `verify` compares the two;
plans of operators' commands predict with it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from types import MappingProxyType
from typing import Any
from uuid import UUID

from schemas.event import Event
from schemas.incoming import DeploymentChange
from schemas.statuses import DeploymentStatus, ReleaseStatus
from worker.rules.advance import advance
from worker.rules.effects import DEPLOYMENT_RUN
from worker.rules.identity import activity_ids
from worker.rules.message import Message
from worker.rules.rows import (
    Activity,
    BaseRevision,
    Deployment,
    DeploymentMove,
    EnvironmentPointer,
    NewDeployment,
    NewRelease,
    Rejection,
)
from worker.rules.rows import Release as ReleaseState
from worker.rules.state import Applied, Changes, Duplicate, Outcome, Rejected, Stale, State
from worker.stored_rows import ReleaseRows, Row, version_of

_DEFAULTS = {"comment": None, "config_mapping_revision": 0, "schema_based_config_revision": 0, "api_settings": None}


class ReleaseSimulation:
    """The rows of one release; also the state in which its next event is decided. `rejections`: those that are there
    before the first event.
    """

    def __init__(self, rejections: Mapping[UUID, Rejection] = MappingProxyType({})) -> None:
        self.release: dict[str, Any] | None = None
        self.versioned = False
        """Whether an activity so far names the release's version: then all later changes do."""
        self.deployments: dict[UUID, dict[str, Any]] = {}
        self.base_revisions: Counter[BaseRevision] = Counter()
        self.activities: dict[UUID, tuple[Activity, ...]] = {}
        """Those of decided events, by event, in the order of the events."""
        self.rejections: dict[UUID, Rejection] = dict(rejections)
        self._stored: Mapping[UUID, Activity] = MappingProxyType({})
        self._state = State()
        """The release and its deployments, without what concerns one event."""

    @property
    def runs(self) -> Mapping[UUID, int | None]:
        """The attempts of runs, by the id of their activity."""
        return self._state.runs

    @property
    def version(self) -> int | None:
        return self._state.release_version

    @classmethod
    def of(cls, rows: ReleaseRows, rejections: Mapping[UUID, Rejection] = MappingProxyType({})) -> "ReleaseSimulation":
        """Begin with stored rows. `rejections`: of the events to decide, by id.

        Raises:
            ValueError: a status is none of the worker's.
        """
        simulation = cls(rejections)
        simulation.release = dict(rows.release)
        simulation.versioned = rows.version is not None
        simulation._state = State(
            release=_release(rows.release),
            release_version=rows.version,
            deployments=tuple(map(deployment_of, rows.deployments)),
        )
        attempts = {row["id"]: row["attempt"] for row in rows.deployments}
        runs = [one for one in rows.activities if one.activity_type == DEPLOYMENT_RUN]
        simulation._state = replace(
            simulation._state,
            runs={one.id: None if one.deployment_id is None else attempts.get(one.deployment_id) for one in runs},
        )
        simulation.deployments = {row["id"]: dict(row) for row in rows.deployments}
        simulation.base_revisions = Counter(map(_base_revision, rows.base_revisions))
        simulation._stored = {activity.id: activity for activity in rows.activities}
        return simulation

    def copy(self) -> "ReleaseSimulation":
        other = ReleaseSimulation()
        other.release = self.release and dict(self.release)
        other.versioned = self.versioned
        other.deployments = {key: dict(row) for key, row in self.deployments.items()}
        other.base_revisions = Counter(self.base_revisions)
        other.activities, other.rejections = dict(self.activities), dict(self.rejections)
        other._stored, other._state = self._stored, self._state
        return other

    def state(self, message: Message, *, number_taken: bool) -> State:
        return replace(
            self._state,
            activities=_own(self.activities.get(message.id, ())) or self._stored_activities(message),
            rejection=self.rejections.get(message.id),
            corrected=None if message.corrects is None else self.rejections.get(message.corrects),
            number_taken=number_taken and self._state.release is None,
            pointer=_unset_pointer(message),
        )

    def _stored_activities(self, message: Message) -> tuple[Activity, ...]:
        content = message.content
        if message.id not in self._stored or content.source is None or content.id is None:
            return ()
        ids = activity_ids(source=content.source, event_id=content.id)
        return tuple(self._stored[id_] for id_ in ids if id_ in self._stored)

    def write(self, outcome: Outcome, event: UUID) -> None:
        match outcome:
            case Applied(changes=changes) | Stale(changes=changes):
                self._write(changes, event)
            case Rejected(rejection=rejection):
                known = self.rejections.get(event)
                self.rejections[event] = replace(rejection, created_at=known.created_at) if known else rejection
            case Duplicate():
                pass

    def _write(self, changes: Changes, event: UUID) -> None:
        self._state = advance(self._state, changes)
        if changes.release_version is not None:
            self.versioned = self.versioned or version_of(changes.activities[0]) is not None
        if changes.new_release is not None:
            self._create(changes.new_release)
        if changes.release_move is not None and self.release is not None:
            move = changes.release_move
            self.release |= {"status": move.status.value, "updated_at": move.updated_at}
        for deployment_move in changes.deployment_moves:
            self._move(deployment_move)
        if changes.new_deployment is not None:
            self._open(changes.new_deployment)
        self.activities[event] = changes.activities
        for one in changes.resolved:
            if (resolved := self.rejections.get(one.rejection_id)) is not None:  # else of another release's event
                self.rejections[resolved.id] = replace(resolved, resolved_at=one.resolved_at)

    def _create(self, new: NewRelease) -> None:
        release = new.release
        self.release = {
            "id": release.id,
            "created_at": new.created_at,
            "updated_at": new.created_at,
            "release_date": release.release_date,
            "release_number": release.release_number,
            "project_id": release.project_id,
            "description": new.description,
            "status": release.status.value,
            "organization_id": release.organization_id,
            "created_by": new.created_by,
            "metadata": new.metadata,
            "component_id": release.component_id,
            "deployment_track_id": release.deployment_track_id,
            "commit_hash": release.commit_hash,
            "image_tag": release.image_tag,
        }
        self.base_revisions = Counter(new.base_revisions)

    def _open(self, new: NewDeployment) -> None:
        opened = new.deployment
        given = {name: value for name, value in asdict(new.optional_fields).items() if value is not None}
        self.deployments[opened.id] = {
            "id": opened.id,
            "created_at": opened.created_at,
            "release_mgt_id": new.release_id,
            "environment_id": opened.environment_id,
            "attempt": opened.attempt,
            "config_revision": opened.config_revision,
            **_changing(opened),
            **_DEFAULTS,
            **given,
        }

    def _move(self, move: DeploymentMove) -> None:
        moved = move.deployment
        given = {name: value for name, value in asdict(move.optional_fields).items() if value is not None}
        self.deployments[moved.id] |= {**_changing(moved), **given}


def _own(activities: tuple[Activity, ...]) -> tuple[Activity, ...]:
    """Without the entry of a run, which has no id of the event."""
    return tuple(activity for activity in activities if activity.activity_type != DEPLOYMENT_RUN)


def _unset_pointer(message: Message) -> EnvironmentPointer | None:
    """As if each environment had a row without a deployment; `worker.verify.pointers` checks the real rows."""
    data = message.content.data if isinstance(message.content, Event) else None
    if not isinstance(data, DeploymentChange):
        return None
    return EnvironmentPointer(environment_id=data.environment_id, deployment_id=None)


def _changing(deployment: Deployment) -> dict[str, Any]:
    return {
        "updated_at": deployment.updated_at,
        "status": deployment.status.value,
        "deployed_at": deployment.deployed_at,
        "deployed_by": deployment.deployed_by,
    }


def _release(row: Row) -> ReleaseState:
    names = (field.name for field in fields(ReleaseState) if field.name != "status")
    return ReleaseState(status=ReleaseStatus(row["status"]), **{name: row[name] for name in names})


def deployment_of(row: Row) -> Deployment:
    """Raises ValueError: its status is none of the worker's."""
    names = (field.name for field in fields(Deployment) if field.name != "status")
    return Deployment(status=DeploymentStatus(row["status"]), **{name: row[name] for name in names})


def _base_revision(row: Row) -> BaseRevision:
    return BaseRevision(**{field.name: row[field.name] for field in fields(BaseRevision)})
