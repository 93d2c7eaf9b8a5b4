"""CDEvents 0.2 to 0.6, in CloudEvents and bare.

Sources: the CDEvents specification and its CloudEvents binding; for `deployment.*` the proposal cdevents/spec#319. See
docs/reference/sources/cdevents.md.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from schemas.adapters import jenkins
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
from schemas.adapters.package_urls import Package, is_identified, read_artifact_id
from schemas.adapters.repositories import derived_id, host_of
from schemas.types import EventType

FORMAT: Final = Format.CDEVENTS

PREFIX: Final = "dev.cdevents."
CUSTOM_PREFIX: Final = "dev.cdeventsx."
_CONTENT: Final = ("subject", "content")
_JENKINS_PARTS: Final = ("stageNodeUrl", "causes")
_CUSTOM: Final = "custom"
_OTHER: Final = "other"
_ID_OF_CDVIZ: Final = "0"
"""CDviz' transformers write this where the collector shall derive the id from the content."""


class _Effect(NamedTuple):
    """What an event of one type is. `type`: None where the outcome decides. `optional`: it names no environment."""

    type: EventType | None
    has_run: bool = False
    optional: bool = False


_ACTIVITY: Final = _Effect(EventType.ACTIVITY_RECORDED)
EFFECTS: Final[Mapping[str, _Effect]] = {
    "service.deployed": _Effect(EventType.DEPLOYMENT_SUCCEEDED),
    "service.upgraded": _Effect(EventType.DEPLOYMENT_SUCCEEDED),
    # The artifact is the one that runs after the roll back; ours would name the release that it replaced.
    "service.rolledback": _Effect(EventType.DEPLOYMENT_SUCCEEDED),
    "service.removed": _ACTIVITY,
    "service.published": _ACTIVITY,
    "deployment.queued": _Effect(EventType.DEPLOYMENT_REQUESTED, has_run=True),
    "deployment.started": _Effect(EventType.DEPLOYMENT_STARTED, has_run=True),
    "deployment.finished": _Effect(None, has_run=True),
    "pipelinerun.queued": _Effect(EventType.DEPLOYMENT_REQUESTED, has_run=True, optional=True),
    "pipelinerun.started": _Effect(EventType.DEPLOYMENT_STARTED, has_run=True, optional=True),
    "pipelinerun.finished": _Effect(None, has_run=True, optional=True),
    "taskrun.started": _Effect(EventType.DEPLOYMENT_STARTED, has_run=True, optional=True),
    "taskrun.finished": _Effect(None, has_run=True, optional=True),
    "artifact.packaged": _ACTIVITY,
    "artifact.signed": _ACTIVITY,
    "artifact.published": _ACTIVITY,
    "artifact.deleted": _ACTIVITY,
    "incident.detected": _ACTIVITY,
    "incident.reported": _ACTIVITY,
    "incident.resolved": _ACTIVITY,
}
"""By subject and predicate, without the version of the event type. All other types are of no interest."""

OUTCOMES: Final[Mapping[str, EventType]] = {
    "success": EventType.DEPLOYMENT_SUCCEEDED,
    "failure": EventType.DEPLOYMENT_FAILED,
    "error": EventType.DEPLOYMENT_FAILED,
    "cancel": EventType.DEPLOYMENT_CANCELLED,
}

NO_INTEREST: Final = frozenset(
    {
        "approval",
        "branch",
        "build",
        "change",
        "environment",
        "repository",
        "targetrollout",
        "testcase",
        "testcaserun",
        "testoutput",
        "testsuite",
        "testsuiterun",
        "ticket",
    }
)
"""Subjects that are no deployment and no release. A targetRollout is a part of a deployment."""


def has_type(type_: str) -> bool:
    return type_.startswith((PREFIX, CUSTOM_PREFIX))


def has_headers(headers: Mapping[str, str]) -> bool:  # noqa: ARG001 - one signature for all adapters
    return False


def has_shape(body: Mapping[str, Any]) -> bool:
    type_ = member(body, "context", "type")
    return isinstance(type_, str) and has_type(type_) and isinstance(body.get("subject"), Mapping)


