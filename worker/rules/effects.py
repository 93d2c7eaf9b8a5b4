"""The changes to rows that an event causes, collected in order.

Every status change appends an activity. The activity holds all fields of its status event, because the activity log is
the outbox.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from schemas.event import Event
from schemas.incoming import ActivityRecorded, DeploymentChange, EventData, ReleaseFields
from schemas.json_text import DEPTH_MAX, compact, compact_bytes, parse
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.times import format_time
from worker.rules.attempts import counting
from worker.rules.identity import activity_id, deployment_id
from worker.rules.message import Message
from worker.rules.rows import (
    Activity,
    BaseRevision,
    Deployment,
    DeploymentMove,
    EnvironmentPointer,
    EnvironmentPointerMove,
    NewDeployment,
    NewRelease,
    OptionalFields,
    Release,
    ReleaseMove,
)
from worker.rules.state import NO_RUNS, Changes, Resolved, State

RELEASE_CREATED = "RELEASE_CREATED"
RELEASE_STATUS_CHANGED = "RELEASE_STATUS_CHANGED"
DEPLOYMENT_STATUS_CHANGED = "DEPLOYMENT_STATUS_CHANGED"
EVENT_STALE = "EVENT_STALE"
DEPLOYMENT_RUN = "DEPLOYMENT_RUN"
"""Which attempt one deployment of a foreign source has. Beside the event's own entries, with an id of the run's."""

_NO_OPTIONAL_FIELDS = OptionalFields()


def event_type_of(activity: Activity) -> str | None:
    """The type of the activity's event; None if the activity does not have it, as after a manual edit."""
    try:
        data = activity.payload or parse(activity.activity_data.encode(), depth_max=DEPTH_MAX + 1)
        event_type = data["event"]["type"]  # type: ignore[index]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return event_type if isinstance(event_type, str) else None


