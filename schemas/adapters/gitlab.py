"""GitLab's webhooks: deployments, jobs with an environment, pipelines and releases.

Source: GitLab's "Webhook events", and its builders of hook data. What its events become, and why:
docs/reference/sources/gitlab.md.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from schemas.adapters.fields import commit_of, line, member, object_at, required, text, time_at
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
from schemas.adapters.repositories import delivery_id, derived_id, host_of, path_of, split_reference
from schemas.times import format_time
from schemas.types import EventType

FORMAT: Final = Format.GITLAB

KINDS: Final = frozenset(
    {
        "access_token",
        "build",
        "deployment",
        "emoji",
        "feature_flag",
        "issue",
        "merge_request",
        "milestone",
        "note",
        "pipeline",
        "push",
        "release",
        "tag_push",
        "vulnerability",
        "wiki_page",
        "work_item",
    }
)
"""GitLab's values of `object_kind`, which are the kinds of NoInterest; any other is `other`."""

DEPLOYMENT_STATUSES: Final[Mapping[str, EventType]] = MappingProxyType(
    {
        "created": EventType.DEPLOYMENT_REQUESTED,
        "running": EventType.DEPLOYMENT_STARTED,
        "success": EventType.DEPLOYMENT_SUCCEEDED,
        "failed": EventType.DEPLOYMENT_FAILED,
        "canceled": EventType.DEPLOYMENT_CANCELLED,
        "skipped": EventType.DEPLOYMENT_CANCELLED,
    }
)
"""The statuses of a deployment hook. Any other is an activity."""

DEPLOYMENT_ACTIVITIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "blocked": "GITLAB_DEPLOYMENT_BLOCKED",
        "approved": "GITLAB_DEPLOYMENT_APPROVED",
        "rejected": "GITLAB_DEPLOYMENT_REJECTED",
    }
)
ACTIVITY_STATUS: Final = "GITLAB_DEPLOYMENT_STATUS"
ACTIVITY_RELEASE: Final = "GITLAB_RELEASE_CREATED"

JOB_STATUSES: Final[Mapping[str, EventType]] = MappingProxyType(
    {
        "waiting_for_resource": EventType.DEPLOYMENT_REQUESTED,
        "preparing": EventType.DEPLOYMENT_REQUESTED,
        "waiting_for_callback": EventType.DEPLOYMENT_REQUESTED,
        "pending": EventType.DEPLOYMENT_REQUESTED,
        "running": EventType.DEPLOYMENT_STARTED,
        "success": EventType.DEPLOYMENT_SUCCEEDED,
        "failed": EventType.DEPLOYMENT_FAILED,
        "canceled": EventType.DEPLOYMENT_CANCELLED,
    }
)
"""The statuses of a job. Others (`created`, `manual`, `scheduled`, `skipped`, `canceling`) are of no interest: all jobs
of a pipeline are created with it, and many are never started.
"""

PIPELINE_STATUSES: Final[Mapping[str, EventType]] = MappingProxyType(
    {**JOB_STATUSES, "created": EventType.DEPLOYMENT_REQUESTED, "skipped": EventType.DEPLOYMENT_CANCELLED}
)
"""The statuses of a pipeline. Others (`manual`, `scheduled`, `canceling`) change nothing."""

_ENDS: Final = frozenset({EventType.DEPLOYMENT_SUCCEEDED, EventType.DEPLOYMENT_FAILED, EventType.DEPLOYMENT_CANCELLED})
_EVENT_HEADER: Final = "x-gitlab-event"
_KEY_HEADER: Final = "idempotency-key"
# The source of Knative has had all of these: `…source.gitlab.Push Hook`, `…sources.gitlabsource.Push Hook`,
# `…sources.gitlab.push`.
_KNATIVE: Final = ("dev.knative.source.gitlab", "dev.knative.sources.gitlab")
_OTHER: Final = "other"


def has_type(type_: str) -> bool:
    return type_.startswith(_KNATIVE)


