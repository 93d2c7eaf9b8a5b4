"""Flux: the reasons of Kustomizations and HelmReleases, their revisions, and the identity of their events."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings

from schemas.adapters import flux
from schemas.adapters.flux import HELM_ACTIVITIES, HELM_RELEASE, KUSTOMIZATION, OTHER_FAULT
from schemas.adapters.foreign import Artifact, ForeignEvent, ForeignRecord, NoInterest, Unreadable
from schemas.types import short_type
from tests.hypothesis_profile import examples
from tests.unit.schemas.adapters.kubernetes_payloads import check_answer, result, unusual
from tests.unit.schemas.adapters.source_pages import documented
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed, json_objects, mutated, without

FOLDER = "flux"
UID = "7d0cdc51-ddcf-4743-b223-83ca5c699632"
COMMIT = "731f7eaddfb6af01cb2173e18f0f75b0ba780ef1"
DIGEST = "sha256:" + "1" * 64
RELEASE_ID = "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11"
REVISION = "kustomize.toolkit.fluxcd.io/revision"


def adapted(body: Mapping[str, Any]) -> ForeignEvent | NoInterest:
    return flux.adapt(ForeignRecord(headers={}, body=body))


def event(body: Mapping[str, Any]) -> ForeignEvent:
    found = adapted(body)
    assert isinstance(found, ForeignEvent)
    return found


def kustomization(reason: str, severity: str = "info", **changes: object) -> dict[str, Any]:
    return changed(body_of(FOLDER, "event-v1beta3.json"), {"reason": reason, "severity": severity, **changes})


def helm_release(reason: str, severity: str = "info", **changes: object) -> dict[str, Any]:
    involved = {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "name": "shop",
        "namespace": "apps",
        "uid": UID,
    }
    metadata = {
        "helm.toolkit.fluxcd.io/revision": "6.5.4",
        "helm.toolkit.fluxcd.io/app-version": "1.2.0",
        "helm.toolkit.fluxcd.io/token": "sha256:1",
    }
    return kustomization(reason, severity, involvedObject=involved, metadata=metadata, **changes)


@pytest.mark.parametrize("name", ["event-v1beta3.json", "generic-webhook-1.json"])
def test_recorded_event_is_a_failed_deployment(name: str) -> None:
    body = body_of(FOLDER, name)
    found = event(body)
    assert flux.has_shape(body)
    assert result(found) == "deployment.failed"
    assert found.source == "/apis/kustomize.toolkit.fluxcd.io/namespaces/apps/kustomizations/webapp"
    assert (found.id, found.run) == (f"{UID}/main/{COMMIT}/ValidationFailed", f"{UID}/main/{COMMIT}")
    assert found.time == datetime(2022, 10, 28, 7, 26, 19, tzinfo=UTC)
    assert found.comment == "service/apps/webapp validation error: spec.type: Unsupported value: Ingress"
    assert found.artifact == Artifact(commit=COMMIT)
    assert found.scope == {"application": "apps/webapp", "namespace": "apps", "branch": "main"}
    assert (found.original.type, found.original.id) == ("Kustomization.ValidationFailed", UID)


@pytest.mark.parametrize(
    ("reason", "severity", "expected"),
    [
        ("Progressing", "info", "deployment.started"),
        ("ReconciliationSucceeded", "info", "deployment.succeeded"),
        ("BuildFailed", "error", "deployment.failed"),
        ("ValidationFailed", "error", "deployment.failed"),
        ("InvalidPath", "error", "deployment.failed"),
        ("InvalidCELExpression", "error", "deployment.failed"),
        ("HealthCheckFailed", "error", "deployment.failed"),
        ("ReconciliationFailed", "error", "deployment.failed"),
        ("PruneFailed", "error", OTHER_FAULT),
        ("ArtifactFailed", "error", OTHER_FAULT),
        ("Progressing", "error", OTHER_FAULT),
        ("ReconciliationSucceeded", "error", OTHER_FAULT),
        ("error", "error", OTHER_FAULT),
        ("DependencyNotReady", "info", "Kustomization other reason"),
        ("HealthCheckCanceled", "info", "Kustomization other reason"),
        ("info", "info", "Kustomization other reason"),
    ],
)
def test_reason_of_a_kustomization_decides(reason: str, severity: str, expected: str) -> None:
    assert result(adapted(kustomization(reason, severity))) == expected


@pytest.mark.parametrize(
    ("reason", "severity", "expected"),
    [
        ("InstallSucceeded", "info", "deployment.succeeded"),
        ("UpgradeSucceeded", "info", "deployment.succeeded"),
        ("RollbackSucceeded", "info", "deployment.succeeded"),
        ("InstallFailed", "error", "deployment.failed"),
        ("UpgradeFailed", "error", "deployment.failed"),
        ("RollbackFailed", "error", "deployment.failed"),
        ("TestFailed", "error", "FLUX_TEST_FAILED"),
        ("UninstallSucceeded", "info", "FLUX_UNINSTALLED"),
        ("UninstallFailed", "error", "FLUX_UNINSTALL_FAILED"),
        ("TestSucceeded", "info", "HelmRelease other reason"),
        ("DriftDetected", "info", "HelmRelease other reason"),
        ("DependencyNotReady", "info", "HelmRelease other reason"),
        ("ArtifactFailed", "error", "HelmRelease other reason"),
        ("PendingRelease", "info", "HelmRelease other reason"),
    ],
)
def test_reason_of_a_helm_release_decides(reason: str, severity: str, expected: str) -> None:
    found = adapted(helm_release(reason, severity))
    assert result(found) == expected
    if isinstance(found, ForeignEvent):
        assert found.artifact == Artifact(tag="6.5.4")
        assert found.run is None


def test_page_has_the_reasons_of_a_kustomization() -> None:
    none = dict.fromkeys(["DependencyNotReady", "HealthCheckCanceled"], "no interest")
    other = dict.fromkeys(["ArtifactFailed", "PruneFailed"], OTHER_FAULT)
    reasons = {reason: short_type(type_) for reason, type_ in KUSTOMIZATION.items()}
    assert documented("flux.md", "kustomization") == {**reasons, **other, **none}


def test_page_has_the_reasons_of_a_helm_release() -> None:
    none = dict.fromkeys(["TestSucceeded", "DriftDetected", "ArtifactFailed", "DependencyNotReady"], "no interest")
    reasons = {reason: short_type(type_) for reason, type_ in HELM_RELEASE.items()}
    assert documented("flux.md", "helmrelease") == {**reasons, **HELM_ACTIVITIES, **none}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("GitRepository", "GitRepository"), ("ImagePolicy", "ImagePolicy"), ("Canary", "Canary"), ("Pod", "other kind")],
)
def test_other_object_is_of_no_interest(kind: str, expected: str) -> None:
    assert result(adapted(kustomization("Succeeded", **{"involvedObject/kind": kind}))) == expected


def test_repeated_reconciliation_has_the_same_id() -> None:
    first = event(kustomization("ReconciliationSucceeded", message="Reconciliation finished in 1s, next run in 10m0s"))
    second = event(kustomization("ReconciliationSucceeded", timestamp="2022-10-28T07:36:19Z", message="in 2s"))
    assert (first.source, first.id) == (second.source, second.id)


def test_repeated_failed_attempt_has_the_same_id() -> None:
    first, second = (
        event(kustomization("HealthCheckFailed", "error", timestamp=f"2022-10-28T07:{minute}:19Z"))
        for minute in (26, 28)
    )
    assert first.id == second.id


def test_failed_attempt_is_not_the_success_of_its_reason() -> None:
    success, failure = (event(kustomization("ReconciliationSucceeded", severity)) for severity in ("info", "error"))
    assert success.id != failure.id
    assert failure.run is None


def test_start_and_failure_of_one_revision_have_one_run() -> None:
    """A success has none: it can follow a failure of the same revision."""
    started, failed = event(kustomization("Progressing")), event(kustomization("HealthCheckFailed", "error"))
    done = event(kustomization("ReconciliationSucceeded"))
    assert (started.run, started.artifact) == (failed.run, failed.artifact) == (f"{UID}/main/{COMMIT}", done.artifact)
    assert done.run is None
    other = event(kustomization("Progressing", metadata={REVISION: f"main@sha1:{'a' * 40}"}))
    assert other.run != started.run


def test_each_helm_action_has_its_own_id() -> None:
    first = event(helm_release("UpgradeSucceeded"))
    again = event(helm_release("UpgradeSucceeded"))
    later = event(helm_release("UpgradeSucceeded", timestamp="2022-10-29T07:26:19Z"))
    assert first == again
    assert first.id != later.id


@pytest.mark.parametrize(
    ("revision", "expected", "branch"),
    [
        (f"main@sha1:{COMMIT}", Artifact(commit=COMMIT), "main"),
        (f"feature/cart@sha1:{COMMIT}", Artifact(commit=COMMIT), "feature/cart"),
        (f"refs/heads/main@sha1:{COMMIT}", Artifact(commit=COMMIT), "main"),
        (f"sha1:{COMMIT}", Artifact(commit=COMMIT), None),
        (f"main/{COMMIT}", Artifact(commit=COMMIT), "main"),
        (COMMIT, Artifact(commit=COMMIT), None),
        (f"latest@{DIGEST}", Artifact(tag="latest", digest=DIGEST), None),
        (DIGEST, Artifact(digest=DIGEST), None),
        ("main@sha1:731f7ea", None, None),
        ("6.5.4", None, None),
        (None, None, None),
    ],
)
def test_revision_is_read(revision: str | None, expected: Artifact | None, branch: str | None) -> None:
    found = adapted(kustomization("ReconciliationSucceeded", metadata={REVISION: revision}))
    assert (found.artifact if isinstance(found, ForeignEvent) else None) == expected
    assert isinstance(found, NoInterest) or found.scope.get("branch") == branch


def test_origin_of_an_oci_artifact_is_its_commit() -> None:
    metadata = {REVISION: f"latest@{DIGEST}", "kustomize.toolkit.fluxcd.io/originRevision": f"main@sha1:{COMMIT}"}
    found = event(kustomization("ReconciliationSucceeded", metadata=metadata))
    assert found.artifact == Artifact(commit=COMMIT, tag="latest", digest=DIGEST)


def test_metadata_of_an_alert_names_environment_cluster_and_release() -> None:
    metadata = {"revision": f"main@sha1:{COMMIT}", "environment": "staging", "cluster": "eu-1"}
    found = event(kustomization("ReconciliationSucceeded", metadata=metadata))
    assert (found.scope["environment"], found.scope["cluster"]) == ("staging", "eu-1")
    marked = {**metadata, "rudder.dev/environment": "production", "rudder.dev/release-id": RELEASE_ID}
    found = event(kustomization("ReconciliationSucceeded", metadata=marked))
    assert (found.scope["environment"], found.artifact.release_id) == ("production", UUID(RELEASE_ID))


@pytest.mark.parametrize("name", ["release-id", "event.toolkit.fluxcd.io/release-id"])
def test_annotation_of_the_object_names_the_release(name: str) -> None:
    body = helm_release("UpgradeSucceeded")
    body["metadata"][name] = RELEASE_ID
    assert event(body).artifact == Artifact(tag="6.5.4", release_id=UUID(RELEASE_ID))


def test_helm_release_without_a_version_needs_a_release() -> None:
    body = helm_release("UpgradeSucceeded")
    assert result(adapted(changed(body, {"metadata": None}))) == "HelmRelease without revision"
    marked = changed(body, {"metadata": {"rudder.dev/release-id": RELEASE_ID}})
    assert event(marked).artifact == Artifact(release_id=UUID(RELEASE_ID))


def test_object_without_uid_is_identified_by_its_name() -> None:
    body = without(kustomization("Progressing"), "involvedObject/uid")
    found = event(without(body, "involvedObject/namespace"))
    assert (found.run, found.scope["application"]) == (f"Kustomization/default/webapp/main/{COMMIT}", "default/webapp")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("involvedObject/kind", "/involvedObject/kind: is missing"),
        ("involvedObject/name", "/involvedObject/name: is missing"),
        ("reason", "/reason: is missing"),
    ],
)
def test_missing_member_is_named(path: str, problem: str) -> None:
    with pytest.raises(Unreadable) as error:
        adapted(without(kustomization("Progressing"), path))
    assert error.value.problem == problem


def test_helm_action_without_a_time_is_unreadable() -> None:
    with pytest.raises(Unreadable, match=r"^/timestamp: is missing$"):
        adapted(helm_release("UpgradeSucceeded", timestamp=None))


def test_header_of_the_generic_provider_is_recognised() -> None:
    assert flux.has_headers({"gotk-component": "kustomize-controller"})
    assert not flux.has_headers({"user-agent": "Go-http-client/1.1"})
    assert not flux.has_type("dev.fluxcd.event")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"involvedObject": {"apiVersion": "v1", "kind": "Pod"}, "reason": "Killing", "type": "Normal"},
        {"involvedObject": {"apiVersion": "kustomize.toolkit.fluxcd.io/v1"}, "reason": "Progressing"},
        {"involvedObject": {"apiVersion": 1}, "severity": "info", "reason": "x"},
    ],
)
def test_other_body_has_not_its_shape(body: dict[str, Any]) -> None:
    assert not flux.has_shape(body)


READ = [
    "involvedObject",
    "involvedObject/apiVersion",
    "involvedObject/kind",
    "involvedObject/name",
    "involvedObject/namespace",
    "involvedObject/uid",
    "metadata",
    "metadata/" + REVISION.replace("/", "~"),
    "reason",
    "severity",
    "message",
    "timestamp",
]


@settings(max_examples=examples(150), deadline=None)
@given(unusual(kustomization("ReconciliationSucceeded"), READ) | unusual(helm_release("UpgradeFailed"), READ))
def test_unusual_members_have_an_answer(body: dict[str, Any]) -> None:
    check_answer(flux, body)


@settings(max_examples=examples(100), deadline=None)
@given(json_objects() | mutated(FOLDER))
def test_any_object_has_an_answer(body: dict[str, Any]) -> None:
    check_answer(flux, body)
