"""Argo CD: the phases and health of an Application, the artifact of its operation, and its identity."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from hypothesis import given, settings

from schemas.adapters import argocd
from schemas.adapters.foreign import Artifact, ForeignEvent, ForeignRecord, Format, NoInterest, Unreadable
from tests.hypothesis_profile import examples
from tests.unit.schemas.adapters.kubernetes_payloads import check_answer, result, unusual
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed, files, json_objects, mutated, without

CAPTURED = "argocd/captured"
OPINION = "argocd/as-cdevents"
RENDERED = Path(__file__).with_name("argocd_rendered.json")
TEMPLATE = Path(__file__).parents[4] / "docs" / "examples" / "argocd-notifications.yaml"
STATE = "app/status/operationState"
RELEASE_ID = "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11"
COMMIT = "94fcc5e8673e0d2d7fbca6b1c6c455ba308314fc"
OTHER_COMMIT = "a390e57286ce93cd869ef0cd157c287a7082d504"
SOURCE = {"repoURL": "https://github.com/acme/shop", "path": "deploy", "targetRevision": "HEAD"}

EXPECTED = {
    "000_cli_template.json": "no operation",
    "001.json": "deployment.succeeded",
    "002.json": "deployment.succeeded",
    "003.json": "no operation",
    "007_sync_podinfo_1_1.json": "deployment.started",
    "008_sync_podinfo_1_2.json": "deployment.succeeded",
    "009_sync_podinfo_1_3.json": "deployment.started",
    "010_sync_podinfo_1_4.json": "ARGOCD_HEALTH_DEGRADED",
    "011_sync_podinfo_2_1.json": "deployment.started",
    "012_sync_podinfo_2_2.json": "ARGOCD_HEALTH_DEGRADED",
    "013_sync_podinfo_2_3.json": "deployment.succeeded",
    "014_sync_podinfo_3_1.json": "deployment.started",
    "018_sync_podinfo_4_1.json": "deployment.started",
    "019_sync_podinfo_4_2.json": "deployment.succeeded",
    "020_sync_podinfo_4_3.json": "deployment.started",
}
RUNNING, SUCCEEDED = "007_sync_podinfo_1_1.json", "008_sync_podinfo_1_2.json"
CHART_RUNNING, CHART_DEGRADED = "020_sync_podinfo_4_3.json", "010_sync_podinfo_1_4.json"


def adapted(body: Mapping[str, Any]) -> ForeignEvent | NoInterest:
    return argocd.adapt(ForeignRecord(headers={}, body=body))


def event(body: Mapping[str, Any]) -> ForeignEvent:
    found = adapted(body)
    assert isinstance(found, ForeignEvent)
    return found


def succeeded(changes: Mapping[str, object] | None = None) -> dict[str, Any]:
    return changed(body_of(CAPTURED, SUCCEEDED), changes or {})


def of_source(source: object, revision: object, changes: Mapping[str, object] | None = None) -> dict[str, Any]:
    synced = {f"{STATE}/syncResult/source": source, f"{STATE}/syncResult/revision": revision}
    return succeeded({f"{STATE}/operation/sync/revision": None, **synced, **(changes or {})})


def of_sources(sources: object, revisions: object) -> dict[str, Any]:
    return of_source(
        {"repoURL": ""}, "", {f"{STATE}/syncResult/sources": sources, f"{STATE}/syncResult/revisions": revisions}
    )


@pytest.mark.parametrize("name", files(CAPTURED))
def test_recorded_notification_has_its_result(name: str) -> None:
    assert result(adapted(body_of(CAPTURED, name))) == EXPECTED[name]


def test_event_of_success_is_complete() -> None:
    found = event(body_of(CAPTURED, SUCCEEDED))
    uid, started = "bb42b013-3ce1-4207-a409-2898419d8e74", "2025-10-02T16:20:55Z"
    assert found.format is Format.ARGOCD
    assert found.source == found.original.url == "https://demo.cdviz.dev/applications/argocd/aaaaaaaaa"
    assert found.id == f"{uid}/{started}/Succeeded/{COMMIT}"
    assert found.run == found.original.id == f"{uid}/{started}"
    assert found.time == datetime(2025, 10, 2, 16, 20, 59, tzinfo=UTC)
    assert (found.original.type, found.original.status, found.actor) == ("application.sync", "Succeeded", None)
    assert found.comment == "successfully synced (all tasks run)"
    assert found.artifact == Artifact(commit=COMMIT)
    assert not found.optional
    assert found.scope == {
        "application": "argocd/aaaaaaaaa",
        "project": "default",
        "namespace": "argocd",
        "cluster": "https://kubernetes.default.svc",
        "host": "github.com",
        "repository": "cdviz-dev/demo-cluster",
    }


def test_user_who_started_the_sync_is_the_actor() -> None:
    found = event(body_of(CAPTURED, "002.json"))
    assert found.actor == found.original.actor == "aaaaa"


@pytest.mark.parametrize(
    ("phase", "health", "expected"),
    [
        ("Running", "Degraded", "deployment.started"),
        ("Running", "Missing", "deployment.started"),
        ("Succeeded", "Healthy", "deployment.succeeded"),
        ("Succeeded", None, "deployment.succeeded"),
        ("Succeeded", "Progressing", "deployment.started"),
        ("Succeeded", "Suspended", "deployment.started"),
        ("Succeeded", "Missing", "deployment.started"),
        ("Succeeded", "Unknown", "deployment.started"),
        ("Succeeded", "Degraded", "ARGOCD_HEALTH_DEGRADED"),
        ("Failed", "Healthy", "deployment.failed"),
        ("Failed", "Degraded", "deployment.failed"),
        ("Error", "Unknown", "deployment.failed"),
        ("Terminating", "Healthy", "other phase"),
        ("Paused", "Healthy", "other phase"),
        ("", "Healthy", "no operation"),
        (None, "Degraded", "no operation"),
    ],
)
def test_phase_and_health_decide(phase: str | None, health: str | None, expected: str) -> None:
    assert result(adapted(succeeded({f"{STATE}/phase": phase, "app/status/health/status": health}))) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Operation terminated", "deployment.cancelled"),
        ("Operation terminated (retried 2 times).", "deployment.cancelled"),
        ("Operation terminated, triggered by controller sync timeout", "deployment.failed"),
        ("one or more objects failed to apply", "deployment.failed"),
        (None, "deployment.failed"),
    ],
)
def test_terminated_operation_is_cancelled(message: str | None, expected: str) -> None:
    assert result(adapted(succeeded({f"{STATE}/phase": "Failed", f"{STATE}/message": message}))) == expected


def test_dry_run_is_of_no_interest() -> None:
    assert result(adapted(succeeded({f"{STATE}/operation/sync/dryRun": True}))) == "dry run"


@pytest.mark.parametrize(
    ("phase", "health", "expected"),
    [
        ("Running", "Healthy", "partial sync"),
        ("Succeeded", "Healthy", "ARGOCD_PARTIAL_SYNC"),
        ("Succeeded", "Progressing", "ARGOCD_PARTIAL_SYNC"),
        ("Succeeded", "Degraded", "ARGOCD_HEALTH_DEGRADED"),
        ("Failed", "Healthy", "ARGOCD_PARTIAL_SYNC"),
    ],
)
def test_partial_sync_is_no_deployment(phase: str, health: str, expected: str) -> None:
    partial = {f"{STATE}/operation/sync/resources": [{"kind": "Service", "name": "shop"}]}
    found = adapted(succeeded({**partial, f"{STATE}/phase": phase, "app/status/health/status": health}))
    assert result(found) == expected
    assert isinstance(found, NoInterest) or found.run is None


def test_deleted_application_is_an_activity() -> None:
    found = event(succeeded({"app/metadata/deletionTimestamp": "2025-10-02T17:00:00Z"}))
    assert (found.activity_type, found.run) == ("ARGOCD_APPLICATION_DELETED", None)
    assert found.time == datetime(2025, 10, 2, 17, tzinfo=UTC)
    later = succeeded({"app/metadata/deletionTimestamp": "2025-10-02T17:00:00Z", f"{STATE}/phase": "Running"})
    assert event(later).id == found.id


def test_deleted_application_without_operation_is_of_no_interest() -> None:
    body = without(succeeded({"app/metadata/deletionTimestamp": "2025-10-02T17:00:00Z"}), STATE)
    assert result(adapted(body)) == "no revision"


def test_repeated_degraded_state_has_the_same_id() -> None:
    first, second = (event(body_of(CAPTURED, name)) for name in (CHART_DEGRADED, "012_sync_podinfo_2_2.json"))
    assert first.id == second.id
    assert first.time == datetime(2025, 10, 2, 16, 31, 4, tzinfo=UTC)
    later = event(
        changed(body_of(CAPTURED, CHART_DEGRADED), {"app/status/health/lastTransitionTime": "2025-10-03T00:00:00Z"})
    )
    assert later.id != first.id


def test_degraded_state_without_a_time_has_that_of_the_sync() -> None:
    found = event(without(body_of(CAPTURED, CHART_DEGRADED), "app/status/health/lastTransitionTime"))
    assert found.id.endswith("/health/Degraded/2025-10-02T16:21:00Z")
    assert found.time == datetime(2025, 10, 2, 16, 21, 3, tzinfo=UTC)


def test_states_of_one_operation_have_one_run_and_artifact() -> None:
    running, done = event(body_of(CAPTURED, RUNNING)), event(body_of(CAPTURED, SUCCEEDED))
    assert (running.source, running.run, running.artifact) == (done.source, done.run, done.artifact)
    assert running.id != done.id
    assert event(body_of(CAPTURED, "011_sync_podinfo_2_1.json")).run != done.run


def test_unhealthy_success_repeats_the_start() -> None:
    progressing = event(succeeded({"app/status/health/status": "Progressing"}))
    running = event(body_of(CAPTURED, RUNNING))
    assert (progressing.id, progressing.time, progressing.type) == (running.id, running.time, running.type)


def test_repeated_success_has_the_same_identity_and_time() -> None:
    changes = {"timestamp": "2025-11-01T00:00:00Z", "app/status/health/lastTransitionTime": "2025-11-01T00:00:00Z"}
    assert event(succeeded(changes)) == event(succeeded())


def test_new_operation_of_one_revision_is_a_new_run() -> None:
    assert event(succeeded({f"{STATE}/startedAt": "2025-10-02T17:00:00Z"})).run != event(succeeded()).run


def test_end_without_its_time_has_that_of_the_start() -> None:
    assert event(without(succeeded(), f"{STATE}/finishedAt")).time == datetime(2025, 10, 2, 16, 20, 55, tzinfo=UTC)


def test_older_revision_is_deployed_again() -> None:
    """A roll back is a sync with the source of an older history id."""
    rollback = {f"{STATE}/operation/sync/revision": OTHER_COMMIT, f"{STATE}/operation/sync/source": SOURCE}
    running = event(changed(body_of(CAPTURED, RUNNING), rollback))
    assert (result(running), running.artifact.commit) == ("deployment.started", OTHER_COMMIT)
    assert running.scope["repository"] == "acme/shop"


def test_revision_of_the_last_comparison_is_not_used() -> None:
    body = body_of(CAPTURED, RUNNING)
    assert body["app"]["status"]["sync"]["revision"] != COMMIT
    assert event(body).artifact.commit == COMMIT


def test_images_of_the_operation_before_are_not_used() -> None:
    body = body_of(CAPTURED, CHART_RUNNING)
    assert body["app"]["status"]["summary"]["images"] == ["ghcr.io/example-org/aaaaaaa:6.9.0"]
    assert event(body).artifact == Artifact(tag="6.9.2")


def test_images_of_a_success_can_be_selected() -> None:
    name = "ghcr.io/cdviz-dev/aaaaaaaa-aaaaaaa"
    assert event(body_of(CAPTURED, "002.json")).artifact == Artifact(
        tag="0.6.3", images=(f"{name}:0.6.2", f"{name}:0.6.3")
    )


DIGEST = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("source", "revision", "expected"),
    [
        (SOURCE, COMMIT, Artifact(commit=COMMIT)),
        (SOURCE, COMMIT.upper(), Artifact(commit=COMMIT)),
        ({"repoURL": "https://charts.example.com", "chart": "shop"}, "1.2.0", Artifact(tag="1.2.0")),
        ({"repoURL": "https://charts.example.com", "chart": "shop"}, COMMIT, Artifact(tag=COMMIT)),
        ({"repoURL": "oci://ghcr.io/acme/shop", "path": "."}, DIGEST, Artifact(digest=DIGEST)),
        ({"repoURL": "oci://ghcr.io/acme/shop", "path": "."}, "v1", Artifact(tag="v1")),
        ({**SOURCE, "targetRevision": COMMIT}, "", Artifact(commit=COMMIT)),
        ({"repoURL": "x", "chart": "shop", "targetRevision": "v1.2.0"}, None, Artifact(tag="v1.2.0")),
        ({"repoURL": "x", "chart": "shop", "targetRevision": "1.2.*"}, None, Artifact()),
        (SOURCE, "main", Artifact()),
    ],
)
def test_source_decides_what_the_revision_is(source: object, revision: object, expected: Artifact) -> None:
    found = adapted(of_source(source, revision))
    assert (Artifact() if isinstance(found, NoInterest) else found.artifact) == expected


@pytest.mark.parametrize(
    ("sources", "revisions", "expected"),
    [
        ([{"repoURL": "c", "chart": "shop"}, {**SOURCE, "ref": "values"}], ["1.2.0", COMMIT], "1.2.0"),
        ([{"repoURL": "v", "ref": "values"}, {"repoURL": "c", "chart": "shop"}], [COMMIT, "1.2.0"], "1.2.0"),
        ([{**SOURCE, "ref": "values"}, {"repoURL": "c", "chart": "shop"}], [COMMIT, "1.2.0"], COMMIT),
        ([{"repoURL": "v", "ref": "values"}], [COMMIT], None),
        ([SOURCE, {"repoURL": "c", "chart": "shop"}], [None, "1.2.0"], None),
        ([SOURCE], [], None),
    ],
)
def test_first_source_that_is_not_values_counts(sources: object, revisions: object, expected: str | None) -> None:
    found = adapted(of_sources(sources, revisions))
    assert (None if isinstance(found, NoInterest) else found.artifact.commit or found.artifact.tag) == expected


def test_single_image_counts_where_the_revision_does_not() -> None:
    images = {"app/status/summary/images": [f"ghcr.io/acme/shop:1.2@{DIGEST}", "", 3]}
    found = event(of_source(SOURCE, None, images)).artifact
    assert (found.image, found.tag, found.digest) == ("ghcr.io/acme/shop", "1.2", DIGEST)
    assert event(succeeded(images)).artifact == Artifact(commit=COMMIT, images=(f"ghcr.io/acme/shop:1.2@{DIGEST}",))


def test_images_set_with_kustomize_are_known_from_the_start() -> None:
    source = {**SOURCE, "kustomize": {"images": ["shop=ghcr.io/acme/shop:1.2", "proxy:3"]}}
    running = {f"{STATE}/phase": "Running", "app/status/summary/images": ["ghcr.io/acme/shop:1.1"]}
    found = event(of_source(source, COMMIT, running)).artifact
    assert found == Artifact(commit=COMMIT, images=("ghcr.io/acme/shop:1.2", "proxy:3"))


@pytest.mark.parametrize("holder", ["annotations", "labels"])
def test_marked_application_names_environment_and_release(holder: str) -> None:
    marks = {"rudder.dev/environment": "staging", "rudder.dev/release-id": RELEASE_ID}
    found = event(succeeded({f"app/metadata/{holder}": marks}))
    assert (found.scope["environment"], found.artifact.release_id) == ("staging", UUID(RELEASE_ID))


def test_info_of_the_operation_names_the_release() -> None:
    info = [{"name": "reason", "value": "hotfix"}, {"name": "rudder.dev/release-id", "value": RELEASE_ID}]
    assert event(succeeded({f"{STATE}/operation/info": info})).artifact.release_id == UUID(RELEASE_ID)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/acme/shop.git", ("github.com", "acme/shop")),
        ("git@github.com:acme/shop.git", ("github.com", "acme/shop")),
        ("ssh://git@git.example.com:7999/acme/shop", ("git.example.com", "acme/shop")),
        ("https://gitlab.example.com/acme/apps/shop/", ("gitlab.example.com", "acme/apps/shop")),
        ("https://[", (None, None)),
        ("file:///srv/shop", (None, None)),
        ("https://github.com", (None, None)),
    ],
)
def test_repository_is_read_from_the_url(url: str, expected: tuple[str | None, str | None]) -> None:
    scope = event(of_source({**SOURCE, "repoURL": url}, COMMIT)).scope
    assert (scope.get("host"), scope.get("repository")) == expected


def test_cluster_is_named_by_its_name_where_it_has_one() -> None:
    destination = {"name": "eu-1", "namespace": "shop"}
    assert event(succeeded({"app/spec/destination": destination})).scope["cluster"] == "eu-1"


def test_bare_application_has_the_same_run() -> None:
    whole = event(body_of(CAPTURED, SUCCEEDED))
    bare = event(body_of(CAPTURED, SUCCEEDED)["app"])
    assert (bare.run, bare.id, bare.type) == (whole.run, whole.id, whole.type)
    assert (bare.source, bare.original.url) == ("/applications/argocd/aaaaaaaaa", None)


def test_application_without_a_namespace_has_its_name_alone() -> None:
    found = event(without(succeeded(), "app/metadata/namespace"))
    assert found.scope["application"] == "aaaaaaaaa"


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("app/metadata/uid", None, "/app/metadata/uid: is missing"),
        ("app/metadata/name", None, "/app/metadata/name: is missing"),
        (f"{STATE}/startedAt", "", "/app/status/operationState/startedAt: is missing"),
        (f"{STATE}/finishedAt", "now", "/app/status/operationState/finishedAt: is not an RFC 3339 time with a zone"),
        (
            "app/metadata/labels",
            {"rudder.dev/release-id": "7"},
            "/app/metadata/labels/rudder.dev~1release-id: is not a UUID",
        ),
        ("app", None, "/app/metadata/uid: is missing"),
    ],
)
def test_missing_member_is_named(path: str, value: object, problem: str) -> None:
    with pytest.raises(Unreadable) as error:
        adapted(succeeded({path: value}))
    assert error.value.problem == problem


def test_other_kind_is_of_no_interest() -> None:
    assert result(adapted({"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet"})) == "other kind"


@pytest.mark.parametrize("name", files(CAPTURED))
def test_application_has_its_shape(name: str) -> None:
    body = body_of(CAPTURED, name)
    assert argocd.has_shape(body)
    assert argocd.has_shape(body["app"])


@pytest.mark.parametrize(
    "body", [{}, {"app": "shop"}, {"kind": "Application", "apiVersion": "app.k8s.io/v1"}, {"app": {"kind": 1}}]
)
def test_other_body_has_not_its_shape(body: dict[str, Any]) -> None:
    assert not argocd.has_shape(body)


def test_argocd_has_no_type_and_no_headers() -> None:
    assert not argocd.has_type("dev.argoproj.sync")
    assert not argocd.has_headers({"user-agent": "Go-http-client/1.1"})


OPINIONS = {"service.deployed": "deployment.succeeded", "incident.detected": "no operation"}


@pytest.mark.parametrize("name", files(OPINION))
def test_cdviz_comes_to_the_same_end(name: str) -> None:
    """CDviz sees an incident in an Application that has never been synchronised; we record nothing."""
    opinion = body_of(OPINION, name)
    source = name.replace(".1.json", ".json").replace(".2.json", ".json")
    found = adapted(body_of(CAPTURED, source))
    type_ = opinion["context"]["type"].removeprefix("dev.cdevents.").rpartition(".0.")[0]
    assert result(found) == OPINIONS[type_]
    if isinstance(found, ForeignEvent):
        assert found.time == datetime.fromisoformat(opinion["context"]["timestamp"])


def test_our_template_sends_what_the_adapter_reads() -> None:
    """The file was rendered with Go's text/template and the functions of Sprig, as Argo CD does."""
    kept = json.loads(RENDERED.read_text("utf-8"))
    data = yaml.safe_load(TEMPLATE.read_text("utf-8"))["data"]
    template = yaml.safe_load(data["template.rudder"])["webhook"]["rudder"]["body"]
    assert hashlib.sha256(template.encode()).hexdigest() == kept["template_sha256"], "render the payloads again"
    assert kept["rendered"].keys() == set(files(CAPTURED))
    for name, body in kept["rendered"].items():
        assert argocd.has_shape(body)
        assert adapted(body) == adapted(body_of(CAPTURED, name))


