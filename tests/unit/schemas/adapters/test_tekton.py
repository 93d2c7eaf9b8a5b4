"""Tekton: event types and conditions, what a run deploys, and its identity."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.adapters import tekton
from schemas.adapters.foreign import Artifact, ForeignEvent, ForeignRecord, NoInterest, Unreadable
from tests.hypothesis_profile import examples
from tests.unit.schemas.adapters.kubernetes_payloads import check_answer, result, unusual
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed, json_objects, mutated, without

FOLDER = "tekton"
RELEASE_ID = "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11"
UID = "4ccb4f01-3ecc-4eb4-87e1-76f04efeee5c"
COMMIT = "94fcc5e8673e0d2d7fbca6b1c6c455ba308314fc"
DIGEST = "sha256:827521c857fdcd4374f4da5442fbae2edb01e7fbae285c3ec15673d4c1daecb7"
SOURCE = "/apis/tekton.dev/v1/namespaces/default/pipelineruns/test"
SUCCESSFUL = "dev.tekton.event.pipelinerun.successful.v1"

RUN: dict[str, Any] = {
    "apiVersion": "tekton.dev/v1",
    "kind": "PipelineRun",
    "metadata": {
        "uid": UID,
        "name": "deploy-7",
        "namespace": "shop",
        "creationTimestamp": "2026-03-01T09:29:58Z",
        "annotations": {},
        "labels": {"tekton.dev/pipeline": "deploy"},
    },
    "spec": {
        "pipelineRef": {"name": "deploy"},
        "params": [
            {"name": "environment", "value": "staging"},
            {"name": "revision", "value": COMMIT},
            {"name": "git-url", "value": "https://github.com/acme/shop.git"},
        ],
    },
    "status": {
        "startTime": "2026-03-01T09:30:00Z",
        "completionTime": "2026-03-01T09:31:00Z",
        "conditions": [
            {
                "type": "Succeeded",
                "status": "True",
                "reason": "Succeeded",
                "message": "Tasks Completed: 2 (Failed: 0, Cancelled 0), Skipped: 0",
                "lastTransitionTime": "2026-03-01T09:31:01Z",
            }
        ],
    },
}


def adapted(
    body: Mapping[str, Any], type_: str | None = None, *, source: str | None = None, time: datetime | None = None
) -> ForeignEvent | NoInterest:
    return tekton.adapt(ForeignRecord(headers={}, body=body, type=type_, source=source, id="1", time=time))


def event(body: Mapping[str, Any], type_: str | None = None, *, source: str | None = None) -> ForeignEvent:
    found = adapted(body, type_, source=source)
    assert isinstance(found, ForeignEvent)
    return found


def with_condition(status: str | None, reason: str | None) -> dict[str, Any]:
    condition = {"type": "Succeeded", "status": status, "reason": reason, "lastTransitionTime": "2026-03-01T09:31:01Z"}
    return changed(RUN, {"status/conditions": [{"type": "Other", "status": "False"}, condition]})


def with_params(*params: tuple[str, object], results: object = ()) -> dict[str, Any]:
    return changed(
        RUN, {"spec/params": [{"name": name, "value": value} for name, value in params], "status/results": results}
    )


def wrapped(body: object, name: str = "pipelineRun") -> dict[str, Any]:
    return {name: body}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("events-doc.taskrun-unknown.json", "taskrun unknown"),
        ("objects/taskrun1.json", "taskrun of a pipeline"),
    ],
)
def test_recorded_taskrun_is_of_no_interest(name: str, expected: str) -> None:
    assert result(adapted(body_of(FOLDER, name))) == expected


@pytest.mark.parametrize("name", ["objects/pipelinerun1.json", "objects/pipelinerun-childrefs.json"])
def test_recorded_pipelinerun_without_uid_needs_an_envelope(name: str) -> None:
    """The objects of Tekton Chains have no metadata. In an event, its source names the object."""
    with pytest.raises(Unreadable, match=r"^/metadata/uid: is missing$"):
        adapted(body_of(FOLDER, name))
    found = event(wrapped(body_of(FOLDER, name)), SUCCESSFUL, source=SOURCE)
    assert (result(found), found.run, found.source) == ("deployment.succeeded", SOURCE, SOURCE)
    assert found.id == f"pipelinerun/{SOURCE}/successful"
    assert (found.artifact.image, found.artifact.digest) == ("test.io/test/image", DIGEST)
    assert found.scope == {"pipeline": "test-pipeline"}
    assert found.optional


def test_event_of_success_is_complete() -> None:
    found = event(wrapped(RUN), SUCCESSFUL, source=SOURCE)
    assert found.source == "/apis/tekton.dev/namespaces/shop/pipelineruns/deploy-7"
    assert (found.id, found.run) == (f"pipelinerun/{UID}/successful", UID)
    assert found.time == datetime(2026, 3, 1, 9, 31, tzinfo=UTC)
    assert (found.original.type, found.original.id, found.original.status) == (SUCCESSFUL, UID, "Succeeded")
    assert found.comment == "Tasks Completed: 2 (Failed: 0, Cancelled 0), Skipped: 0"
    assert found.artifact == Artifact(commit=COMMIT)
    assert not found.optional
    assert found.scope == {
        "namespace": "shop",
        "pipeline": "deploy",
        "environment": "staging",
        "host": "github.com",
        "repository": "acme/shop",
    }


@pytest.mark.parametrize(
    ("state", "expected", "second"),
    [
        ("queued", "deployment.requested", "09:29:58"),
        ("started", "deployment.started", "09:30:00"),
        ("running", "deployment.started", "09:30:00"),
        ("unknown", "pipelinerun unknown", None),
        ("successful", "deployment.succeeded", "09:31:00"),
        ("failed", "deployment.failed", "09:31:00"),
        ("paused", "pipelinerun unknown", None),
    ],
)
def test_event_type_decides(state: str, expected: str, second: str | None) -> None:
    found = adapted(wrapped(RUN), f"dev.tekton.event.pipelinerun.{state}.v1")
    assert result(found) == expected
    if isinstance(found, ForeignEvent):
        assert str(found.time) == f"2026-03-01 {second}+00:00"


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (None, None, "deployment.requested"),
        ("Unknown", "Started", "deployment.started"),
        ("Unknown", "Running", "deployment.started"),
        ("Unknown", "PipelineRunPending", "pipelinerun unknown"),
        ("Unknown", "ResolvingPipelineRef", "pipelinerun unknown"),
        ("Unknown", "CancelledRunningFinally", "pipelinerun unknown"),
        ("Unknown", None, "pipelinerun unknown"),
        ("True", "Succeeded", "deployment.succeeded"),
        ("True", "Completed", "deployment.succeeded"),
        ("False", "Failed", "deployment.failed"),
        ("False", "Cancelled", "deployment.cancelled"),
        ("False", "CancelledRunFinally", "deployment.cancelled"),
        ("False", "CancelledRunningFinally", "deployment.cancelled"),
        ("False", "StoppedRunFinally", "deployment.cancelled"),
        ("False", "StoppedRunningFinally", "deployment.cancelled"),
        ("False", "PipelineRunStopping", "deployment.cancelled"),
        ("False", "PipelineRunCancelled", "deployment.cancelled"),
        ("False", "PipelineRunTimeout", "deployment.failed"),
        ("False", "PipelineValidationFailed", "deployment.failed"),
        ("False", None, "deployment.failed"),
    ],
)
def test_condition_of_a_bare_object_decides(status: str | None, reason: str | None, expected: str) -> None:
    assert result(adapted(with_condition(status, reason))) == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("TaskRunCancelled", "deployment.cancelled"), ("TaskRunTimeout", "deployment.failed")],
)
def test_single_taskrun_is_a_deployment(reason: str, expected: str) -> None:
    spec = {"taskRef": {"name": "deploy"}, "params": RUN["spec"]["params"]}
    body = changed(with_condition("False", reason), {"kind": "TaskRun", "spec": spec, "metadata/labels": {}})
    found = event(wrapped(body, "taskRun"), "dev.tekton.event.taskrun.failed.v1")
    assert (result(found), found.scope["pipeline"]) == (expected, "deploy")
    assert found.id == f"taskrun/{UID}/failed"


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata/labels": {"tekton.dev/pipelineRun": "deploy-7"}},
        {"metadata/labels": {"tekton.dev/pipelineTask": "build"}},
        {"metadata/ownerReferences": [{"kind": "Other"}, {"kind": "PipelineRun"}]},
    ],
)
def test_taskrun_of_a_pipeline_is_of_no_interest(changes: dict[str, object]) -> None:
    body = wrapped(changed(RUN, {"kind": "TaskRun", "metadata/labels": {}, **changes}), "taskRun")
    assert result(adapted(body, "dev.tekton.event.taskrun.successful.v1")) == "taskrun of a pipeline"


@pytest.mark.parametrize(
    ("body", "type_", "expected"),
    [
        (wrapped({}, "customRun"), "dev.tekton.event.customrun.started.v1", "customrun"),
        (wrapped({}, "run"), None, "customrun"),
        ({"apiVersion": "tekton.dev/v1beta1", "kind": "CustomRun"}, None, "customrun"),
        ({"eventListener": "shop"}, "dev.tekton.event.run.started.v1", "customrun"),
        ({"eventListener": "shop"}, "dev.tekton.event.triggers.started.v1", "triggers"),
        ({}, "dev.tekton.event.triggers.done.v1", "triggers"),
    ],
)
def test_other_events_of_tekton_are_of_no_interest(body: dict[str, Any], type_: str | None, expected: str) -> None:
    assert result(adapted(body, type_)) == expected


def test_event_sent_twice_has_one_id() -> None:
    first = tekton.adapt(ForeignRecord(headers={}, body=wrapped(RUN), type=SUCCESSFUL, id="1", source="/a"))
    second = tekton.adapt(ForeignRecord(headers={}, body=wrapped(RUN), type=SUCCESSFUL, id="2", source="/b"))
    assert first == second


def test_bare_object_has_the_identity_of_its_event() -> None:
    bare, sent = event(RUN), event(wrapped(RUN), SUCCESSFUL, source=SOURCE)
    assert (bare.source, bare.id, bare.run, bare.time) == (sent.source, sent.id, sent.run, sent.time)


def test_states_of_one_run_have_one_run_and_artifact() -> None:
    states = ["queued", "started", "running", "successful", "failed"]
    found = [event(wrapped(RUN), f"dev.tekton.event.pipelinerun.{state}.v1") for state in states]
    assert len({one.id for one in found}) == len(states)
    assert {(one.source, one.run, one.artifact) for one in found} == {(found[0].source, UID, found[0].artifact)}


def test_time_of_the_envelope_is_the_last_resort() -> None:
    time = datetime(2026, 3, 1, 10, tzinfo=UTC)
    body = changed(RUN, {"status": {"conditions": [{"type": "Succeeded", "status": "True"}]}})
    found = adapted(body, time=time)
    assert isinstance(found, ForeignEvent)
    assert found.time == time


def test_end_without_a_completion_time_has_that_of_the_condition() -> None:
    assert event(without(RUN, "status/completionTime")).time == datetime(2026, 3, 1, 9, 31, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ([("environment", "staging")], "staging"),
        ([("ENVIRONMENT", " staging\n")], "staging"),
        ([("target_environment", "eu")], "eu"),
        ([("environment", ["staging"])], None),
        ([("environment", "")], None),
        ([("env", "staging")], None),
    ],
)
def test_parameter_names_the_environment(params: list[tuple[str, object]], expected: str | None) -> None:
    found = event(with_params(("revision", COMMIT), *params))
    assert found.scope.get("environment") == expected
    assert found.optional == (expected is None)


def test_annotation_names_the_environment_first() -> None:
    found = event(changed(RUN, {"metadata/annotations": {"rudder.dev/environment": "production"}}))
    assert found.scope["environment"] == "production"


IMAGE = "ghcr.io/acme/shop"
RESULTS = [{"name": "IMAGE_URL", "value": f"{IMAGE}\n"}, {"name": "IMAGE_DIGEST", "value": DIGEST}]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ([("revision", COMMIT.upper())], Artifact(commit=COMMIT)),
        ([("revision", "main"), ("git_commit", COMMIT)], Artifact(commit=COMMIT)),
        ([("image", f"{IMAGE}:1.2")], Artifact(image=IMAGE, tag="1.2")),
        ([("IMAGE_URL", IMAGE), ("IMAGE_DIGEST", DIGEST)], Artifact(image=IMAGE, digest=DIGEST)),
        ([("image", IMAGE), ("image-tag", "1.2"), ("image-tag", "1.3")], Artifact(image=IMAGE, tag="1.2")),
        ([("image", IMAGE), ("image-digest", "sha256:1")], None),
        ([("revision", "main")], None),
        ([], None),
    ],
)
def test_parameters_name_the_artifact(params: list[tuple[str, object]], expected: Artifact | None) -> None:
    started = adapted(wrapped(with_params(*params)), "dev.tekton.event.pipelinerun.started.v1")
    assert (started.artifact if isinstance(started, ForeignEvent) else None) == expected


def test_run_without_artifact_is_of_no_interest() -> None:
    assert result(adapted(with_params())) == "pipelinerun without artifact"


@pytest.mark.parametrize("name", ["results", "pipelineResults", "taskResults"])
def test_results_name_the_artifact_where_parameters_do_not(name: str) -> None:
    body = changed(with_params(), {f"status/{name}": RESULTS})
    reference = f"{IMAGE}@{DIGEST}"
    assert event(body).artifact == Artifact(image=IMAGE, digest=DIGEST, images=(reference,))
    started = adapted(wrapped(body), "dev.tekton.event.pipelinerun.started.v1")
    assert result(started) == "pipelinerun without artifact"


def test_results_do_not_change_the_artifact_of_the_parameters() -> None:
    body = with_params(("revision", COMMIT), results=RESULTS)
    assert event(body).artifact == Artifact(commit=COMMIT, images=(f"{IMAGE}@{DIGEST}",))


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([{"name": "CHAINS-GIT_COMMIT", "value": COMMIT}], Artifact(commit=COMMIT)),
        ([{"name": "IMAGE_URL", "value": f"{IMAGE}:1.2"}], Artifact(image=IMAGE, tag="1.2", images=(f"{IMAGE}:1.2",))),
        (
            [{"name": "image-url", "value": IMAGE}, {"name": "tag", "value": "1.2"}],
            Artifact(image=IMAGE, tag="1.2", images=(IMAGE,)),
        ),
        (
            [{"name": "IMAGE_URL", "value": f"{IMAGE}@{DIGEST}"}, RESULTS[1]],
            Artifact(image=IMAGE, digest=DIGEST, images=(f"{IMAGE}@{DIGEST}",)),
        ),
        (
            [
                {"name": "a-IMAGE_URL", "value": "a"},
                {"name": "b_IMAGE_URL", "value": "b"},
                {"name": "a-IMAGE_DIGEST", "value": DIGEST},
            ],
            Artifact(images=(f"a@{DIGEST}", "b")),
        ),
        (
            [
                {"name": "shop-ARTIFACT_OUTPUTS", "value": {"uri": IMAGE, "digest": DIGEST}},
                {"name": "x", "value": {"uri": "a", "digest": DIGEST}},
            ],
            Artifact(image=IMAGE, digest=DIGEST, images=(f"{IMAGE}@{DIGEST}",)),
        ),
        (
            [{"name": "shop-ARTIFACT_OUTPUTS", "value": {"uri": IMAGE, "digest": "sha256:"}}, 7, {"name": "IMAGE_URL"}],
            None,
        ),
        ([{"name": "IMAGE_URL", "value": IMAGE}], None),
    ],
)
def test_type_hints_of_chains_name_the_images(results: list[object], expected: Artifact | None) -> None:
    found = adapted(with_params(results=results))
    assert (found.artifact if isinstance(found, ForeignEvent) else None) == expected


def test_marker_names_the_release() -> None:
    body = changed(with_params(), {"metadata/annotations": {"rudder.dev/release-id": RELEASE_ID}})
    assert event(body).artifact == Artifact(release_id=UUID(RELEASE_ID))


def test_pipelines_as_code_names_commit_repository_and_actor() -> None:
    prefix = "pipelinesascode.tekton.dev"
    labels = {f"{prefix}/sha": COMMIT, f"{prefix}/branch": "main", f"{prefix}/sender": "maria"}
    annotations = {
        f"{prefix}/repo-url": "https://github.com/acme/shop",
        f"{prefix}/log-url": "https://ci.example.com/7",
    }
    found = event(changed(with_params(), {"metadata/labels": labels, "metadata/annotations": annotations}))
    assert (found.artifact.commit, found.actor, found.original.url) == (COMMIT, "maria", "https://ci.example.com/7")
    assert (found.scope["repository"], found.scope["branch"]) == ("acme/shop", "main")


def test_pipeline_of_a_resolver_is_named_by_its_label() -> None:
    found = event(changed(RUN, {"spec/pipelineRef": {"resolver": "git"}}))
    assert found.scope["pipeline"] == "deploy"


def test_object_without_a_name_has_the_source_of_its_kind() -> None:
    assert (
        event(without(without(RUN, "metadata/name"), "metadata/namespace")).source
        == "/apis/tekton.dev/namespaces/default/pipelineruns"
    )


@pytest.mark.parametrize(
    "body", [{}, {"pipelineRun": "x"}, {"kind": "Pod"}, {"spec": {"pipelineRef": {}}}, {"status": {"conditions": [{}]}}]
)
def test_body_without_a_run_is_unreadable(body: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match=r"^/: has neither pipelineRun nor taskRun"):
        adapted(body, SUCCESSFUL)


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (SUCCESSFUL, True),
        ("dev.tekton.event.triggers.failed.v1", True),
        ("dev.tekton.event.pipelinerun.successful.v1.x", False),
        ("dev.cdevents.pipelinerun.finished.0.2.0", False),
    ],
)
def test_type_is_recognised(type_: str, expected: bool) -> None:
    assert tekton.has_type(type_) is expected


@pytest.mark.parametrize(
    "name",
    [
        "events-doc.taskrun-unknown.json",
        "objects/taskrun1.json",
        "objects/pipelinerun1.json",
        "objects/pipelinerun-childrefs.json",
    ],
)
def test_recorded_body_has_its_shape(name: str) -> None:
    assert tekton.has_shape(body_of(FOLDER, name))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (RUN, True),
        (wrapped(RUN), True),
        ({"apiVersion": "tekton.dev/v1", "kind": "Pipeline"}, False),
        ({"apiVersion": "v1", "kind": "TaskRun"}, False),
        ({"taskRun": {}, "other": 1}, False),
        ({"spec": {"pipelineRef": {"name": "x"}}}, False),
        ({"kind": "TaskRun"}, True),
        ({}, False),
    ],
)
def test_shape_is_recognised(body: dict[str, Any], expected: bool) -> None:
    assert tekton.has_shape(body) is expected


def test_tekton_has_no_headers() -> None:
    assert not tekton.has_headers({"ce-type": SUCCESSFUL})


READ = [
    "kind",
    "metadata",
    "metadata/uid",
    "metadata/name",
    "metadata/namespace",
    "metadata/labels",
    "metadata/annotations",
    "metadata/ownerReferences",
    "spec",
    "spec/params",
    "spec/pipelineRef",
    "status",
    "status/conditions",
    "status/results",
    "status/completionTime",
]


@settings(max_examples=examples(150), deadline=None)
@given(unusual(RUN, READ), st.sampled_from([None, SUCCESSFUL, "dev.tekton.event.taskrun.queued.v1"]))
def test_unusual_members_have_an_answer(body: dict[str, Any], type_: str | None) -> None:
    check_answer(tekton, wrapped(body), type_=type_)
    check_answer(tekton, body, type_=type_)


@settings(max_examples=examples(100), deadline=None)
@given(json_objects() | mutated(FOLDER), st.sampled_from([None, SUCCESSFUL]))
def test_any_object_has_an_answer(body: dict[str, Any], type_: str | None) -> None:
    check_answer(tekton, body, type_=type_)
