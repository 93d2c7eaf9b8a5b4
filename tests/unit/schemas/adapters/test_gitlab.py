"""GitLab's webhooks: what each event and status becomes, and that no body causes another error."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings

from schemas.adapters import gitlab
from schemas.adapters.foreign import Artifact, ForeignEvent, ForeignRecord, Format, NoInterest, Original, Unreadable
from schemas.types import EventType, short_type
from tests.hypothesis_profile import examples
from tests.unit.schemas.adapters.source_pages import NONE, documented
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed, files, json_objects, mutated, without

# The event's type, the run and the time; or the kind that is of no interest.
EXPECTED: dict[str, tuple[str, str | None, str] | str] = {
    # A job without an environment.
    "go-gitlab/build.json": "build",
    "go-gitlab/deployment.json": ("deployment.succeeded", "job/796", "2021-04-28T19:50:00"),
    "go-gitlab/job.json": ("deployment.succeeded", "job/3580121225", "2023-01-10T13:50:54"),
    "go-gitlab/pipeline.json": ("deployment.succeeded", None, "2016-08-12T15:26:29"),
    "go-gitlab/release.json": ("GITLAB_RELEASE_CREATED", None, "2021-02-25T21:23:34"),
    "recorded/deployment.blocked.json": ("GITLAB_DEPLOYMENT_BLOCKED", None, "2026-08-02T07:59:54"),
    "recorded/deployment.failed.json": ("deployment.failed", "job/9905759933", "2025-05-02T12:30:19"),
    "recorded/deployment.running.json": ("deployment.started", "job/9905389091", "2025-05-02T11:54:46"),
    "recorded/deployment.success.json": ("deployment.succeeded", "job/9905389091", "2025-05-02T11:55:16"),
}

RUNNING = body_of("gitlab", "recorded/deployment.running.json")
SUCCESS = body_of("gitlab", "recorded/deployment.success.json")
BLOCKED = body_of("gitlab", "recorded/deployment.blocked.json")
JOB = body_of("gitlab", "go-gitlab/job.json")
PIPELINE = body_of("gitlab", "go-gitlab/pipeline.json")
RELEASE = body_of("gitlab", "go-gitlab/release.json")
COMMIT = "58793660b22d6ceacbdc23b28a0562bca339702c"


def record(body: Mapping[str, Any], **headers: str) -> ForeignRecord:
    """`headers`: their names with underscores for hyphens."""
    return ForeignRecord(headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body)


def event_of(body: Mapping[str, Any], **headers: str) -> ForeignEvent:
    event = gitlab.adapt(record(body, **headers))
    assert isinstance(event, ForeignEvent)
    return event


def named(event: ForeignEvent) -> str:
    return event.activity_type or short_type(event.type)


def test_every_recorded_payload_has_an_expected_result() -> None:
    assert files("gitlab") == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_payload_has_its_result(name: str) -> None:
    adapted = gitlab.adapt(record(body_of("gitlab", name)))
    expected = EXPECTED[name]
    if isinstance(expected, str):
        assert adapted == NoInterest(format=Format.GITLAB, kind=expected)
        return
    assert isinstance(adapted, ForeignEvent)
    assert adapted.time is not None
    assert (named(adapted), adapted.run, adapted.time.isoformat().removesuffix("+00:00")) == expected


def test_deployment_is_started() -> None:
    assert event_of(RUNNING) == ForeignEvent(
        format=Format.GITLAB,
        type=EventType.DEPLOYMENT_STARTED,
        source="https://gitlab.com/example-group/demo",
        id="deployment/988572802/running/2025-05-02T11:54:46.000000Z",
        time=datetime(2025, 5, 2, 11, 54, 46, tzinfo=UTC),
        original=Original(
            type="deployment",
            id="988572802",
            status="running",
            url="https://gitlab.com/example-group/demo/-/jobs/9905389091",
            actor="example-user",
        ),
        run="job/9905389091",
        scope={
            "host": "gitlab.com",
            "organization": "example-group",
            "repository": "example-group/demo",
            "project": "example-group/demo",
            "branch": "master",
            "environment": "production",
        },
        artifact=Artifact(commit=COMMIT),
        actor="example-user",
        comment="Update .gitlab-ci.yml file",
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("created", "deployment.requested"),
        ("running", "deployment.started"),
        ("success", "deployment.succeeded"),
        ("failed", "deployment.failed"),
        ("canceled", "deployment.cancelled"),
        ("skipped", "deployment.cancelled"),
        ("blocked", "GITLAB_DEPLOYMENT_BLOCKED"),
        ("approved", "GITLAB_DEPLOYMENT_APPROVED"),
        ("rejected", "GITLAB_DEPLOYMENT_REJECTED"),
        ("unheard_of", "GITLAB_DEPLOYMENT_STATUS"),
    ],
)
def test_status_of_a_deployment_has_its_event(status: str, expected: str) -> None:
    event = event_of(changed(RUNNING, {"status": status}))
    assert named(event) == expected
    assert event.original.status == status
    assert event.run == (None if expected.startswith("GITLAB") else "job/9905389091")


def test_page_has_every_status() -> None:
    deployments = {status: short_type(type_) for status, type_ in gitlab.DEPLOYMENT_STATUSES.items()}
    assert documented("gitlab.md", "deployment-statuses") == {**deployments, **gitlab.DEPLOYMENT_ACTIVITIES}
    for column, statuses in ((1, gitlab.JOB_STATUSES), (2, gitlab.PIPELINE_STATUSES)):
        page = documented("gitlab.md", "job-statuses", column=column)
        assert {status for status, event in page.items() if event == NONE} == page.keys() - statuses.keys()
        assert {status: page[status] for status in statuses} == {
            status: short_type(type_) for status, type_ in statuses.items()
        }


@pytest.mark.parametrize(
    ("status", "expected", "time"),
    [
        ("waiting_for_resource", "deployment.requested", "build_created_at"),
        ("preparing", "deployment.requested", "build_created_at"),
        ("waiting_for_callback", "deployment.requested", "build_created_at"),
        ("pending", "deployment.requested", "build_created_at"),
        ("running", "deployment.started", "build_started_at"),
        ("success", "deployment.succeeded", "build_finished_at"),
        ("failed", "deployment.failed", "build_finished_at"),
        ("canceled", "deployment.cancelled", "build_finished_at"),
    ],
)
def test_status_of_a_job_has_its_event(status: str, expected: str, time: str) -> None:
    event = event_of(changed(JOB, {"build_status": status, time: "2026-03-01T09:30:00.250Z"}))
    assert named(event) == expected
    assert event.time == datetime(2026, 3, 1, 9, 30, 0, 250_000, tzinfo=UTC)
    assert event.id == f"job/3580121225/{status}"


@pytest.mark.parametrize("status", ["created", "manual", "scheduled", "skipped", "canceling", "unheard_of"])
def test_job_that_was_not_started_is_of_no_interest(status: str) -> None:
    assert gitlab.adapt(record(changed(JOB, {"build_status": status}))) == NoInterest(
        format=Format.GITLAB, kind="build"
    )


@pytest.mark.parametrize("action", ["stop", "prepare", "verify", "access"])
def test_job_that_does_not_deploy_is_of_no_interest(action: str) -> None:
    assert gitlab.adapt(record(changed(JOB, {"environment/action": action}))) == NoInterest(
        format=Format.GITLAB, kind="build"
    )
    assert event_of(without(JOB, "environment/action")).type == EventType.DEPLOYMENT_SUCCEEDED


def test_job_and_its_deployment_are_one_run() -> None:
    job = changed(
        JOB,
        {
            "build_id": 9905389091,
            "project": RUNNING["project"],
            "sha": COMMIT,
        },
    )
    events = [event_of(job), event_of(RUNNING), event_of(SUCCESS)]
    assert len({(event.source, event.run) for event in events}) == 1
    assert len({event.artifact for event in events}) == 1
    assert len({event.scope["environment"] for event in events}) == 1


def test_job_of_an_older_version_has_a_repository() -> None:
    event = event_of(JOB)
    assert event.source == "https://gitlab.com/jsmithy2/release-tools-fake"
    assert event.scope == {
        "host": "gitlab.com",
        "organization": "jsmithy2",
        "repository": "jsmithy2/release-tools-fake",
        "project": "jsmithy2/release-tools-fake",
        "pipeline": "auto_deploy:start",
        "branch": "main",
        "environment": "production",
    }


@pytest.mark.parametrize(
    ("status", "expected", "time"),
    [
        ("created", "deployment.requested", "created_at"),
        ("waiting_for_resource", "deployment.requested", "created_at"),
        ("preparing", "deployment.requested", "created_at"),
        ("waiting_for_callback", "deployment.requested", "created_at"),
        ("pending", "deployment.requested", "created_at"),
        ("running", "deployment.started", "created_at"),
        ("success", "deployment.succeeded", "finished_at"),
        ("failed", "deployment.failed", "finished_at"),
        ("canceled", "deployment.cancelled", "finished_at"),
        ("skipped", "deployment.cancelled", "finished_at"),
    ],
)
def test_status_of_a_pipeline_has_its_event(status: str, expected: str, time: str) -> None:
    changes = {"object_attributes/status": status, f"object_attributes/{time}": "2026-03-01 09:30:00 UTC"}
    event = event_of(changed(PIPELINE, changes))
    assert named(event) == expected
    assert event.time == datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    assert event.optional
    assert "environment" not in event.scope


@pytest.mark.parametrize("status", ["manual", "scheduled", "canceling", "unheard_of"])
def test_other_status_of_a_pipeline_is_of_no_interest(status: str) -> None:
    body = changed(PIPELINE, {"object_attributes/status": status})
    assert gitlab.adapt(record(body)) == NoInterest(format=Format.GITLAB, kind="pipeline")


def test_retried_pipeline_has_no_run_and_another_id() -> None:
    retried = changed(PIPELINE, {"object_attributes/finished_at": "2016-08-12 16:00:00 UTC"})
    first, second = event_of(PIPELINE), event_of(retried)
    assert (first.run, second.run) == (None, None)
    assert first.id == "pipeline/31/success/2016-08-12T15:26:29.000000Z"
    assert first.id != second.id


def test_pipeline_has_its_name_and_branch() -> None:
    event = event_of(changed(PIPELINE, {"object_attributes/name": "Deploy", "object_attributes/url": "http://x/31"}))
    assert (event.scope["pipeline"], event.scope["branch"], event.original.url) == ("Deploy", "master", "http://x/31")
    assert event.artifact == Artifact(commit="bcbb5ec396a2c0f828686f14fac9b80b780504f2")


def test_tag_of_a_pipeline_is_stated() -> None:
    for is_tag, reference, tag, branch in (
        (True, "nightly", "nightly", None),
        (False, "1.0.0", None, "1.0.0"),
        (None, "1.0.0", "1.0.0", None),
    ):
        event = event_of(changed(PIPELINE, {"object_attributes/tag": is_tag, "object_attributes/ref": reference}))
        assert (event.artifact.tag, event.scope.get("branch")) == (tag, branch)


@pytest.mark.parametrize("reference", ["nightly", "1.0.0"])
@pytest.mark.parametrize("is_tag", [True, False])
def test_job_has_the_tag_of_its_deployment(reference: str, *, is_tag: bool) -> None:
    job = event_of(changed(JOB, {"ref": reference, "tag": is_tag}))
    deployment = event_of(changed(RUNNING, {"ref": reference}))
    assert job.artifact.tag == deployment.artifact.tag
    assert job.scope.get("branch") == deployment.scope.get("branch")


def test_deployment_of_a_version_has_a_tag() -> None:
    event = event_of(body_of("gitlab", "go-gitlab/deployment.json"))
    assert event.artifact == Artifact(commit="279484c09fbe69ededfced8c1bb6e6d24616b468", tag="1.0.0")
    assert event.scope["host"] == "10.126.0.2:3000"


def test_release_has_the_tag_and_the_commit() -> None:
    event = event_of(RELEASE)
    assert event.artifact == Artifact(commit="2626dbdb936782b5c54816b1c6d45b1279303c6d", tag="1.0.0")
    assert (event.id, event.comment, event.optional) == ("release/8273642/create", "1.0.0", False)
    assert event.original.url == "http://example.com/exm-namespace/example-project/-/releases/1.0.0"


@pytest.mark.parametrize("action", ["update", "delete"])
def test_changed_release_is_of_no_interest(action: str) -> None:
    assert gitlab.adapt(record(changed(RELEASE, {"action": action}))) == NoInterest(
        format=Format.GITLAB, kind="release"
    )


def test_approval_has_its_approver_and_comment() -> None:
    approval = {"id": 7, "status": "approved", "comment": "Checked"}
    body = changed(BLOCKED, {"status": "approved", "approver": {"username": "ada"}, "approval": approval})
    event = event_of(body)
    assert (event.actor, event.original.actor, event.comment) == ("ada", "ada", "Checked")
    assert event.id == "deployment/1503204389/approved/2026-08-02T07:59:54.000000Z/7"
    assert event_of(changed(body, {"approval/id": 8})).id != event.id


def test_deployment_by_the_api_has_no_job() -> None:
    event = event_of(changed(RUNNING, {"deployable_id": None, "deployable_url": None}))
    assert (event.run, event.original.url) == ("deployment/988572802", None)


def test_deployment_of_an_older_version_has_only_the_job() -> None:
    event = event_of(without(without(RUNNING, "deployment_id"), "status_changed_at"))
    assert (event.id, event.run, event.time) == ("deployment/9905389091/running", "job/9905389091", None)


def test_retried_delivery_has_the_same_id() -> None:
    key = "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"
    assert event_of(RUNNING, idempotency_key=key).id == key
    assert event_of(RUNNING, idempotency_key=key) == event_of(RUNNING, idempotency_key=key)
    assert event_of(RUNNING, idempotency_key="a b").id == event_of(RUNNING).id


def test_hooks_that_trigger_each_other_have_other_ids() -> None:
    shared = "13792a34-cac6-4fda-95a8-c58e00a3954e"
    ids = [event_of(body, x_gitlab_event_uuid=shared).id for body in (RUNNING, SUCCESS, JOB, PIPELINE, RELEASE)]
    assert len(set(ids)) == len(ids)


def test_event_of_knative_has_a_derived_id() -> None:
    for type_ in (
        "dev.knative.source.gitlab.Deployment Hook",
        "dev.knative.sources.gitlabsource.Deployment Hook",
        "dev.knative.sources.gitlab.deployment",
    ):
        assert gitlab.has_type(type_)
        event = gitlab.adapt(replace(record(RUNNING), type=type_, id="1", source="https://gitlab.com/x.git"))
        assert event == event_of(RUNNING)
    assert not gitlab.has_type("dev.knative.source.github.deployment")


@pytest.mark.parametrize(
    "text",
    ["2025-05-02 11:54:46 +0000", "2025-05-02 11:54:46 UTC", "2025-05-02T11:54:46.000+00:00", "2025-05-02T11:54:46Z"],
)
def test_time_has_one_of_four_formats(text: str) -> None:
    assert event_of(changed(RUNNING, {"status_changed_at": text})) == event_of(RUNNING)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (without(RUNNING, "status"), "/status: is missing"),
        (without(RUNNING, "environment"), "/environment: is missing"),
        (without(without(RUNNING, "deployment_id"), "deployable_id"), "/deployment_id: is missing"),
        (changed(RUNNING, {"commit_url": None}), "/commit_url: has no whole hash of a commit"),
        (changed(RUNNING, {"commit_url": "http://x/-/commit/58793660"}), "/commit_url: has no whole hash of a commit"),
        (changed(RUNNING, {"status_changed_at": "now"}), "/status_changed_at: is not an RFC 3339"),
        (without(RUNNING, "project"), "/project/web_url: is missing"),
        (changed(RUNNING, {"project": {"web_url": "https://gitlab.com"}}), "/project/path_with_namespace: is missing"),
        (without(JOB, "build_status"), "/build_status: is missing"),
        (without(JOB, "build_id"), "/build_id: is missing"),
        (without(JOB, "environment/name"), "/environment/name: is missing"),
        (without(JOB, "sha"), "/sha: has no whole hash of a commit"),
        (without(PIPELINE, "object_attributes"), "/object_attributes: is missing"),
        (without(PIPELINE, "object_attributes/sha"), "/object_attributes/sha: has no whole hash"),
        (without(RELEASE, "tag"), "/tag: is missing"),
        (without(RELEASE, "action"), "/action: is missing"),
        ({}, "/object_kind: is missing"),
        ({"object_kind": 7.5}, "/object_kind: is not a string"),
        ({"deployment": {"id": 1}}, "/object_kind: is missing"),
    ],
)
def test_incomplete_body_is_unreadable(body: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(Unreadable) as error:
        gitlab.adapt(record(body))
    assert error.value.problem.startswith(problem)
    assert not error.value.unsupported


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"object_kind": "push"}, "push"),
        ({"object_kind": "merge_request"}, "merge_request"),
        ({"object_kind": "unheard_of"}, "other"),
        ({"event_name": "project_create"}, "other"),
    ],
)
def test_other_event_is_of_no_interest(body: Mapping[str, Any], kind: str) -> None:
    assert gitlab.adapt(record(body)) == NoInterest(format=Format.GITLAB, kind=kind)


def test_header_is_that_of_gitlab() -> None:
    assert gitlab.has_headers({"x-gitlab-event": "Push Hook"})
    assert not gitlab.has_headers({"x-github-event": "push"})


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_body_has_the_shape(name: str) -> None:
    assert gitlab.has_shape(body_of("gitlab", name))


@pytest.mark.parametrize("folder", ["github", "argocd", "bitbucket", "azure-devops", "flux", "circleci", "cdevents"])
def test_body_of_another_source_has_another_shape(folder: str) -> None:
    names = files(folder)
    assert names
    assert [name for name in names if gitlab.has_shape(body_of(folder, name))] == []


def check_any_body(body: Mapping[str, Any]) -> None:
    gitlab.has_shape(body)
    try:
        adapted = gitlab.adapt(ForeignRecord(headers={}, body=body))
    except Unreadable as error:
        assert error.problem.startswith("/")  # noqa: PT017
        return
    match adapted:
        case NoInterest(kind=kind):
            assert kind in gitlab.KINDS | {"other"}
        case ForeignEvent():
            assert 0 < len(adapted.id) <= 255
            assert (adapted.type == EventType.ACTIVITY_RECORDED) == (adapted.activity_type is not None)
            assert adapted.artifact != Artifact()


@settings(max_examples=examples(100))
@given(body=json_objects())
@example(body={"object_kind": "deployment", "project": {"web_url": "http://["}})
def test_any_object_is_adapted_or_unreadable(body: dict[str, Any]) -> None:
    check_any_body(body)


@settings(max_examples=examples(200))
@given(body=mutated("gitlab"))
def test_mutated_payload_is_adapted_or_unreadable(body: dict[str, Any]) -> None:
    check_any_body(body)
