"""Argo CD: an Application, from a notification (`{"timestamp", "context", "app"}`, our template included) or bare.

A deployment is one sync operation: its run is the Application's uid and the operation's start. Argo CD notifies of a
state, not of a transition, so that the same state can come again: an id contains only what differs between states.
Statuses and reasons: docs/reference/sources/argocd.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from schemas.adapters.argocd_sources import At, artifact_of, deployed, revisions_of, state_of
from schemas.adapters.fields import line, member, required, text, time_at
from schemas.adapters.foreign import Adapted, Artifact, ForeignEvent, ForeignRecord, Format, NoInterest, Original
from schemas.adapters.kubernetes import ENVIRONMENT, list_at, marker, repository_scope
from schemas.adapters.repositories import derived_id
from schemas.types import EventType

FORMAT: Final = Format.ARGOCD

_KIND: Final = "Application"
_API: Final = "argoproj.io/"
_WEB: Final = ("https://", "http://")
_RUNNING: Final = "Running"
_SUCCEEDED: Final = "Succeeded"
_HEALTHY: Final = "Healthy"
_DEGRADED: Final = "Degraded"
_FAILED: Final = frozenset({"Failed", "Error"})

_TERMINATED: Final = "Operation terminated"
"""The message of an operation that was terminated; its phase is Failed."""
_TIMED_OUT: Final = "triggered by"
"""It follows in that message if the controller terminated the operation because of its timeout."""


def has_type(_type: str) -> bool:
    """Argo CD sends no CloudEvents."""
    return False


def has_headers(_headers: Mapping[str, str]) -> bool:
    """Argo CD sends no header of its own."""
    return False


def has_shape(body: Mapping[str, Any]) -> bool:
    """An Application, or an object that has one in `app`."""
    return any(_is_application(candidate) for candidate in (body, body.get("app")))


def _is_application(value: object) -> bool:
    version = member(value, "apiVersion")
    return member(value, "kind") == _KIND and isinstance(version, str) and version.startswith(_API)


def adapt(record: ForeignRecord) -> Adapted:
    """An Application's last operation, its health, or its removal."""
    body = record.body
    at: At = ("app",) if "app" in body else ()
    if text(body, *at, "kind") not in {None, _KIND}:
        return NoInterest(format=FORMAT, kind="other kind")
    app = _Application.of(body, at)
    if text(body, *at, "metadata", "deletionTimestamp") is not None:
        return _deleted(app)
    phase = text(body, *app.state, "phase")
    if phase is None:
        return NoInterest(format=FORMAT, kind="no operation")
    if member(body, *app.state, "operation", "sync", "dryRun") is True:
        return NoInterest(format=FORMAT, kind="dry run")
    if phase == _SUCCEEDED:
        return _synchronised(app)
    if phase in _FAILED:
        return _failed(app, phase)
    if phase == _RUNNING:
        return _running(app)
    return NoInterest(format=FORMAT, kind="other phase")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Application:
    """An Application in a record. `at`: its path in the body. `state`: the path of its `operationState`."""

    body: Mapping[str, Any]
    at: At
    state: At
    uid: str
    name: str
    url: str

    @classmethod
    def of(cls, body: Mapping[str, Any], at: At) -> "_Application":
        """Raises Unreadable: it has no uid or no name."""
        uid = required(body, *at, "metadata", "uid")
        name = required(body, *at, "metadata", "name")
        namespace = text(body, *at, "metadata", "namespace")
        qualified = f"{namespace}/{name}" if namespace is not None else name
        base = (text(body, "context", "argocdUrl") if at else None) or ""
        return cls(
            body=body,
            at=at,
            state=state_of(at),
            uid=uid,
            name=qualified,
            url=(base.rstrip("/") if base.startswith(_WEB) else "")
            + "/applications/"
            + quote(qualified, errors="replace"),
        )

    @property
    def started_at(self) -> str:
        return required(self.body, *self.state, "startedAt")

    @property
    def is_partial(self) -> bool:
        """Some resources alone are synchronised: a selective sync, or a self-heal, which repeats the last revision."""
        return bool(list_at(self.body, *self.state, "operation", "sync", "resources"))

    def operation(self, type_: EventType, phase: str, *, images: bool = False, activity: str | None = None) -> Adapted:
        """An event of the last operation. `images`: see `artifact_of`."""
        started_at = self.started_at
        names = ("startedAt",) if phase == _RUNNING else ("finishedAt", "startedAt")
        return self.event(
            type_,
            derived_id(self.uid, started_at, phase, ",".join(filter(None, revisions_of(self.body, self.at)))),
            time=next((time for name in names if (time := time_at(self.body, *self.state, name)) is not None), None),
            original=Original(
                type="application.sync",
                id=derived_id(self.uid, started_at),
                status=phase,
                url=self.url if self.url.startswith(_WEB) else None,
                actor=text(self.body, *self.state, "operation", "initiatedBy", "username"),
            ),
            comment=line(self.body, *self.state, "message"),
            images=images,
            activity=activity,
        )

    def event(
        self,
        type_: EventType,
        id_: str,
        *,
        time: datetime | None,
        original: Original,
        comment: str | None,
        images: bool = False,
        activity: str | None = None,
    ) -> Adapted:
        """An event; no interest, if it does not name what is deployed."""
        artifact = artifact_of(self.body, self.at, images=images)
        if artifact == Artifact():
            return NoInterest(format=FORMAT, kind="no revision")
        return ForeignEvent(
            format=FORMAT,
            type=type_,
            source=self.url,
            id=id_,
            time=time,
            original=original,
            run=original.id if activity is None else None,
            scope=_scope(self),
            artifact=artifact,
            actor=original.actor,
            comment=comment,
            activity_type=activity,
        )


