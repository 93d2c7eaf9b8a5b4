"""GitHub's webhooks: deployments, their statuses, workflow runs and releases.

Source: GitHub's "Webhook events and payloads", and the JSON Schemas of octokit/webhooks. What its events become, and
why: docs/reference/sources/github.md.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

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
from schemas.adapters.github_events import (
    ACTIVITY_ACTION_REQUIRED,
    ACTIVITY_COMPLETED,
    ACTIVITY_INACTIVE,
    ACTIVITY_STATE,
    CONCLUSIONS,
    KINDS,
    MEMBERS,
    RELEASE_ACTIVITIES,
    RUN_ACTIONS,
    STATES,
)
from schemas.adapters.repositories import delivery_id, derived_id, host_of, split_reference
from schemas.json_text import MalformedJsonError, parse
from schemas.text import UUID_TEXT
from schemas.times import format_time
from schemas.types import EventType

FORMAT: Final = Format.GITHUB

_EVENT_HEADER: Final = "x-github-event"
_IMITATIONS: Final = frozenset({"x-gitea-event", "x-gogs-event", "x-forgejo-event"})
_DELIVERY_HEADER: Final = "x-github-delivery"
_ENTERPRISE_HEADER: Final = "x-github-enterprise-host"
_HOST: Final = "github.com"
_KNATIVE: Final = "dev.knative.source.github."
_OTHER: Final = "other"


def has_type(type_: str) -> bool:
    return type_.startswith(_KNATIVE)


def has_headers(headers: Mapping[str, str]) -> bool:
    """Gitea and its descendants send GitHub's header besides their own."""
    return _EVENT_HEADER in headers and _IMITATIONS.isdisjoint(headers)


def has_shape(body: Mapping[str, Any]) -> bool:
    """Only GitHub's senders have these members; those of Gitea and Gitee are similar. A ping may have no sender."""
    sender = body.get("sender")
    if not isinstance(sender, Mapping):
        return isinstance(body.get("zen"), str) and "hook_id" in body
    return isinstance(sender.get("login"), str) and (
        isinstance(sender.get("node_id"), str) or isinstance(sender.get("received_events_url"), str)
    )


def adapt(record: ForeignRecord) -> Adapted:
    """The event or activity that a webhook's body describes. Raises Unreadable."""
    name = _event_name(record)
    adapter = _ADAPTERS.get(name)
    if adapter is None:
        return NoInterest(format=FORMAT, kind=name if name in KINDS else _OTHER)
    return adapter(record) or NoInterest(format=FORMAT, kind=name)


def _event_name(record: ForeignRecord) -> str:
    if name := record.headers.get(_EVENT_HEADER):
        return name
    if record.type is not None and has_type(record.type):
        return record.type.removeprefix(_KNATIVE)
    if not has_shape(record.body):
        raise Unreadable("/sender/node_id: is missing, as in no webhook of GitHub")
    return next((name for name_of_member, name in MEMBERS.items() if name_of_member in record.body), _OTHER)


def _deployment(record: ForeignRecord) -> ForeignEvent | None:
    body = record.body
    if text(body, "action") not in {None, "created"}:
        return None
    deployment = object_at(body, "deployment")
    id_ = required(body, "deployment", "id")
    return _event(
        record,
        EventType.DEPLOYMENT_REQUESTED,
        derived_id("deployment", id_),
        time=("deployment", "created_at"),
        original=Original(
            type="deployment.created",
            id=id_,
            url=_run_url(body) or line(deployment, "url"),
            actor=line(body, "sender", "login"),
        ),
        run=derived_id("deployment", id_),
        part_of=_workflow_run_of(record),
        scope=_deployment_scope(body, required(body, "deployment", "environment")),
        artifact=_deployment_artifact(body),
        actor=_person(body) or line(deployment, "creator", "login"),
        comment=line(deployment, "description"),
    )


