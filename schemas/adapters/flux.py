"""Flux: the events of its notification-controller (providers `generic` and `generic-hmac`).

Flux repeats a reconciliation at every interval, and reports each one: a Kustomization's event is identified by the
object, the revision and the reason. A HelmRelease's event reports one Helm action, so its time is part of its identity.
Reasons: docs/reference/sources/flux.md.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from schemas.adapters.fields import commit_of, line, member, required, text, time_at
from schemas.adapters.foreign import Adapted, Artifact, ForeignEvent, ForeignRecord, Format, NoInterest, Original
from schemas.adapters.kubernetes import ENVIRONMENT, RELEASE_ID, release_id
from schemas.adapters.repositories import derived_id
from schemas.types import EventType

FORMAT: Final = Format.FLUX

_HEADER: Final = "gotk-component"
_GROUP: Final = "toolkit.fluxcd.io/"
_ERROR: Final = "error"
_KINDS: Final = frozenset(
    {
        "GitRepository",
        "OCIRepository",
        "Bucket",
        "HelmRepository",
        "HelmChart",
        "ExternalArtifact",
        "ArtifactGenerator",
        "ImageRepository",
        "ImagePolicy",
        "ImageUpdateAutomation",
        "Alert",
        "Provider",
        "Receiver",
        "Canary",
        "Terraform",
    }
)
"""Objects that deploy nothing themselves, or do not name what they deploy."""

KUSTOMIZATION: Final[Mapping[str, EventType]] = {
    "Progressing": EventType.DEPLOYMENT_STARTED,
    "ReconciliationSucceeded": EventType.DEPLOYMENT_SUCCEEDED,
    "BuildFailed": EventType.DEPLOYMENT_FAILED,
    "ValidationFailed": EventType.DEPLOYMENT_FAILED,
    "InvalidPath": EventType.DEPLOYMENT_FAILED,
    "InvalidCELExpression": EventType.DEPLOYMENT_FAILED,
    "ReconciliationFailed": EventType.DEPLOYMENT_FAILED,
    "HealthCheckFailed": EventType.DEPLOYMENT_FAILED,
}
OTHER_FAULT: Final = "FLUX_RECONCILIATION_FAILED"
"""Of any other reason with the severity `error`: the revision was not attempted, or it is applied already."""

_IN_RUN: Final = frozenset({EventType.DEPLOYMENT_STARTED, EventType.DEPLOYMENT_FAILED})
"""Flux attempts a revision again after a failure, and does not number the attempts. A failure belongs to the attempt
that was started, so that one after the success changes nothing. A success finishes that attempt, or follows a failed
one.
"""

HELM_RELEASE: Final[Mapping[str, EventType]] = {
    "InstallSucceeded": EventType.DEPLOYMENT_SUCCEEDED,
    "UpgradeSucceeded": EventType.DEPLOYMENT_SUCCEEDED,
    "RollbackSucceeded": EventType.DEPLOYMENT_SUCCEEDED,
    "InstallFailed": EventType.DEPLOYMENT_FAILED,
    "UpgradeFailed": EventType.DEPLOYMENT_FAILED,
    "RollbackFailed": EventType.DEPLOYMENT_FAILED,
}
HELM_ACTIVITIES: Final[Mapping[str, str]] = {
    "TestFailed": "FLUX_TEST_FAILED",
    "UninstallSucceeded": "FLUX_UNINSTALLED",
    "UninstallFailed": "FLUX_UNINSTALL_FAILED",
}

_GIT: Final = re.compile(r"(?:(?:refs/(?:heads|tags)/)?(?P<branch>[^@]+?)[@/])?(?:sha1:)?(?P<commit>[0-9a-f]{40})")
_SHA256: Final = re.compile(r"(?:(?P<tag>[^@]+)@)?(?P<digest>sha256:[0-9a-f]{64})")


def has_type(_type: str) -> bool:
    """Flux sends no CloudEvents."""
    return False


def has_headers(headers: Mapping[str, str]) -> bool:
    """The header of the generic providers."""
    return _HEADER in headers


def has_shape(body: Mapping[str, Any]) -> bool:
    """An event about an object of Flux. Kubernetes' own events have no severity."""
    version = member(body, "involvedObject", "apiVersion")
    return isinstance(version, str) and _GROUP in version and {"severity", "reason"} <= body.keys()