def adapt(record: ForeignRecord) -> Adapted:
    """Raises Unreadable."""
    body = record.body
    full_type = text(body, "context", "type") or record.type
    if full_type is None:
        raise Unreadable("/context/type: is missing")
    if not has_type(full_type):
        raise Unreadable("/context/type: is no type of CDEvents")
    if jenkins.has_plugin_data(body):
        return jenkins.adapt(record)
    name = _short_type(full_type)
    is_custom = full_type.startswith(CUSTOM_PREFIX)
    effect = _ACTIVITY if is_custom else EFFECTS.get(name)
    if effect is None:
        return NoInterest(format=FORMAT, kind=_kind(name))
    kind = _CUSTOM if is_custom else name
    outcome = line(body, *_CONTENT, "outcome")
    package = _package(body, of_subject=is_custom or name.startswith("artifact."))
    is_activity = effect.type is EventType.ACTIVITY_RECORDED
    if is_activity and not is_identified(package.artifact):
        return NoInterest(format=FORMAT, kind=kind)
    if effect.optional and _is_of_no_run(body, effect, package, outcome):
        return NoInterest(format=FORMAT, kind=kind)
    source = text(body, "context", "source") or record.source
    if source is None:
        raise Unreadable("/context/source: is missing")
    subject_id = required(body, "subject", "id")
    environment = _reference(body, *_CONTENT, "environment")
    if not is_activity and not effect.optional:
        _check_deployment(environment, package)
    given = {
        "host": host_of(source),
        "organization": _owner(package.name),
        "repository": package.name,
        "service": subject_id if name.startswith("service.") else _reference(body, *_CONTENT, "service"),
        "pipeline": line(body, *_CONTENT, "pipelineName") or line(body, *_CONTENT, "taskName"),
        "environment": environment,
    }
    actor = line(body, *_CONTENT, "user")
    return ForeignEvent(
        format=FORMAT,
        type=effect.type or _by_outcome(outcome),
        source=source,
        id=derived_id(kind, *([name] if is_custom else []), _event_id(record)),
        time=time_at(body, "context", "timestamp") or record.time,
        original=Original(
            type=full_type,
            id=subject_id,
            status=outcome,
            url=line(body, *_CONTENT, "uri") or line(body, *_CONTENT, "url"),
            actor=actor,
        ),
        run=_run(body, name, subject_id, source) if effect.has_run else None,
        scope={field: value for field, value in given.items() if value is not None},
        artifact=package.artifact,
        actor=actor,
        comment=line(body, *_CONTENT, "errors") or line(body, *_CONTENT, "description"),
        activity_type=f"CDEVENTS_{kind.replace('.', '_').upper()}" if is_activity else None,
        optional=effect.optional and environment is None,
    )


def _short_type(full_type: str) -> str:
    """`service.deployed` of `dev.cdevents.service.deployed.0.3.0`: any version is accepted. Raises Unreadable."""
    parts = full_type.removeprefix(PREFIX).removeprefix(CUSTOM_PREFIX).lower().split(".")
    if len(parts) < 2 or not all(parts[:2]):
        raise Unreadable("/context/type: has no subject and predicate")
    return ".".join(parts[:2])


def _kind(name: str) -> str:
    subject = name.partition(".")[0]
    return subject if subject in NO_INTEREST else _OTHER


def _by_outcome(outcome: str | None) -> EventType:
    if outcome is None:
        raise Unreadable("/subject/content/outcome: is missing")
    type_ = OUTCOMES.get(outcome.lower())
    if type_ is None:
        raise Unreadable(f"/subject/content/outcome: is none of {', '.join(OUTCOMES)}")
    return type_


def _event_id(record: ForeignRecord) -> str:
    id_ = text(record.body, "context", "id") or record.id
    if id_ is None:
        raise Unreadable("/context/id: is missing")
    if id_ != _ID_OF_CDVIZ:
        return id_
    content = json.dumps(record.body, sort_keys=True, separators=(",", ":"))
    return "sha256:" + sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _run(body: Mapping[str, Any], name: str, subject_id: str, source: str) -> str:
    """The subject is unique within its own source, which is the event's unless it names one."""
    kind = name.partition(".")[0]
    subject_source = text(body, "subject", "source")
    if subject_source is None or subject_source == source:
        return derived_id(kind, subject_id)
    return derived_id(kind, subject_source, subject_id)


def _package(body: Mapping[str, Any], *, of_subject: bool) -> Package:
    """The artifact of the content, or else of the subject, or of the custom data. Raises Unreadable."""
    subject_id = _string(body, "subject", "id")
    is_package = of_subject and subject_id is not None and subject_id.startswith("pkg:")
    given = (
        _string(body, *_CONTENT, "artifactId")
        or (subject_id if is_package else None)
        or _string(body, "customData", "artifactId")
    )
    if given is not None:
        return read_artifact_id(given)
    commit = commit_of(_string(body, "customData", "build", "scmState", "commit"))
    return Package(Artifact(commit=commit), None)


def _string(body: Mapping[str, Any], *path: str) -> str | None:
    """As `text`, but None for another type: what custom events contain is free."""
    return text(body, *path) if isinstance(member(body, *path), str) else None


def _is_of_no_run(body: Mapping[str, Any], effect: _Effect, package: Package, outcome: str | None) -> bool:
    """An end without an outcome, a start without an artifact, and what the Jenkins plugin sends beside a run.

    Nothing can be recorded of such a start; the end reports what is missing. An item of Jenkins' queue and a step have
    no identity of the run.
    """
    if any(member(body, "customData", name) is not None for name in _JENKINS_PARTS):
        return True
    return outcome is None if effect.type is None else not is_identified(package.artifact)


def _owner(repository: str | None) -> str | None:
    """`acme` of `acme/shop`, `ghcr.io/acme/shop` and `github.com/acme/shop`."""
    owners = (repository or "").split("/")[:-1]
    if owners and ("." in owners[0] or ":" in owners[0]):
        del owners[0]
    return owners[0] if owners and owners[0] else None


def _reference(body: Mapping[str, Any], *path: str) -> str | None:
    """The id of a reference: of `{"id": "production"}`, or of the text alone, which some producers write."""
    return _string(body, *path) or _string(body, *path, "id") or _string(body, *path, "name")


def _check_deployment(environment: str | None, package: Package) -> None:
    if environment is None:
        raise Unreadable("/subject/content/environment/id: is missing")
    if not is_identified(package.artifact):
        raise Unreadable("/subject/content/artifactId: names no version of an artifact")
