"""Flagger: the events that mark a change of a canary, their identity, and what is deployed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings

from schemas.adapters import flagger, flux
from schemas.adapters.flagger import CHANGES, PHASES
from schemas.adapters.foreign import Artifact, ForeignEvent, ForeignRecord, NoInterest, Unreadable
from schemas.types import short_type
from tests.hypothesis_profile import examples
from tests.unit.schemas.adapters.kubernetes_payloads import check_answer, result, unusual
from tests.unit.schemas.adapters.source_pages import documented
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed, json_objects, mutated, without

FOLDER = "flux"
RECORDED = "flagger-monitoring-1.json"
CHECKSUM = "85d557f47b"
COMMIT = "731f7eaddfb6af01cb2173e18f0f75b0ba780ef1"
START = "New revision detected! Scaling up"
RELEASE_ID = "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11"


def adapted(body: Mapping[str, Any]) -> ForeignEvent | NoInterest:
    return flagger.adapt(ForeignRecord(headers={}, body=body))


def event(body: Mapping[str, Any]) -> ForeignEvent:
    found = adapted(body)
    assert isinstance(found, ForeignEvent)
    return found


def canary(phase: str = "Progressing", message: str | None = START, **metadata: str | None) -> dict[str, Any]:
    body = changed(body_of(FOLDER, RECORDED), {"phase": phase, "checksum": CHECKSUM, "metadata/eventMessage": message})
    return changed(body, {f"metadata/{name}": value for name, value in metadata.items()})


def test_recorded_event_names_no_artifact() -> None:
    body = body_of(FOLDER, RECORDED)
    assert flagger.has_shape(body)
    assert result(adapted(body)) == "no artifact"


def test_start_of_a_canary_is_complete() -> None:
    found = event(canary())
    assert result(found) == "deployment.started"
    assert found.source == "/apis/flagger.app/namespaces/default/canaries/podinfo"
    assert (found.id, found.run) == ("default/podinfo/Progressing/1578607635167", None)
    assert found.time == datetime(2020, 1, 9, 22, 7, 15, 167000, tzinfo=UTC)
    assert found.artifact == Artifact(tag=CHECKSUM)
    assert found.scope == {"service": "podinfo", "namespace": "default"}
    assert (found.original.type, found.original.status) == ("canary.Progressing", "Progressing")
    assert found.comment == "New revision detected! Scaling up"


@pytest.mark.parametrize(
    ("phase", "message", "expected"),
    [
        ("Initializing", "podinfo-primary.test not ready", "Initializing"),
        ("Initialized", "Initialization done! podinfo.test", "deployment.succeeded"),
        ("Waiting", "Halt podinfo.test advancement waiting for approval", "Waiting"),
        ("Progressing", "New revision detected! Scaling up podinfo.test", "deployment.started"),
        ("Progressing", "New revision detected! Restarting analysis for podinfo.test", "deployment.started"),
        ("Progressing", "Advance podinfo.test canary weight 20", "Progressing"),
        ("Progressing", "Rolling back podinfo.test failed checks threshold reached 5", "Progressing"),
        ("WaitingPromotion", "Halt podinfo.test advancement", "WaitingPromotion"),
        ("Promoting", "Advance podinfo.test primary weight 50", "Promoting"),
        ("Finalising", "Routing all traffic to primary", "Finalising"),
        ("Succeeded", "Promotion completed! Scaling down podinfo.test", "deployment.succeeded"),
        ("Succeeded", "Promotion completed! Canary analysis was skipped for podinfo.test", "deployment.succeeded"),
        ("Succeeded", "skipping canary run as object is suspended", "Succeeded"),
        ("Failed", "Canary failed! Scaling down podinfo.test", "deployment.failed"),
        ("Failed", "podinfo-primary.test not ready", "Failed"),
        ("Terminating", "Terminating canary podinfo.test", "Terminating"),
        ("Terminated", "Terminated canary podinfo.test", "Terminated"),
        ("Paused", "Promotion completed!", "other phase"),
        ("Succeeded", None, "hook"),
    ],
)
def test_phase_and_message_decide(phase: str, message: str | None, expected: str) -> None:
    assert result(adapted(canary(phase, message))) == expected


def test_page_has_the_phases() -> None:
    changes = {phase: short_type(type_) for phase, (_, type_) in CHANGES.items()}
    assert documented("flagger.md", "phases", column=2) == {**dict.fromkeys(PHASES, "no interest"), **changes}


def test_delivered_again_has_the_same_identity() -> None:
    assert event(canary()) == event(canary())


def test_next_rollout_of_one_checksum_has_another_id() -> None:
    """The checksum is the same again when an earlier version returns."""
    assert event(canary(timestamp="1578607999999")).id != event(canary()).id


def test_canaries_of_two_clusters_have_two_ids() -> None:
    ids = {event(canary(cluster=cluster)).id for cluster in ("eu-1", "eu-2", None)}
    assert len(ids) == 3


def test_metadata_of_the_webhook_names_environment_and_cluster() -> None:
    found = event(canary(environment="test", cluster="flagger-test"))
    assert (found.scope["environment"], found.scope["cluster"]) == ("test", "flagger-test")
    body = canary(environment="test")
    body["metadata"]["rudder.dev/environment"] = "staging"
    assert event(body).scope["environment"] == "staging"


DIGEST = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"image": "ghcr.io/acme/shop:1.2"}, Artifact(image="ghcr.io/acme/shop", tag="1.2")),
        ({"image": f"ghcr.io/acme/shop@{DIGEST}"}, Artifact(image="ghcr.io/acme/shop", digest=DIGEST)),
        ({"image": "ghcr.io/acme/shop", "tag": "1.2"}, Artifact(image="ghcr.io/acme/shop", tag="1.2")),
        ({"commit": COMMIT}, Artifact(commit=COMMIT)),
        ({"commit": "731f7ea"}, Artifact(tag=CHECKSUM)),
        ({}, Artifact(tag=CHECKSUM)),
    ],
)
def test_metadata_of_the_webhook_names_the_artifact(metadata: dict[str, str], expected: Artifact) -> None:
    assert event(canary(**metadata)).artifact == expected


def test_metadata_of_the_webhook_names_the_release() -> None:
    body = canary()
    body["metadata"]["rudder.dev/release-id"] = RELEASE_ID
    assert event(body).artifact == Artifact(release_id=UUID(RELEASE_ID))


@pytest.mark.parametrize("path", ["name", "namespace", "phase", "metadata/timestamp"])
def test_missing_member_is_named(path: str) -> None:
    with pytest.raises(Unreadable, match=rf"^/{path}: is missing$"):
        adapted(without(canary(), path))


@pytest.mark.parametrize("timestamp", ["soon", "9" * 30])
def test_time_is_in_milliseconds(timestamp: str) -> None:
    with pytest.raises(Unreadable, match=r"^/metadata/timestamp: is "):
        adapted(canary(timestamp=timestamp))


def test_kubernetes_event_of_a_canary_is_of_no_interest() -> None:
    body = {
        "involvedObject": {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "podinfo"},
        "reason": "Synced",
        "severity": "info",
    }
    assert flagger.has_shape(body)
    assert not flux.has_shape(body)
    assert result(adapted(body)) == "Kubernetes event"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "podinfo", "namespace": "test", "phase": "Progressing", "checksum": CHECKSUM}, True),
        ({"name": "podinfo", "namespace": "test", "phase": "Progressing"}, False),
        ({"name": "podinfo", "phase": "Progressing", "checksum": CHECKSUM}, False),
        ({"name": "podinfo", "namespace": "test", "phase": "Paused", "checksum": CHECKSUM}, False),
        ({"phase": []}, False),
        ({}, False),
    ],
)
def test_shape_is_recognised(body: dict[str, Any], expected: bool) -> None:
    assert flagger.has_shape(body) is expected


def test_flagger_has_no_type_and_no_headers() -> None:
    assert not flagger.has_type("dev.flagger.canary")
    assert not flagger.has_headers({"content-type": "application/json"})


READ = [
    "name",
    "namespace",
    "phase",
    "checksum",
    "metadata",
    "metadata/eventMessage",
    "metadata/timestamp",
    "metadata/image",
    "metadata/commit",
    "metadata/environment",
]


@settings(max_examples=examples(150), deadline=None)
@given(unusual(canary(), READ))
def test_unusual_members_have_an_answer(body: dict[str, Any]) -> None:
    check_answer(flagger, body)


@settings(max_examples=examples(100), deadline=None)
@given(json_objects() | mutated(FOLDER))
def test_any_object_has_an_answer(body: dict[str, Any]) -> None:
    check_answer(flagger, body)