def has_headers(headers: Mapping[str, str]) -> bool:
    return _EVENT_HEADER in headers


def has_shape(body: Mapping[str, Any]) -> bool:
    """Only GitLab's bodies have an `object_kind`."""
    kind = body.get("object_kind")
    return isinstance(kind, str) and kind in KINDS


def adapt(record: ForeignRecord) -> Adapted:
    """The event or activity that a webhook's body describes. Raises Unreadable."""
    # The bodies of groups, members and projects have a name instead.
    if "object_kind" not in record.body and isinstance(record.body.get("event_name"), str):
        return NoInterest(format=FORMAT, kind=_OTHER)
    kind = required(record.body, "object_kind")
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        return NoInterest(format=FORMAT, kind=kind if kind in KINDS else _OTHER)
    return adapter(record) or NoInterest(format=FORMAT, kind=kind)


def _deployment(record: ForeignRecord) -> ForeignEvent:
    body = record.body
    status = required(body, "status")
    # A job has one deployment. Events of a job have its id alone, and deployments by the API have no job.
    job = text(body, "deployable_id")
    id_ = text(body, "deployment_id") or job or required(body, "deployment_id")
    time = time_at(body, "status_changed_at")
    commit = commit_of((path_of(text(body, "commit_url")) or "").rpartition("/")[2])
    branch, tag = split_reference(text(body, "ref"))
    return _event(
        record,
        DEPLOYMENT_STATUSES.get(status, EventType.ACTIVITY_RECORDED),
        derived_id(
            "deployment", id_, status, None if time is None else format_time(time), text(body, "approval", "id")
        ),
        time=time,
        original=Original(
            type="deployment",
            id=id_,
            status=status,
            url=line(body, "deployable_url") or line(body, "environment_external_url"),
            actor=_user(body, "approver") or _user(body, "user"),
        ),
        run=derived_id("job", job) if job is not None else derived_id("deployment", id_),
        scope={"branch": branch, "environment": required(body, "environment")},
        artifact=_known(Artifact(commit=commit, tag=tag), "commit_url"),
        comment=line(body, "approval", "comment") or line(body, "commit_title"),
        activity_type=DEPLOYMENT_ACTIVITIES.get(status, ACTIVITY_STATUS),
    )


def _job(record: ForeignRecord) -> ForeignEvent | None:
    body = record.body
    type_ = JOB_STATUSES.get(required(body, "build_status"))
    # A job without an environment deploys nothing; one that stops, prepares or verifies its environment neither.
    if (
        type_ is None
        or member(body, "environment") is None
        or text(body, "environment", "action") not in {None, "start"}
    ):
        return None
    status, id_ = required(body, "build_status"), required(body, "build_id")
    # As for its deployment, and not by the member `tag`, which a deployment lacks: both name one release.
    branch, tag = split_reference(text(body, "ref"))
    return _event(
        record,
        type_,
        derived_id("job", id_, status),
        time=_job_time(body, type_),
        original=Original(type="build", id=id_, status=status, actor=_user(body, "user")),
        run=derived_id("job", id_),
        scope={
            "pipeline": text(body, "build_name"),
            "branch": branch,
            "environment": required(body, "environment", "name"),
        },
        artifact=_known(Artifact(commit=commit_of(text(body, "sha")), tag=tag), "sha"),
        comment=line(body, "commit", "message"),
    )


