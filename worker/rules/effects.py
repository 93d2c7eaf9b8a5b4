"""What an applied event writes, gathered in the order in which it comes about.

Every change of a status gets its own entry in the activity log, and an entry holds all that its status event needs:
the log is the outbox.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from schemas.event import Event
from schemas.incoming import ActivityRecorded, DeploymentChange, EventData, ReleaseFields
from schemas.json_text import DEPTH_MAX, compact, parse
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.times import format_time
from worker.rules.identity import activity_id, deployment_id
from worker.rules.message import Message
from worker.rules.rows import (
    Activity,
    BaseRevision,
    Deployment,
    DeploymentMove,
    NewDeployment,
    NewRelease,
    Particulars,
    Pointer,
    PointerMove,
    Release,
    ReleaseMove,
)
from worker.rules.state import Changes, Resolved, State

RELEASE_CREATED = "RELEASE_CREATED"
RELEASE_STATUS_CHANGED = "RELEASE_STATUS_CHANGED"
DEPLOYMENT_STATUS_CHANGED = "DEPLOYMENT_STATUS_CHANGED"
EVENT_STALE = "EVENT_STALE"

_NOTHING_SAID = Particulars()


def event_type_of(activity: Activity) -> str | None:
    """The type of the event that made the entry; None where the entry does not say it, as after an edit by hand."""
    try:
        data = activity.said or parse(activity.activity_data.encode(), depth_max=DEPTH_MAX + 1)
        event_type = data["event"]["type"]  # type: ignore[index]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return event_type if isinstance(event_type, str) else None


class Effects:
    """A ledger for one event: rules say what happens, it knows which rows that means."""

    def __init__(self, state: State, message: Message) -> None:
        if not isinstance(message.content, Event):
            raise TypeError("only an event has effects")
        self._state = state
        self._message = message
        self._event = message.content
        self._deployments = {deployment.id: deployment for deployment in state.deployments}
        self._entries: list[Activity] = []
        self._moves: list[DeploymentMove] = []
        self._opened: NewDeployment | None = None
        self._new_release: NewRelease | None = None
        self._release_move: ReleaseMove | None = None
        self._pointer_move: PointerMove | None = None

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """The release's attempts as they are after what was said so far."""
        return tuple(self._deployments.values())

    def changes(self) -> Changes:
        rejection = self._state.rejection
        resolved = None
        if rejection is not None:
            resolved = Resolved(rejection_id=rejection.id, resolved_at=self._message.recorded_at)
        return Changes(
            new_release=self._new_release,
            release_move=self._release_move,
            new_deployment=self._opened,
            deployment_moves=tuple(self._moves),
            activities=tuple(self._entries),
            pointer_move=self._pointer_move,
            resolved=resolved,
        )

    def create_release(self, data: EventData, fields: ReleaseFields, status: ReleaseStatus) -> Release:
        release = Release(
            id=data.release_id,
            organization_id=data.organization_id,
            status=status,
            component_id=fields.component_id,
            deployment_track_id=fields.deployment_track_id,
            release_date=fields.release_date,
            release_number=fields.release_number,
            updated_at=self._at,
        )
        self._new_release = NewRelease(
            release=release,
            created_at=self._at,
            project_id=fields.project_id,
            created_by=fields.created_by,
            description=fields.description,
            commit_hash=fields.commit_hash,
            image_tag=fields.image_tag,
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
        self._move(release, active, DeploymentStatus.CANCELLED, particulars=_NOTHING_SAID)

    def move_deployment(
        self, release: Release, target: Deployment, status: DeploymentStatus, data: DeploymentChange
    ) -> Deployment:
        return self._move(release, target, status, particulars=_particulars(data))

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
        particulars = _particulars(data)
        self._opened = NewDeployment(release_id=release.id, deployment=opened, particulars=particulars)
        self._note_deployment(release, opened, None, particulars.comment)
        return opened

    def point(self, release: Release, target: Deployment, pointer: Pointer) -> None:
        self._pointer_move = PointerMove(
            environment_id=target.environment_id,
            component_id=release.component_id,
            deployment_track_id=release.deployment_track_id,
            previous=pointer.deployment_id,
            release_id=release.id,
            deployment_id=target.id,
            deployment_name=f"{release.name}.{target.attempt}",
        )

    def note_stale(self, release: Release, target: Deployment | None = None) -> None:
        status = target.status if target else release.status
        self._append(EVENT_STALE, release, target, status=status, comment=self._event.data.comment)

    def note_activity(self, release: Release, target: Deployment | None, data: ActivityRecorded) -> None:
        status = target.status if target else release.status
        self._append(data.activity_type, release, target, status=status, comment=data.comment, custom=data)

    def _move(
        self, release: Release, target: Deployment, status: DeploymentStatus, *, particulars: Particulars
    ) -> Deployment:
        updated_at = max(target.updated_at, self._at)
        moved = replace(target, status=status, updated_at=updated_at, **self._deployed(status))
        self._moves.append(DeploymentMove(deployment=moved, previous=target.status, particulars=particulars))
        self._note_deployment(release, moved, target.status, particulars.comment)
        return moved

    def _deployed(self, status: DeploymentStatus) -> dict[str, Any]:
        if status is not DeploymentStatus.SUCCESS:
            return {}
        return {"deployed_at": self._at, "deployed_by": self._event.data.actor}

    def _note_deployment(
        self, release: Release, deployment: Deployment, previous: DeploymentStatus | None, comment: str | None
    ) -> None:
        self._deployments[deployment.id] = deployment
        change = (previous, deployment.status)
        self._append(
            DEPLOYMENT_STATUS_CHANGED, release, deployment, status=deployment.status, change=change, comment=comment
        )

    @property
    def _at(self) -> datetime:
        return self._event.time

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
    ) -> None:
        event, record = self._event, self._message.record
        environment_id = deployment.environment_id if deployment else custom.environment_id if custom else None
        said: dict[str, Any] = {
            "event": {"source": event.source, "id": event.id, "type": event.type, "time": format_time(event.time)},
            "record": {"topic": record.topic, "partition": record.partition, "offset": record.offset},
            "organization_id": release.organization_id,
        }
        if change:
            said["change"] = {"from": change[0], "to": change[1]}
        if deployment:
            said["config_revision"] = deployment.config_revision
            said["attempt"] = deployment.attempt
            if deployment.deployed_at:
                said["deployed_at"] = format_time(deployment.deployed_at)
                said["deployed_by"] = deployment.deployed_by
        elif custom and custom.environment_id is not None:
            said["config_revision"] = custom.config_revision or 1
            said["attempt"] = custom.attempt
        if event.data.actor is not None:
            said["actor"] = event.data.actor
        if comment is not None:
            said["comment"] = comment
        if custom:
            said["data"] = custom.activity_data
        self._entries.append(
            Activity(
                id=activity_id(source=event.source, event_id=event.id, position=len(self._entries)),
                created_at=self._at,
                release_id=release.id,
                deployment_id=deployment.id if deployment else None,
                environment_id=environment_id,
                activity_type=activity_type,
                activity_data=compact(said),
                status=status,
                said=said,
            )
        )


def _particulars(data: DeploymentChange) -> Particulars:
    return Particulars(
        comment=data.comment,
        config_mapping_revision=data.config_mapping_revision,
        schema_based_config_revision=data.schema_based_config_revision,
        api_settings=_json(data.api_settings),
    )


def _json(value: object | None) -> str | None:
    return None if value is None else compact(value)
