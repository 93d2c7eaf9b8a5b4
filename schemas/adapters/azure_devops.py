"""Azure DevOps service hooks: classic releases, YAML pipelines and builds.

Sources: Microsoft's reference of service hook events, and the payload types of OpenTelemetry's Azure DevOps receiver,
which have the members that the reference leaves out. See docs/reference/sources/azure-devops.md.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.adapters.azure_releases import approval_changed, deployment_completed, deployment_started
from schemas.adapters.azure_resource import SEND_ALL, Change, location_of, source_of
from schemas.adapters.fields import commit_of, line, member, required, text, time_at
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
from schemas.adapters.repositories import derived_id
from schemas.adapters.repository_urls import repository_of
from schemas.types import EventType

FORMAT: Final = Format.AZURE_DEVOPS

RUN_RESULTS: Final[Mapping[str, EventType]] = {
    "succeeded": EventType.DEPLOYMENT_SUCCEEDED,
    "partiallysucceeded": EventType.DEPLOYMENT_SUCCEEDED,
    "succeededwithissues": EventType.DEPLOYMENT_SUCCEEDED,
    "failed": EventType.DEPLOYMENT_FAILED,
    "canceled": EventType.DEPLOYMENT_CANCELLED,
    "stopped": EventType.DEPLOYMENT_CANCELLED,
    "rejected": EventType.DEPLOYMENT_CANCELLED,  # by an approver, or by a check
    "abandoned": EventType.DEPLOYMENT_CANCELLED,
}
"""Results of runs, stages and builds. A stage that was `skipped` is of no interest."""

STATES: Final[Mapping[str, EventType]] = {
    "waiting": EventType.DEPLOYMENT_REQUESTED,
    "pending": EventType.DEPLOYMENT_REQUESTED,
    "running": EventType.DEPLOYMENT_STARTED,
    "inprogress": EventType.DEPLOYMENT_STARTED,
}
"""States of runs and stages before `completed`."""

_UNCHANGED_STATES: Final = frozenset({"notstarted", "canceling", "cancelling", "postponed", "unknown"})
_NO_RESULTS: Final = frozenset({"none", "skipped"})

_KINDS: Final[Mapping[str, str]] = {
    "git.": "git",
    "tfvc.": "tfvc",
    "workitem.": "workitem",
    "ms.vss-code.": "git",
    "ms.vss-release.release-": "release",
    "ms.vss-pipelinechecks": "approval",
    "ms.vss-pipelines.job-": "job",
    "manualintervention.": "approval",
    "ms.vss-release.deployment-mi-": "approval",
    "agentqueue.": "agents",
    "elasticagentpool.": "agents",
    "ms.vss-alerts.": "alert",
    "ms.vss-endpoints": "connection",
    "message.": "message",
}
"""The kinds of events without interest, by the beginning of their names."""
_OTHER: Final = "other"

_DEFAULT_STAGE: Final = "__default"
"""Of a pipeline without stages."""


def has_type(type_: str) -> bool:  # noqa: ARG001 - one signature for all adapters
    return False


def has_headers(headers: Mapping[str, str]) -> bool:  # noqa: ARG001 - likewise: the vendor documents none
    return False


def has_shape(body: Mapping[str, Any]) -> bool:
    return isinstance(body.get("eventType"), str) and isinstance(body.get("publisherId"), str)


def adapt(record: ForeignRecord) -> Adapted:
    """Raises Unreadable."""
    body = record.body
    given = required(body, "eventType")
    # Newer pages of Microsoft's reference spell the prefix so.
    name = given.lower().replace("ms.azure-devops-", "ms.vss-")
    if name not in _READERS:
        return NoInterest(
            format=FORMAT, kind=next((kind for prefix, kind in _KINDS.items() if name.startswith(prefix)), _OTHER)
        )
    kind, reader = _READERS[name]
    if not isinstance(body.get("resource"), Mapping):
        raise Unreadable(f"/resource: is missing; {SEND_ALL}")
    change = reader(body)
    if change is None:
        return NoInterest(format=FORMAT, kind=kind)
    scope = {**location_of(body), **change.scope}
    return ForeignEvent(
        format=FORMAT,
        type=change.type,
        source=source_of(body),
        id=required(body, "id"),
        time=time_at(body, "createdDate") or record.time,
        original=Original(type=given, id=change.original_id, status=change.status, url=change.url, actor=change.actor),
        run=change.run,
        scope={field: value for field, value in scope.items() if value},
        artifact=change.artifact,
        actor=change.actor,
        comment=line(body, "message", "text"),
        activity_type=change.activity_type,
        optional=change.optional,
    )


def _run_changed(body: Mapping[str, Any]) -> Change | None:
    type_, status = _change(body, "run")
    if type_ is None:
        return None
    run_id = _run_id(body)
    return Change(
        type=type_,
        original_id=f"run/{run_id}",
        status=status,
        run=_run(body, run_id),
        scope=_run_scope(body),
        artifact=_run_artifact(body),
        url=line(body, "resource", "run", "_links", "web", "href") or line(body, "resource", "run", "url"),
        actor=line(body, "resource", "requestedFor", "displayName"),
        optional=True,
    )


def _stage_changed(body: Mapping[str, Any]) -> Change | None:
    type_, status = _change(body, "stage")
    if type_ is None:
        return None
    name = required(body, "resource", "stage", "name")
    run_id, attempt = _run_id(body), text(body, "resource", "stage", "attempt") or "1"
    return Change(
        type=type_,
        original_id=f"run/{run_id}/stage/{name}",
        status=status,
        run=derived_id("run", run_id, "attempt", attempt, "stage", name),
        scope={**_run_scope(body), "environment": name if name != _DEFAULT_STAGE else None},
        artifact=_run_artifact(body),
        url=line(body, "resource", "stage", "_links", "web", "href"),
        actor=line(body, "resource", "requestedFor", "displayName"),
        optional=True,
    )


def _change(body: Mapping[str, Any], subject: str) -> tuple[EventType | None, str]:
    """The type of our event and the source's word; None: no change of a deployment. Raises Unreadable."""
    state = text(body, "resource", subject, "state")
    if state is None:
        raise Unreadable(f"/resource/{subject}/state: is missing; {SEND_ALL}")
    if state.lower() in _UNCHANGED_STATES:
        return None, state
    if state.lower() != "completed":
        type_ = STATES.get(state.lower())
        if type_ is None:
            raise Unreadable(f"/resource/{subject}/state: is none of {', '.join(STATES)}, completed")
        return type_, state
    result = text(body, "resource", subject, "result")
    if result is None:
        raise Unreadable(f"/resource/{subject}/result: is missing")
    return _by_result(result, f"/resource/{subject}/result"), result