def _pipeline(record: ForeignRecord) -> ForeignEvent | None:
    body = record.body
    pipeline = object_at(body, "object_attributes")
    status, id_ = required(body, "object_attributes", "status"), required(body, "object_attributes", "id")
    type_ = PIPELINE_STATUSES.get(status)
    if type_ is None:
        return None
    # A pipeline has no time of its start: that of its creation is before any end, and an event that arrives after a
    # later one is late.
    time = time_at(body, "object_attributes", "finished_at" if type_ in _ENDS else "created_at")
    branch, tag = split_reference(text(body, "object_attributes", "ref"), is_tag=_flag(pipeline, "tag"))
    return _event(
        record,
        type_,
        derived_id("pipeline", id_, status, None if time is None else format_time(time)),
        time=time,
        original=Original(type="pipeline", id=id_, status=status, url=line(pipeline, "url"), actor=_user(body, "user")),
        # A retried pipeline keeps its id and has no number of the attempt: it is a new deployment with the same id.
        run=None,
        scope={"pipeline": line(pipeline, "name"), "branch": branch},
        artifact=_known(
            Artifact(commit=commit_of(text(body, "object_attributes", "sha")), tag=tag), "object_attributes/sha"
        ),
        comment=line(body, "commit", "title") or line(body, "commit", "message"),
        optional=True,
    )


def _release(record: ForeignRecord) -> ForeignEvent | None:
    body = record.body
    if required(body, "action") != "create":
        return None
    id_ = required(body, "id")
    return _event(
        record,
        EventType.ACTIVITY_RECORDED,
        derived_id("release", id_, "create"),
        time=time_at(body, "created_at"),
        original=Original(type="release.create", id=id_, url=line(body, "url")),
        run=None,
        scope={},
        artifact=Artifact(commit=commit_of(text(body, "commit", "id")), tag=required(body, "tag")),
        comment=line(body, "name"),
        activity_type=ACTIVITY_RELEASE,
    )


_ADAPTERS: Final[Mapping[str, Callable[[ForeignRecord], ForeignEvent | None]]] = MappingProxyType(
    {"deployment": _deployment, "build": _job, "pipeline": _pipeline, "release": _release}
)


def _event(
    record: ForeignRecord,
    type_: EventType,
    derived: str,
    *,
    time: datetime | None,
    original: Original,
    run: str | None,
    scope: Mapping[str, str | None],
    artifact: Artifact,
    comment: str | None,
    activity_type: str | None = None,
    optional: bool = False,
) -> ForeignEvent:
    """`derived`: the id where the delivery has no key. `activity_type`: of an activity; of no use to others.

    The id of Knative's event is not used, since its source makes a new one for each request, retries included. Nor is
    the header `X-Gitlab-Event-UUID`: the hooks that an earlier hook caused have the same one.
    """
    body = record.body
    # The jobs of older versions have no project.
    url = (
        text(body, "project", "web_url") or text(body, "repository", "homepage") or required(body, "project", "web_url")
    )
    path = (
        text(body, "project", "path_with_namespace") or path_of(url) or required(body, "project", "path_with_namespace")
    )
    is_activity = type_ == EventType.ACTIVITY_RECORDED
    whole = {
        "host": host_of(url),
        "organization": path.partition("/")[0],
        "repository": path,
        "project": path,
        **scope,
    }
    return ForeignEvent(
        format=FORMAT,
        type=type_,
        source=url,
        id=delivery_id(record.headers.get(_KEY_HEADER)) or derived,
        time=time,
        original=original,
        run=None if is_activity else run,
        scope={name: value for name, value in whole.items() if value},
        artifact=artifact,
        actor=original.actor,
        comment=comment,
        activity_type=activity_type if is_activity else None,
        optional=optional,
    )


def _job_time(body: Mapping[str, Any], type_: EventType) -> datetime | None:
    if type_ == EventType.DEPLOYMENT_REQUESTED:
        return time_at(body, "build_created_at")
    return time_at(body, "build_finished_at" if type_ in _ENDS else "build_started_at")


def _flag(body: Mapping[str, Any], name: str) -> bool | None:
    value = body.get(name)
    return value if isinstance(value, bool) else None


def _user(body: Mapping[str, Any], name: str) -> str | None:
    return line(body, name, "username") or line(body, name, "name")


def _known(artifact: Artifact, pointer: str) -> Artifact:
    if artifact == Artifact():
        raise Unreadable(f"/{pointer}: has no whole hash of a commit")
    return artifact
