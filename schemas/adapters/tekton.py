"""Tekton: PipelineRuns and TaskRuns, in CloudEvents (`dev.tekton.event.pipelinerun.successful.v1`) or bare.

A deployment is one PipelineRun, or one TaskRun that is part of none; its run is the object's uid. The uid with the
event's type is the identity: an event can be sent twice with different ids.
Statuses and reasons: docs/reference/sources/tekton.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from schemas.adapters.fields import Path, line, member, text, time_at
from schemas.adapters.foreign import (
    Adapted,
    Artifact,
    ForeignEvent,
    ForeignRecord,
    Format,
    NoInterest,
    Original,
    Unreadable,
)
from schemas.adapters.kubernetes import ENVIRONMENT, list_at, marker, repository_scope
from schemas.adapters.repositories import derived_id
from schemas.adapters.tekton_artifact import artifact_of, named_value
from schemas.detail import pointer
from schemas.types import EventType

FORMAT: Final = Format.TEKTON

_TYPE: Final = re.compile(r"dev\.tekton\.event\.([a-z]+)\.([a-z]+)\.v[0-9]+")
_WRAPPERS: Final = {"pipelineRun": "pipelinerun", "taskRun": "taskrun", "customRun": "customrun", "run": "customrun"}
_KINDS: Final = {"PipelineRun": "pipelinerun", "TaskRun": "taskrun", "CustomRun": "customrun", "Run": "customrun"}
_BARE: Final = {"pipelinerun": ("pipelineRef", "pipelineSpec"), "taskrun": ("taskRef", "taskSpec")}
"""The members of a `spec` or a `status` that only this kind has: objects can be without `kind`."""

_STATES: Final[Mapping[str, EventType]] = {
    "queued": EventType.DEPLOYMENT_REQUESTED,
    "started": EventType.DEPLOYMENT_STARTED,
    "running": EventType.DEPLOYMENT_STARTED,
    "successful": EventType.DEPLOYMENT_SUCCEEDED,
    "failed": EventType.DEPLOYMENT_FAILED,
}
_UNFINISHED: Final = {"Started": "started", "Running": "running"}
"""The reasons of an unknown condition with an event type of their own; all others are `unknown`."""
_CANCELLED: Final = frozenset(
    {
        "Cancelled",
        "CancelledRunFinally",
        "CancelledRunningFinally",
        "StoppedRunFinally",
        "StoppedRunningFinally",
        "PipelineRunStopping",
        "PipelineRunCancelled",
        "TaskRunCancelled",
    }
)
"""The reasons of a failed run that a user cancelled or stopped, in all versions. A timeout is a failure."""
_TIMES: Final[Mapping[EventType, tuple[tuple[Path, ...], ...]]] = {
    EventType.DEPLOYMENT_REQUESTED: (("metadata", "creationTimestamp"),),
    EventType.DEPLOYMENT_STARTED: (("status", "startTime"),),
}
_END: Final[tuple[Path, ...]] = ("status", "completionTime")
_PIPELINES_AS_CODE: Final = "pipelinesascode.tekton.dev/"
_PART_OF_PIPELINE: Final = ("tekton.dev/pipelineRun", "tekton.dev/pipelineTask", "tekton.dev/pipelineRunUID")
_ENVIRONMENT_NAMES: Final = ("environment", "environment-name", "target-environment", "deployment-environment")
_REPOSITORY_NAMES: Final = ("chains-git-url", "git-url", "repo-url", "repository-url", "git-repo-url")


def has_type(type_: str) -> bool:
    """Of a run, or of Tekton Triggers."""
    return _TYPE.fullmatch(type_) is not None


def has_headers(_headers: Mapping[str, str]) -> bool:
    """Tekton sends no headers but those of CloudEvents."""
    return False


def has_shape(body: Mapping[str, Any]) -> bool:
    """An event's data, or an object of Tekton."""
    version = body.get("apiVersion")
    if isinstance(version, str):
        return version.startswith("tekton.dev/") and _kind_of_bare(body) is not None
    return (len(body) == 1 and any(isinstance(body.get(name), Mapping) for name in _WRAPPERS)) or (
        _kind_of_bare(body) is not None
    )


def _kind_of_bare(body: Mapping[str, Any]) -> str | None:
    """By `kind`, or else by the members that only this kind has beside a condition."""
    kind = body.get("kind")
    if isinstance(kind, str):
        return _KINDS.get(kind)
    if not list_at(body, "status", "conditions"):
        return None
    for name, members in _BARE.items():
        if any(isinstance(member(body, "spec", key) or member(body, "status", key), Mapping) for key in members):
            return name
    return None


def adapt(record: ForeignRecord) -> Adapted:
    """A run's event. The type decides its state; a bare object's condition does."""
    found = _TYPE.fullmatch(record.type or "")
    kind, at = _object(record.body)
    if found is not None and found[1] == "triggers":
        return NoInterest(format=FORMAT, kind="triggers")
    if kind == "customrun" or (found is not None and found[1] not in _BARE):
        return NoInterest(format=FORMAT, kind="customrun")
    if kind is None:
        raise Unreadable("/: has neither pipelineRun nor taskRun, and is no object of these kinds")
    run = _Run(body=record.body, at=at, kind=kind)
    if kind == "taskrun" and run.is_part_of_pipeline:
        return NoInterest(format=FORMAT, kind="taskrun of a pipeline")
    state = found[2] if found is not None else run.state
    type_ = _STATES.get(state)
    if type_ is None:
        return NoInterest(format=FORMAT, kind=f"{kind} unknown")
    return _event(record, run, type_, state)