def _by_result(result: str, pointer: str) -> EventType | None:
    if result.lower() in _NO_RESULTS:
        return None
    type_ = RUN_RESULTS.get(result.lower())
    if type_ is None:
        raise Unreadable(f"{pointer}: is none of {', '.join(RUN_RESULTS)}")
    return type_


def _run_id(body: Mapping[str, Any]) -> str:
    run_id = text(body, "resource", "run", "id") or text(body, "resource", "runId")
    if run_id is None:
        raise Unreadable(f"/resource/run/id: is missing; {SEND_ALL}")
    return run_id


def _run(body: Mapping[str, Any], run_id: str) -> str:
    """A run whose failed stages run again ends again: from the second attempt on, the attempt is part of the key."""
    stages = member(body, "resource", "stages")
    attempts = [member(stage, "attempt") for stage in stages] if isinstance(stages, list) else []
    attempt = max((one for one in attempts if isinstance(one, int)), default=1)
    return derived_id("run", run_id, "attempt", str(attempt)) if attempt > 1 else derived_id("run", run_id)


def _run_artifact(body: Mapping[str, Any]) -> Artifact:
    """The commit of the pipeline's own repository; older servers do not send it, and the run's name stands for it."""
    commit = commit_of(line(body, "resource", "run", "resources", "repositories", "self", "version")) or commit_of(
        line(_own_repository(body), "change", "version")
    )
    return Artifact(commit=commit, tag=line(body, "resource", "run", "name") if commit is None else None)


def _own_repository(body: Mapping[str, Any]) -> object:
    """The repository with the alias `self`; the only one, where no alias is given."""
    given = member(body, "resource", "repositories")
    repositories = given if isinstance(given, list) else []
    own = next((one for one in repositories if member(one, "alias") == "self"), None)
    if own is None and len(repositories) == 1 and member(repositories[0], "alias") is None:
        return repositories[0]
    return own


def _run_scope(body: Mapping[str, Any]) -> Mapping[str, str | None]:
    own = _own_repository(body)
    return {
        "pipeline": line(body, "resource", "pipeline", "name") or line(body, "resource", "run", "pipeline", "name"),
        "repository": repository_of(line(own, "url")),
        "branch": _branch(line(body, "resource", "run", "resources", "repositories", "self", "refName")),
    }


def _build_completed(body: Mapping[str, Any]) -> Change | None:
    """A build and a run of a YAML pipeline with the same id are the same."""
    result = text(body, "resource", "result") or text(body, "resource", "status")  # XAML builds have no result
    if result is None:
        raise Unreadable(f"/resource/result: is missing; {SEND_ALL}")
    type_ = _by_result(result, "/resource/result")
    if type_ is None:
        return None
    build_id = required(body, "resource", "id")
    version = (
        line(body, "resource", "sourceVersion") or (line(body, "resource", "sourceGetVersion") or "").rpartition(":")[2]
    )
    commit = commit_of(version)
    return Change(
        type=type_,
        original_id=f"build/{build_id}",
        status=result,
        run=derived_id("run", build_id),
        scope={
            "pipeline": line(body, "resource", "definition", "name"),
            "repository": line(body, "resource", "repository", "name"),
            "branch": _branch(line(body, "resource", "sourceBranch")),
        },
        artifact=Artifact(commit=commit, tag=line(body, "resource", "buildNumber") if commit is None else None),
        url=line(body, "resource", "_links", "web", "href") or line(body, "resource", "url"),
        actor=line(body, "resource", "requestedFor", "displayName"),
        optional=True,
    )


def _branch(reference: str | None) -> str | None:
    return reference.removeprefix("refs/heads/") if reference is not None else None


_READERS: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Change | None]]]] = {
    "ms.vss-release.deployment-started-event": ("deployment", deployment_started),
    "ms.vss-release.deployment-completed-event": ("deployment", deployment_completed),
    "ms.vss-release.deployment-approval-pending-event": ("approval", approval_changed),
    "ms.vss-release.deployment-approval-completed-event": ("approval", approval_changed),
    "ms.vss-pipelines.run-state-changed-event": ("run", _run_changed),
    "ms.vss-pipelines.stage-state-changed-event": ("stage", _stage_changed),
    "build.complete": ("build", _build_completed),
}
"""The kind, and what reads the resource."""