def _deployment_status(record: ForeignRecord) -> ForeignEvent | None:
    body = record.body
    if text(body, "action") not in {None, "created"}:
        return None
    id_ = required(body, "deployment", "id")
    status = object_at(body, "deployment_status")
    state = required(body, "deployment_status", "state")
    type_ = STATES.get(state, EventType.ACTIVITY_RECORDED)
    environment = text(body, "deployment_status", "environment") or required(body, "deployment", "environment")
    return _event(
        record,
        type_,
        derived_id("deployment", id_, "status", required(body, "deployment_status", "id")),
        time=("deployment_status", "created_at"),
        original=Original(
            type="deployment_status.created",
            id=id_,
            status=state,
            url=line(status, "log_url") or line(status, "target_url") or _run_url(body) or line(status, "url"),
            actor=line(body, "sender", "login"),
        ),
        run=derived_id("deployment", id_),
        part_of=_workflow_run_of(record),
        scope=_deployment_scope(body, environment),
        artifact=_deployment_artifact(body),
        actor=_person(body) or line(status, "creator", "login"),
        comment=line(status, "description"),
        activity_type=ACTIVITY_INACTIVE if state == "inactive" else ACTIVITY_STATE,
    )


def _workflow_run(record: ForeignRecord) -> ForeignEvent | None:
    body = record.body
    action = required(body, "action")
    id_, attempt = required(body, "workflow_run", "id"), text(body, "workflow_run", "run_attempt") or "1"
    conclusion = text(body, "workflow_run", "conclusion")
    activity_type = ACTIVITY_COMPLETED
    if conclusion == "action_required":
        type_, activity_type = EventType.ACTIVITY_RECORDED, ACTIVITY_ACTION_REQUIRED
    elif action == "completed":
        conclusion = required(body, "workflow_run", "conclusion")
        type_ = CONCLUSIONS.get(conclusion, EventType.ACTIVITY_RECORDED)
    elif action in RUN_ACTIONS:
        type_ = RUN_ACTIONS[action]
    else:
        return None
    branch, tag = split_reference(text(body, "workflow_run", "head_branch"))
    return _event(
        record,
        type_,
        derived_id("workflow_run", id_, attempt, action, conclusion),
        time=("workflow_run", "updated_at"),
        original=Original(
            type=f"workflow_run.{action}",
            id=id_,
            status=conclusion or line(body, "workflow_run", "status"),
            url=_run_url(body),
            actor=line(body, "sender", "login"),
        ),
        run=derived_id("workflow_run", id_, attempt),
        scope={"pipeline": _pipeline(body), "branch": branch},
        artifact=_known(
            Artifact(commit=commit_of(text(body, "workflow_run", "head_sha")), tag=tag), "workflow_run/head_sha"
        ),
        actor=_person(body),
        comment=line(body, "workflow_run", "display_title"),
        activity_type=activity_type,
        optional=True,
    )


def _release(record: ForeignRecord) -> ForeignEvent | None:
    body = record.body
    action = required(body, "action")
    if action not in RELEASE_ACTIVITIES:
        return None
    id_, tag = required(body, "release", "id"), required(body, "release", "tag_name")
    time = time_at(body, "release", "published_at")
    return _event(
        record,
        EventType.ACTIVITY_RECORDED,
        derived_id("release", id_, action, None if time is None else format_time(time)),
        time=("release", "published_at"),
        original=Original(
            type=f"release.{action}",
            id=id_,
            status="prerelease" if member(body, "release", "prerelease") is True else None,
            url=line(body, "release", "html_url"),
            actor=line(body, "sender", "login"),
        ),
        run=None,
        scope={},
        artifact=Artifact(commit=commit_of(text(body, "release", "target_commitish")), tag=tag),
        actor=line(body, "release", "author", "login"),
        comment=line(body, "release", "name"),
        activity_type=RELEASE_ACTIVITIES[action],
    )


_ADAPTERS: Final[Mapping[str, Callable[[ForeignRecord], ForeignEvent | None]]] = MappingProxyType(
    {
        "deployment": _deployment,
        "deployment_status": _deployment_status,
        "workflow_run": _workflow_run,
        "release": _release,
    }
)


