"""Jenkins: the CDEvents plugin (of CDEvents SDK 0.1) and the notification plugin.

Sources: the plugins' source text (`BuildCDEvent`, `ModelBuilder`; `Phase`, `BuildState`). Newer versions of the
CDEvents plugin write CDEvents, which `schemas.adapters.cdevents` reads. See docs/reference/sources/jenkins.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

from schemas.adapters.fields import commit_of, line, member, required, split_image, text, time_at, unix_time_at
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
from schemas.adapters.package_urls import is_identified
from schemas.adapters.repositories import derived_id, host_of
from schemas.adapters.repository_urls import repository_of
from schemas.types import EventType

FORMAT: Final = Format.JENKINS

_CDEVENTS: Final = "dev.cdevents."
_MILLISECONDS: Final = 1_000

RESULTS: Final[Mapping[str, EventType]] = {
    "SUCCESS": EventType.DEPLOYMENT_SUCCEEDED,
    "UNSTABLE": EventType.DEPLOYMENT_SUCCEEDED,  # it ran to its end
    "FAILURE": EventType.DEPLOYMENT_FAILED,
    "FAILED": EventType.DEPLOYMENT_FAILED,
    "ERROR": EventType.DEPLOYMENT_FAILED,
    "ABORTED": EventType.DEPLOYMENT_CANCELLED,
    "CANCEL": EventType.DEPLOYMENT_CANCELLED,
    "NOT_BUILT": EventType.DEPLOYMENT_CANCELLED,
}
"""Jenkins' results; `FAILED` is in the notification plugin's manual, `ERROR` and `CANCEL` are outcomes of CDEvents."""

_STARTS: Final[Mapping[str, EventType]] = {
    "QUEUED": EventType.DEPLOYMENT_REQUESTED,
    "STARTED": EventType.DEPLOYMENT_STARTED,
}
_ENDS: Final = frozenset({"COMPLETED", "FINALIZED"})
_NO_PHASE: Final = "NONE"
_PHASES: Final = frozenset({*_STARTS, *_ENDS, _NO_PHASE})

ENVIRONMENT_PARAMETERS: Final = ("ENVIRONMENT", "DEPLOY_ENV", "TARGET_ENV")
"""Build parameters that name the environment, in any case; the first one that is set counts."""
IMAGE_PARAMETERS: Final = ("IMAGE",)
TAG_PARAMETERS: Final = ("IMAGE_TAG", "VERSION")
COMMIT_PARAMETERS: Final = ("GIT_COMMIT",)

_PLUGIN_MEMBERS: Final = (("build", Mapping), ("stageName", str), ("causes", list))

_NOTIFICATION: Final = "notification"
_OTHER: Final = "other"
_KINDS: Final = frozenset({"pipelinerun.queued", "taskrun.started", "taskrun.finished"})


def has_type(type_: str) -> bool:  # noqa: ARG001 - one signature for all adapters; the types are those of CDEvents
    return False


def has_headers(headers: Mapping[str, str]) -> bool:  # noqa: ARG001 - likewise
    return False


def has_shape(body: Mapping[str, Any]) -> bool:
    phase = member(body, "build", "phase")
    return _is_plugin_event(body) or (
        isinstance(phase, str)
        and phase in _PHASES
        and isinstance(member(body, "build", "number"), int)
        and isinstance(body.get("name"), str)
    )


def has_plugin_data(data: Mapping[str, Any]) -> bool:
    """Data of the CDEvents plugin that is no CDEvent: of a run, of a step or of an item of the queue."""
    is_cdevent = data.get("context") is not None or data.get("subject") is not None
    return not is_cdevent and any(isinstance(data.get(name), of) for name, of in _PLUGIN_MEMBERS)


def adapt(record: ForeignRecord) -> Adapted:
    """Raises Unreadable."""
    if _is_plugin_event(record.body):
        return _plugin_event(record.body, record)
    if record.type is not None and record.type.startswith(_CDEVENTS):
        attributes = {"type": record.type, "id": record.id, "source": record.source}
        return _plugin_event({**attributes, "data": record.body}, record)
    return _notification(record)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """What both plugins say of a build."""

    number: str
    name: str | None
    job_url: str | None
    full_url: str | None
    scm: object
    parameters: object
    actor: str | None = None
    comment: str | None = None


def _is_plugin_event(body: Mapping[str, Any]) -> bool:
    """A structured event of the CDEvents plugin, whose data is no CDEvent."""
    type_ = body.get("type")
    data = body.get("data")
    return (
        isinstance(type_, str)
        and type_.startswith(_CDEVENTS)
        and isinstance(data, Mapping)
        and not isinstance(data.get("context"), Mapping)
    )


def _plugin_event(event: Mapping[str, Any], record: ForeignRecord) -> Adapted:
    type_ = required(event, "type")
    subject, _, rest = type_.removeprefix(_CDEVENTS).partition(".")
    name = f"{subject}.{rest.partition('.')[0]}"
    if name not in ("pipelinerun.started", "pipelinerun.finished"):
        return NoInterest(format=FORMAT, kind=name if name in _KINDS else _OTHER)
    data = ("data", "build")
    status = text(event, *data, "status") or text(event, "outcome")
    build = _Build(
        number=text(event, *data, "number") or required(event, "id"),
        name=line(event, "data", "displayName") or line(event, "pipelinename"),
        job_url=text(event, "data", "url"),
        full_url=text(event, *data, "fullUrl"),
        scm=member(event, *data, "scmState"),
        parameters=member(event, *data, "parameters"),
        actor=line(event, "data", "userName") or line(event, "data", "userId"),
        comment=line(event, "errors"),
    )
    time = time_at(event, "time") or record.time
    if name == "pipelinerun.started":
        return _started(build, "STARTED", original_type=type_, time=time)
    if status is None:
        raise Unreadable("/data/build/status: is missing, as is /outcome")
    return _ended(build, status, "/data/build/status", original_type=type_, time=time)


def _notification(record: ForeignRecord) -> Adapted:
    body = record.body
    phase = required(body, "build", "phase").upper()
    if phase not in _PHASES:
        raise Unreadable(f"/build/phase: is none of {', '.join(sorted(_PHASES))}")
    status = text(body, "build", "status")
    if phase == _NO_PHASE or (phase in _ENDS and status is None):
        return NoInterest(
            format=FORMAT, kind=_NOTIFICATION
        )  # of the step notifyEndpoints, in a build that has not ended
    build = _Build(
        number=required(body, "build", "number"),
        name=line(body, "name"),
        job_url=text(body, "url"),
        full_url=text(body, "build", "full_url"),
        scm=member(body, "build", "scm"),
        parameters=member(body, "build", "parameters"),
        comment=line(body, "build", "notes"),
    )
    time = _timestamp(body) or record.time
    original_type = f"build.{phase.lower()}"
    if phase in _STARTS:
        return _started(build, phase, original_type=original_type, time=time)
    return _ended(build, status or "", "/build/status", original_type=original_type, time=time)


def _timestamp(body: Mapping[str, Any]) -> datetime | None:
    """None also for 0, which the plugin writes where it does not know the time in the queue."""
    if text(body, "build", "timestamp") == "0":
        return None
    return unix_time_at(body, "build", "timestamp", per_second=_MILLISECONDS)


def _started(build: _Build, phase: str, *, original_type: str, time: datetime | None) -> Adapted:
    """A build that has not checked out its source names no commit: without an artifact, nothing can be recorded yet."""
    if not is_identified(_artifact(build)):
        return NoInterest(format=FORMAT, kind=phase.lower())
    return _event(build, _STARTS[phase], phase, status=None, original_type=original_type, time=time)


def _ended(build: _Build, status: str, pointer: str, *, original_type: str, time: datetime | None) -> Adapted:
    type_ = RESULTS.get(status.upper())
    if type_ is None:
        raise Unreadable(f"{pointer}: is none of {', '.join(RESULTS)}")
    return _event(build, type_, status, status=status, original_type=original_type, time=time)


def _event(
    build: _Build, type_: EventType, change: str, *, status: str | None, original_type: str, time: datetime | None
) -> ForeignEvent:
    run = derived_id("build", build.number)
    source = _job_url(build)
    scope = _scope(build, source)
    return ForeignEvent(
        format=FORMAT,
        type=type_,
        source=source,
        id=derived_id(run, change.lower()),
        time=time,
        original=Original(
            type=original_type,
            id=f"{scope['pipeline']}/{build.number}",
            status=status,
            url=build.full_url,
            actor=build.actor,
        ),
        run=run,
        scope=scope,
        artifact=_artifact(build),
        actor=build.actor,
        comment=build.comment,
        optional="environment" not in scope,
    )


def _job_url(build: _Build) -> str:
    """The job's URL, without the server's part where Jenkins does not have one configured."""
    suffix = f"/{build.number}"
    if build.full_url is not None and build.full_url.rstrip("/").endswith(suffix):
        return build.full_url.rstrip("/").removesuffix(suffix)
    source = (build.job_url or build.name or "").strip("/")
    if not source:
        raise Unreadable("/url: is missing")
    return source


def _job_name(source: str) -> str | None:
    """`folder/shop` of `https://ci.example.com/job/folder/job/shop`."""
    parts = source.split("/")
    if "job" not in parts:
        return None
    pairs = parts[parts.index("job") :]
    return "/".join(unquote(part) for part in pairs[1::2] if part) or None


def _scope(build: _Build, source: str) -> Mapping[str, str]:
    repository = repository_of(line(build.scm, "url"))
    branch = line(build.scm, "branch")
    given = {
        "host": host_of(source),
        "organization": repository.partition("/")[0] if repository is not None and "/" in repository else None,
        "repository": repository,
        "pipeline": _job_name(source) or build.name or source,
        "branch": branch.removeprefix("refs/heads/").removeprefix("origin/") if branch is not None else None,
        "environment": _parameter(build, ENVIRONMENT_PARAMETERS),
    }
    return {field: value for field, value in given.items() if value}


def _artifact(build: _Build) -> Artifact:
    reference = _parameter(build, IMAGE_PARAMETERS)
    image, tag, digest = split_image(reference) if reference is not None else (None, None, None)
    commit = line(build.scm, "commit") or _parameter(build, COMMIT_PARAMETERS)
    return Artifact(
        commit=commit_of(commit), image=image or None, tag=tag or _parameter(build, TAG_PARAMETERS), digest=digest
    )


def _parameter(build: _Build, names: tuple[str, ...]) -> str | None:
    if not isinstance(build.parameters, Mapping):
        return None
    given = {str(name).upper(): name for name in build.parameters}
    found = (line(build.parameters, given[name]) for name in names if name in given)
    return next((value for value in found if value is not None), None)