def _object(body: Mapping[str, Any]) -> tuple[str | None, tuple[Path, ...]]:
    """The object's kind and its path; no kind: there is no object."""
    for name, kind in _WRAPPERS.items():
        if isinstance(body.get(name), Mapping):
            return kind, (name,)
    return _kind_of_bare(body), ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A PipelineRun or a TaskRun, and its path in the body."""

    body: Mapping[str, Any]
    at: tuple[Path, ...]
    kind: str

    @property
    def condition(self) -> tuple[Path, ...]:
        """The path of the condition `Succeeded`, or of no member."""
        path = (*self.at, "status", "conditions")
        for number, one in enumerate(list_at(self.body, *path)):
            if member(one, "type") == "Succeeded":
                return (*path, number)
        return (*path, 0)

    @property
    def reason(self) -> str | None:
        return text(self.body, *self.condition, "reason")

    @property
    def state(self) -> str:
        """What the type of an event about this object would contain."""
        match text(self.body, *self.condition, "status"):
            case None:
                return "queued"
            case "True":
                return "successful"
            case "False":
                return "failed"
            case _:
                return _UNFINISHED.get(self.reason or "", "unknown")

    @property
    def is_part_of_pipeline(self) -> bool:
        """A pipeline's TaskRuns have these labels, and its PipelineRun as owner."""
        metadata = (*self.at, "metadata")
        return any(member(self.body, *metadata, "labels", label) is not None for label in _PART_OF_PIPELINE) or any(
            member(owner, "kind") == "PipelineRun" for owner in list_at(self.body, *metadata, "ownerReferences")
        )

    def marker(self, name: str) -> str | None:
        return marker(self.body, name, *self.at, "metadata")


def _event(record: ForeignRecord, run: _Run, type_: EventType, state: str) -> Adapted:
    if type_ is EventType.DEPLOYMENT_FAILED and run.reason in _CANCELLED:
        type_ = EventType.DEPLOYMENT_CANCELLED
    artifact = artifact_of(record.body, run.at, is_finished=state in {"successful", "failed"})
    if artifact == Artifact():
        return NoInterest(format=FORMAT, kind=f"{run.kind} without artifact")
    source = _source(run, record)
    uid = text(record.body, *run.at, "metadata", "uid")
    if uid is None and record.source is None:
        raise Unreadable(f"{pointer((*run.at, 'metadata', 'uid'))}: is missing")
    identity = uid or source
    scope = _scope(run)
    actor = run.marker(f"{_PIPELINES_AS_CODE}sender")
    return ForeignEvent(
        format=FORMAT,
        type=type_,
        source=source,
        id=derived_id(run.kind, identity, state),
        time=_time(run, type_) or record.time,
        original=Original(
            type=record.type or f"{run.kind}.{state}",
            id=identity,
            status=run.reason or state,
            url=run.marker(f"{_PIPELINES_AS_CODE}log-url"),
            actor=actor,
        ),
        run=identity,
        scope=scope,
        artifact=artifact,
        actor=actor,
        comment=line(record.body, *run.condition, "message"),
        optional="environment" not in scope,
    )


def _source(run: _Run, record: ForeignRecord) -> str:
    """The object's path in Kubernetes, without the API's version: it is the same in events and bare objects."""
    name = text(run.body, *run.at, "metadata", "name")
    if name is None and record.source is not None:
        return record.source
    namespace = text(run.body, *run.at, "metadata", "namespace")
    parts = ("namespaces", namespace or "default", f"{run.kind}s", *([name] if name is not None else []))
    return "/apis/tekton.dev/" + "/".join(quote(part, safe="", errors="replace") for part in parts)


def _time(run: _Run, type_: EventType) -> datetime | None:
    paths = _TIMES.get(type_, (_END, (*run.condition[len(run.at) :], "lastTransitionTime")))
    return next((time for path in paths if (time := time_at(run.body, *run.at, *path)) is not None), None)


def _scope(run: _Run) -> dict[str, str]:
    body, at = run.body, run.at
    pipeline = "tekton.dev/pipeline" if run.kind == "pipelinerun" else "tekton.dev/task"
    reference = "pipelineRef" if run.kind == "pipelinerun" else "taskRef"
    found = {
        "namespace": text(body, *at, "metadata", "namespace"),
        "pipeline": text(body, *at, "spec", reference, "name") or run.marker(pipeline),
        "branch": run.marker(f"{_PIPELINES_AS_CODE}branch"),
        "environment": run.marker(ENVIRONMENT) or named_value(body, at, _ENVIRONMENT_NAMES),
    }
    url = run.marker(f"{_PIPELINES_AS_CODE}repo-url") or named_value(body, at, _REPOSITORY_NAMES)
    return {name: value for name, value in found.items() if value is not None} | repository_scope(url)