def _event(
    record: ForeignRecord,
    type_: EventType,
    derived: str,
    *,
    time: tuple[str, str],
    original: Original,
    run: str | None,
    scope: Mapping[str, str | None],
    artifact: Artifact,
    actor: str | None,
    comment: str | None,
    activity_type: str | None = None,
    optional: bool = False,
    part_of: str | None = None,
) -> ForeignEvent:
    """`derived`: the id where the record has no delivery's id. `activity_type`: of an activity; of no use to others."""
    body = record.body
    full_name = required(body, "repository", "full_name")
    url = text(body, "repository", "html_url")
    host = host_of(url) or record.headers.get(_ENTERPRISE_HEADER) or _HOST
    is_activity = type_ == EventType.ACTIVITY_RECORDED
    whole: dict[str, str | None] = {
        "host": host,
        "organization": text(body, "repository", "owner", "login") or full_name.partition("/")[0],
        "repository": full_name,
        **scope,
    }
    return ForeignEvent(
        format=FORMAT,
        type=type_,
        source=url or f"https://{host}/{full_name}",
        id=_delivered(record) or derived,
        time=time_at(body, *time),
        original=original,
        run=None if is_activity else run,
        part_of=None if is_activity else part_of,
        scope={name: value for name, value in whole.items() if value},
        artifact=artifact,
        actor=actor or line(body, "sender", "login"),
        comment=comment,
        activity_type=activity_type if is_activity else None,
        optional=optional,
    )


def _delivered(record: ForeignRecord) -> str | None:
    """GitHub's own id of the event: the same for all hooks, and on redelivery."""
    if _is_of_knative(record):
        return record.id
    return delivery_id(record.headers.get(_DELIVERY_HEADER))


def _workflow_run_of(record: ForeignRecord) -> str | None:
    """The workflow run that the deployment is a part of, so that its cancellation meets the deployment.

    Knative parses the body and writes it again, without the members that its library lacks: a status can be without
    the run that its deployment has. It sends no workflow runs.
    """
    id_ = text(record.body, "workflow_run", "id")
    if id_ is None or _is_of_knative(record):
        return None
    return derived_id("workflow_run", id_, text(record.body, "workflow_run", "run_attempt") or "1")


def _is_of_knative(record: ForeignRecord) -> bool:
    return record.type is not None and has_type(record.type)


def _deployment_scope(body: Mapping[str, Any], environment: str) -> dict[str, str | None]:
    reference = text(body, "deployment", "ref")
    branch, tag = split_reference(reference)
    if branch is None and tag is None:
        branch, _ = split_reference(text(body, "workflow_run", "head_branch"))
    return {"pipeline": _pipeline(body), "branch": branch, "environment": environment}


def _deployment_artifact(body: Mapping[str, Any]) -> Artifact:
    _, tag = split_reference(text(body, "deployment", "ref"))
    commit = commit_of(text(body, "deployment", "sha"))
    return _known(Artifact(commit=commit, tag=tag, release_id=_release_id(body)), "deployment/sha")


def _known(artifact: Artifact, pointer: str) -> Artifact:
    if artifact == Artifact():
        raise Unreadable(f"/{pointer}: is not the whole hash of a commit")
    return artifact


def _release_id(body: Mapping[str, Any]) -> UUID | None:
    """The member `release_id` of a deployment's payload, an object or JSON text, where it is a UUID."""
    payload = member(body, "deployment", "payload")
    if isinstance(payload, str):
        try:
            payload = parse(payload.encode("utf-8", "surrogatepass"))
        except MalformedJsonError:
            return None
    value = member(payload, "release_id")
    return UUID(value) if isinstance(value, str) and UUID_TEXT.fullmatch(value) else None


def _pipeline(body: Mapping[str, Any]) -> str | None:
    """The workflow's path without its revision (`.github/workflows/deploy.yml`), else its name."""
    path = text(body, "workflow_run", "path") or text(body, "workflow", "path")
    if path is not None:
        return path.partition("@")[0]
    return text(body, "workflow_run", "name") or text(body, "workflow", "name")


def _person(body: Mapping[str, Any]) -> str | None:
    """Who started the workflow run: the creator and the sender of what Actions deploy is a bot."""
    return line(body, "workflow_run", "triggering_actor", "login") or line(body, "workflow_run", "actor", "login")


def _run_url(body: Mapping[str, Any]) -> str | None:
    return line(body, "workflow_run", "html_url")