class Effects:
    """Collects the changes of one event: a method for each effect that a rule has."""

    def __init__(self, state: State, message: Message) -> None:
        if not isinstance(message.content, Event):
            raise TypeError("only an event has effects")
        self._state = state
        self._message = message
        self._event = message.content
        self._deployments = {deployment.id: deployment for deployment in state.deployments}
        self._activities: list[Activity] = []
        self._moves: list[DeploymentMove] = []
        self._opened: NewDeployment | None = None
        self._new_release: NewRelease | None = None
        self._release_move: ReleaseMove | None = None
        self._pointer_move: EnvironmentPointerMove | None = None
        self._release_version: int | None = None
        self._runs: dict[UUID, int | None] = {}
        self._run_activities: list[Activity] = []

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """The release's attempts as they are after the changes so far."""
        return tuple(self._deployments.values())

    def changes(self) -> Changes:
        return Changes(
            release_version=self._release_version,
            new_release=self._new_release,
            release_move=self._release_move,
            new_deployment=self._opened,
            deployment_moves=tuple(self._moves),
            activities=(*self._activities, *self._run_activities),
            pointer_move=self._pointer_move,
            resolved=tuple(self._resolved()),
            runs=self._runs or NO_RUNS,
        )

    def _resolved(self) -> Iterator[Resolved]:
        at, rejection, corrected = self._message.recorded_at, self._state.rejection, self._state.corrected
        if rejection is not None:
            yield Resolved(rejection_id=rejection.id, resolved_at=at)
        # Any publisher can name the id of a rejection: only the same source may resolve it.
        if (
            corrected is not None
            and corrected.resolved_at is None
            and corrected.event_source in {None, self._event.source}
            and corrected.id != self._message.id
        ):
            yield Resolved(rejection_id=corrected.id, resolved_at=at, own=False)

    def create_release(self, data: EventData, fields: ReleaseFields, status: ReleaseStatus) -> Release:
        release = Release(
            id=data.release_id,
            organization_id=data.organization_id,
            status=status,
            project_id=fields.project_id,
            component_id=fields.component_id,
            deployment_track_id=fields.deployment_track_id,
            release_date=fields.release_date,
            release_number=fields.release_number or self._state.next_number or 1,
            commit_hash=fields.commit_hash,
            image_tag=fields.image_tag,
            updated_at=self._at,
        )
        self._new_release = NewRelease(
            release=release,
            created_at=self._at,
            created_by=fields.created_by,
            description=fields.description,
            metadata=_json(fields.metadata),
            base_revisions=tuple(
                BaseRevision(
                    endpoint_name=revision.endpoint_name,
                    api_id=revision.api_id,
                    revision_id=revision.revision_id,
                    access_mode=revision.access_mode,
                )
                for revision in fields.apim_base_revisions
            ),
        )
        self._append(RELEASE_CREATED, release, status=status, change=(None, status), comment=data.comment)
        return release

    def move_release(self, release: Release, status: ReleaseStatus, *, comment: str | None = None) -> None:
        change = (release.status, status)
        self._append(RELEASE_STATUS_CHANGED, release, status=status, change=change, comment=comment)
        if self._new_release is not None:
            self._new_release = replace(self._new_release, release=replace(release, status=status))
        else:
            updated_at = max(release.updated_at, self._at)
            self._release_move = ReleaseMove(
                id=release.id, previous=release.status, status=status, updated_at=updated_at
            )

    def supersede(self, release: Release, active: Deployment) -> None:
        self._move(release, active, DeploymentStatus.CANCELLED, optional_fields=_NO_OPTIONAL_FIELDS, superseded=True)

    def move_deployment(
        self, release: Release, target: Deployment, status: DeploymentStatus, data: DeploymentChange
    ) -> Deployment:
        return self._move(release, target, status, optional_fields=_optional_fields(data))

    def open_deployment(
        self, release: Release, attempt: int, status: DeploymentStatus, data: DeploymentChange
    ) -> Deployment:
        opened = Deployment(
            id=deployment_id(
                release_id=release.id,
                environment_id=data.environment_id,
                config_revision=data.config_revision,
                attempt=attempt,
            ),
            environment_id=data.environment_id,
            config_revision=data.config_revision,
            attempt=attempt,
            status=status,
            created_at=self._at,
            updated_at=self._at,
            **self._deployed(status),
        )
        optional_fields = _optional_fields(data)
        self._opened = NewDeployment(release_id=release.id, deployment=opened, optional_fields=optional_fields)
        self._append_deployment(release, opened, None, optional_fields.comment)
        self.give_attempt(release, opened)
        return opened

    def give_attempt(self, release: Release, deployment: Deployment) -> None:
        """The event's run has this attempt from now on."""
        foreign, state = self._event.foreign, self._state
        for id_ in () if foreign is None else foreign.opens:
            if id_ not in state.runs and id_ not in state.runs_elsewhere:  # a later part of the same run
                self._runs[id_] = deployment.attempt
                self._run_activities.append(self._run_activity(id_, release, deployment))

    def point(self, release: Release, target: Deployment, pointer: EnvironmentPointer) -> None:
        self._pointer_move = EnvironmentPointerMove(
            environment_id=target.environment_id,
            component_id=release.component_id,
            deployment_track_id=release.deployment_track_id,
            previous=pointer.deployment_id,
            release_id=release.id,
            deployment_id=target.id,
            deployment_name=f"{release.name}.{target.attempt}",
        )

    def append_stale(self, release: Release, target: Deployment | None = None) -> None:
        status = target.status if target else release.status
        self._append(EVENT_STALE, release, target, status=status, comment=self._event.data.comment)

    def append_custom(self, release: Release, target: Deployment | None, data: ActivityRecorded) -> None:
        status = target.status if target else release.status
        self._append(data.activity_type, release, target, status=status, comment=data.comment, custom=data)

    def _move(
        self,
        release: Release,
        target: Deployment,
        status: DeploymentStatus,
        *,
        optional_fields: OptionalFields,
        superseded: bool = False,
    ) -> Deployment:
        updated_at = max(target.updated_at, self._at)
        moved = replace(target, status=status, updated_at=updated_at, **self._deployed(status))
        self._moves.append(DeploymentMove(deployment=moved, previous=target.status, optional_fields=optional_fields))
        self._append_deployment(release, moved, target.status, optional_fields.comment, superseded=superseded)
        return moved

    def _deployed(self, status: DeploymentStatus) -> dict[str, Any]:
        if status is not DeploymentStatus.SUCCESS:
            return {}
        return {"deployed_at": self._at, "deployed_by": self._event.data.actor}

    def _append_deployment(
        self,
        release: Release,
        deployment: Deployment,
        previous: DeploymentStatus | None,
        comment: str | None,
        *,
        superseded: bool = False,
    ) -> None:
        self._deployments[deployment.id] = deployment
        self._append(
            DEPLOYMENT_STATUS_CHANGED,
            release,
            deployment,
            status=deployment.status,
            change=(previous, deployment.status),
            comment=comment,
            current=None if superseded else self._counted_instead_of(deployment),
        )

    def _counted_instead_of(self, changed: Deployment) -> Deployment | None:
        """The attempt that the environment of `changed` counts with, if that is another one."""
        environment_id = changed.environment_id
        siblings = [one for one in self._deployments.values() if one.environment_id == environment_id]
        counted = counting(siblings).get(environment_id)
        return None if counted is None or counted.id == changed.id else counted

    @property
    def _at(self) -> datetime:
        return self._event.time

    def _version_after(self, activity_type: str) -> int:
        """0 when a release is created, 1 more with the event's changes of it and its deployments, however many."""
        if activity_type == RELEASE_CREATED:
            return 0
        return 1 if self._new_release is not None else (self._state.release_version or 0) + 1

    def _run_activity(self, id_: UUID, release: Release, opened: Deployment) -> Activity:
        payload = self._origin(release)
        payload |= {"config_revision": opened.config_revision, "attempt": opened.attempt}
        return Activity(
            id=id_,
            created_at=self._at,
            release_id=release.id,
            deployment_id=opened.id,
            environment_id=opened.environment_id,
            activity_type=DEPLOYMENT_RUN,
            activity_data=compact_bytes(payload).decode(),
            status=opened.status,
            payload=payload,
        )

    def _origin(self, release: Release) -> dict[str, Any]:
        """What every activity says of its event."""
        event, record = self._event, self._message.record
        origin: dict[str, Any] = {
            "event": {"source": event.source, "id": event.id, "type": event.type, "time": format_time(event.time)},
            "record": {"topic": record.topic, "partition": record.partition, "offset": record.offset},
            "organization_id": release.organization_id,
        }
        if event.foreign is not None:
            origin["format"] = event.foreign.format
            origin["original"] = asdict(event.foreign.original)
            if event.foreign.run is not None:
                origin["run"] = event.foreign.run
        return origin

    def _append(
        self,
        activity_type: str,
        release: Release,
        deployment: Deployment | None = None,
        *,
        status: str,
        change: tuple[str | None, str] | None = None,
        comment: str | None = None,
        custom: ActivityRecorded | None = None,
        current: Deployment | None = None,
    ) -> None:
        event = self._event
        environment_id = deployment.environment_id if deployment else custom.environment_id if custom else None
        payload = self._origin(release)
        if change:
            payload["change"] = {"from": change[0], "to": change[1]}
            payload["release_version"] = self._release_version = self._version_after(activity_type)
            payload["release"] = _release_block(release)
            if event.trace is not None:
                payload |= {name: text for name, text in event.trace._asdict().items() if text is not None}
        if deployment:
            payload["config_revision"] = deployment.config_revision
            payload["attempt"] = deployment.attempt
            if deployment.deployed_at:
                payload["deployed_at"] = format_time(deployment.deployed_at)
                payload["deployed_by"] = deployment.deployed_by
            if current:
                payload["current"] = current_block(current)
        elif custom and custom.environment_id is not None:
            payload["config_revision"] = custom.config_revision or 1
            payload["attempt"] = custom.attempt
        if event.data.actor is not None:
            payload["actor"] = event.data.actor
        if comment is not None:
            payload["comment"] = comment
        if custom:
            payload["data"] = custom.activity_data
        self._activities.append(
            Activity(
                id=activity_id(source=event.source, event_id=event.id, position=len(self._activities)),
                created_at=self._at,
                release_id=release.id,
                deployment_id=deployment.id if deployment else None,
                environment_id=environment_id,
                activity_type=activity_type,
                activity_data=compact(payload) if custom else compact_bytes(payload).decode(),
                status=status,
                payload=payload,
            )
        )


def _release_block(release: Release) -> dict[str, str | None]:
    """What status events say of the release, in `schemas.outgoing.ReleaseBlock`."""
    return {
        "name": release.name,
        "project_id": str(release.project_id),
        "component_id": str(release.component_id),
        "deployment_track_id": release.deployment_track_id,
        "commit_hash": release.commit_hash,
        "image_tag": release.image_tag,
    }


def current_block(deployment: Deployment) -> dict[str, Any]:
    """What a state says of its deployment, in `schemas.outgoing.DeploymentState`."""
    block: dict[str, Any] = {
        "deployment_id": str(deployment.id),
        "config_revision": deployment.config_revision,
        "attempt": deployment.attempt,
        "status": deployment.status,
    }
    if deployment.deployed_at:
        block |= {"deployed_at": format_time(deployment.deployed_at), "deployed_by": deployment.deployed_by}
    return block


def _optional_fields(data: DeploymentChange) -> OptionalFields:
    return OptionalFields(
        comment=data.comment,
        config_mapping_revision=data.config_mapping_revision,
        schema_based_config_revision=data.schema_based_config_revision,
        api_settings=_json(data.api_settings),
    )


def _json(value: object | None) -> str | None:
    return None if value is None else compact(value)