def test_our_template_is_sent_for_each_state() -> None:
    data = yaml.safe_load(TEMPLATE.read_text("utf-8"))["data"]
    trigger = yaml.safe_load(data["trigger.rudder"])
    assert [one["description"] for one in trigger] == [
        "on-sync-running",
        "on-deployed",
        "on-sync-failed",
        "on-health-degraded",
        "on-deleted",
    ]
    assert {name for one in trigger for name in one["send"]} == {"rudder"}
    assert yaml.safe_load(data["subscriptions"]) == [{"recipients": ["rudder"], "triggers": ["rudder"]}]


READ = [
    "app/kind",
    "app/metadata/uid",
    "app/metadata/name",
    "app/metadata/namespace",
    "app/metadata/labels",
    "app/metadata/deletionTimestamp",
    "app/spec/project",
    "app/spec/destination",
    "app/status/health",
    "app/status/health/status",
    "app/status/health/lastTransitionTime",
    "app/status/summary",
    "app/status/operationState",
    "app/status/operationState/phase",
    "app/status/operationState/startedAt",
    "app/status/operationState/finishedAt",
    "app/status/operationState/message",
    "app/status/operationState/operation",
    "app/status/operationState/operation/sync",
    "app/status/operationState/operation/info",
    "app/status/operationState/syncResult",
    "app/status/operationState/syncResult/revision",
    "app/status/operationState/syncResult/revisions",
    "app/status/operationState/syncResult/source",
    "app/status/operationState/syncResult/sources",
]


@settings(max_examples=examples(150), deadline=None)
@given(unusual(body_of(CAPTURED, SUCCEEDED), READ) | unusual(body_of(CAPTURED, CHART_DEGRADED), READ))
def test_unusual_members_have_an_answer(body: dict[str, Any]) -> None:
    check_answer(argocd, body)


@settings(max_examples=examples(100), deadline=None)
@given(json_objects() | mutated(CAPTURED))
def test_any_object_has_an_answer(body: dict[str, Any]) -> None:
    check_answer(argocd, body)