def adapt(record: ForeignRecord) -> Adapted:
    """An event of a Kustomization or a HelmRelease."""
    body = record.body
    kind = required(body, "involvedObject", "kind")
    if kind == "Kustomization":
        return _kustomization(_Object.of(body, kind))
    if kind == "HelmRelease":
        return _helm_release(_Object.of(body, kind))
    return NoInterest(format=FORMAT, kind=kind if kind in _KINDS else "other kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    """The object of an event. `identity`: its uid, or else its name. `name`: with its namespace."""

    body: Mapping[str, Any]
    kind: str
    reason: str
    is_error: bool
    identity: str
    name: str
    source: str

    @classmethod
    def of(cls, body: Mapping[str, Any], kind: str) -> "_Object":
        """Raises Unreadable."""
        name = required(body, "involvedObject", "name")
        namespace = text(body, "involvedObject", "namespace") or "default"
        group = (text(body, "involvedObject", "apiVersion") or "").partition("/")[0]
        path = (group, "namespaces", namespace, f"{kind.lower()}s", name)
        return cls(
            body=body,
            kind=kind,
            reason=required(body, "reason"),
            is_error=text(body, "severity") == _ERROR,
            identity=text(body, "involvedObject", "uid") or derived_id(kind, namespace, name),
            name=f"{namespace}/{name}",
            source="/apis/" + "/".join(quote(part, safe="", errors="replace") for part in path),
        )

    def metadata(self, name: str) -> str | None:
        """A member of the metadata. The controllers put their API group before its name, alerts do not."""
        metadata = member(self.body, "metadata")
        keys: Iterable[str] = metadata if isinstance(metadata, Mapping) else ()
        key = name if name in keys else next((key for key in keys if key.endswith(f"{_GROUP}{name}")), name)
        return text(self.body, "metadata", key)

    def release_id(self) -> UUID | None:
        """From the metadata; an annotation `event.toolkit.fluxcd.io/release-id` of the object arrives as the second."""
        names = (RELEASE_ID, "release-id")
        return next((id_ for name in names if (id_ := release_id(self.metadata(name), "metadata", name))), None)

    def event(
        self,
        type_: EventType,
        id_: str,
        artifact: Artifact,
        *,
        run: str | None = None,
        activity: str | None = None,
        branch: str | None = None,
    ) -> ForeignEvent:
        found = {
            "application": self.name,
            "namespace": self.name.partition("/")[0],
            "cluster": self.metadata("cluster"),
            "branch": branch,
            "environment": self.metadata(ENVIRONMENT) or self.metadata("environment"),
        }
        return ForeignEvent(
            format=FORMAT,
            type=type_,
            source=self.source,
            id=id_,
            time=time_at(self.body, "timestamp"),
            original=Original(type=f"{self.kind}.{self.reason}", id=self.identity, status=self.reason),
            run=run,
            scope={name: value for name, value in found.items() if value is not None},
            artifact=artifact,
            comment=line(self.body, "message"),
            activity_type=activity,
        )


def _kustomization(found: _Object) -> Adapted:
    type_ = KUSTOMIZATION.get(found.reason)
    activity = None
    if found.is_error and type_ is not EventType.DEPLOYMENT_FAILED:
        type_, activity = EventType.ACTIVITY_RECORDED, OTHER_FAULT
    if type_ is None:
        return NoInterest(format=FORMAT, kind="Kustomization other reason")
    revision = found.metadata("revision")
    artifact, branch = _revision_artifact(found, revision)
    if revision is None or artifact == Artifact():
        return NoInterest(format=FORMAT, kind="Kustomization without revision")
    id_ = derived_id(found.identity, revision, found.reason, "error" if activity is not None else None)
    run = derived_id(found.identity, revision) if type_ in _IN_RUN else None
    return found.event(type_, id_, artifact, run=run, activity=activity, branch=branch)


def _helm_release(found: _Object) -> Adapted:
    activity = HELM_ACTIVITIES.get(found.reason)
    type_ = HELM_RELEASE.get(found.reason) if activity is None else EventType.ACTIVITY_RECORDED
    if type_ is None:
        return NoInterest(format=FORMAT, kind="HelmRelease other reason")
    version = found.metadata("revision")
    artifact = Artifact(tag=version, release_id=found.release_id())
    if artifact == Artifact():
        return NoInterest(format=FORMAT, kind="HelmRelease without revision")
    parts = (found.identity, found.reason, version or "", required(found.body, "timestamp"))
    return found.event(type_, derived_id(*parts), artifact, activity=activity)


def _revision_artifact(found: _Object, revision: str | None) -> tuple[Artifact, str | None]:
    """The artifact and the branch of `main@sha1:…`, `main/…`, `v1.2@sha1:…` (Git) or `latest@sha256:…` (OCI, bucket).

    Of an OCI artifact, `originRevision` is the commit that it was made from.
    """
    id_ = found.release_id()
    git = _GIT.fullmatch(revision or "")
    if git is not None:
        return Artifact(commit=commit_of(git["commit"]), release_id=id_), git["branch"]
    origin = _GIT.fullmatch(found.metadata("originRevision") or "")
    commit = origin["commit"] if origin is not None else None
    oci = _SHA256.fullmatch(revision or "")
    if oci is not None:
        return Artifact(commit=commit, tag=oci["tag"], digest=oci["digest"], release_id=id_), None
    return Artifact(commit=commit, release_id=id_), None