def _running(app: _Application) -> Adapted:
    """The operation has started; or its manifests are applied and not healthy yet, which is the same status."""
    if app.is_partial:
        return NoInterest(format=FORMAT, kind="partial sync")
    return app.operation(EventType.DEPLOYMENT_STARTED, _RUNNING)


def _synchronised(app: _Application) -> Adapted:
    """The manifests are applied. The deployment has succeeded once the Application is healthy."""
    health = text(app.body, *app.at, "status", "health", "status")
    if health == _DEGRADED:
        return _degraded(app)
    if app.is_partial:
        return app.operation(EventType.ACTIVITY_RECORDED, _SUCCEEDED, activity="ARGOCD_PARTIAL_SYNC")
    if health not in {None, _HEALTHY}:
        return _running(app)
    return app.operation(EventType.DEPLOYMENT_SUCCEEDED, _SUCCEEDED, images=True)


def _failed(app: _Application, phase: str) -> Adapted:
    if app.is_partial:
        return app.operation(EventType.ACTIVITY_RECORDED, phase, activity="ARGOCD_PARTIAL_SYNC")
    message = line(app.body, *app.state, "message") or ""
    by_user = message.startswith(_TERMINATED) and _TIMED_OUT not in message
    return app.operation(EventType.DEPLOYMENT_CANCELLED if by_user else EventType.DEPLOYMENT_FAILED, phase)


def _degraded(app: _Application) -> Adapted:
    health = (*app.at, "status", "health")
    since = text(app.body, *health, "lastTransitionTime")
    return app.event(
        EventType.ACTIVITY_RECORDED,
        derived_id(app.uid, "health", _DEGRADED, since or app.started_at),
        time=time_at(app.body, *health, "lastTransitionTime") or time_at(app.body, *app.state, "finishedAt"),
        original=Original(type="application.health", id=app.uid, status=_DEGRADED),
        comment=line(app.body, *health, "message"),
        activity="ARGOCD_HEALTH_DEGRADED",
    )


def _deleted(app: _Application) -> Adapted:
    return app.event(
        EventType.ACTIVITY_RECORDED,
        derived_id(app.uid, "deleted"),
        time=time_at(app.body, *app.at, "metadata", "deletionTimestamp"),
        original=Original(type="application.deleted", id=app.uid),
        comment=None,
        activity="ARGOCD_APPLICATION_DELETED",
    )


def _scope(app: _Application) -> dict[str, str]:
    body, at = app.body, app.at
    source, _ = deployed(body, at)
    found = {
        "application": app.name,
        "project": text(body, *at, "spec", "project"),
        "namespace": text(body, *at, "spec", "destination", "namespace"),
        "cluster": text(body, *at, "spec", "destination", "name") or text(body, *at, "spec", "destination", "server"),
        "environment": marker(body, ENVIRONMENT, *at, "metadata"),
    }
    scope = {name: value for name, value in found.items() if value is not None}
    if text(body, *source, "chart") is not None:
        return scope
    return scope | repository_scope(text(body, *source, "repoURL"))
