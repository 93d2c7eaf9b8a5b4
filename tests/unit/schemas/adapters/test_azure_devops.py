"""Azure DevOps' service hooks: what each event and result becomes, and that no body causes another error."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings

from schemas.adapters import azure_devops
from schemas.adapters.azure_devops import RUN_RESULTS, STATES
from schemas.adapters.azure_releases import DEPLOYMENT_RESULTS
from schemas.adapters.foreign import Artifact, ForeignEvent, ForeignRecord, Format, NoInterest, Original, Unreadable
from schemas.types import EventType, short_type
from tests.hypothesis_profile import examples
from tests.unit.schemas.adapters.source_pages import NONE, documented
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed, files, json_objects, mutated, without

COMMIT = "58793660b22d6ceacbdc23b28a0562bca339702c"
PROJECT = "be9b3917-87e6-42a4-a549-2bc06a7a878f"
SOURCE = f"azure-devops:c12d0eb8-e382-443b-9f9c-c52cba5014c2/{PROJECT}"
SETTING = "set 'Resource details to send' of the subscription to 'All' (resourceDetailsToSend)"

EXPECTED = {
    "build.complete.json": ("deployment.succeeded", "run/2"),
    "release.deployment-completed.json": ("deployment.succeeded", "release/1/environment/5/attempt/1"),
    "release.deployment-started.json": ("deployment.started", "release/5/environment/5/attempt/1"),
    "run-state-changed.json": ("deployment.succeeded", "run/11"),
    "stage-state-changed.json": ("deployment.succeeded", "run/2/attempt/1/stage/__default"),
}

BUILD = body_of("azure-devops", "build.complete.json")
COMPLETED = body_of("azure-devops", "release.deployment-completed.json")
STARTED = body_of("azure-devops", "release.deployment-started.json")
RUN = body_of("azure-devops", "run-state-changed.json")
STAGE = body_of("azure-devops", "stage-state-changed.json")

# The members that the reference leaves out: what the services of today send of a run.
REPOSITORIES = {
    "self": {"repository": {"id": "1", "type": "azureReposGit"}, "refName": "refs/heads/main", "version": COMMIT}
}
OWN_REPOSITORY = {
    "alias": "self",
    "type": "Git",
    "change": {"version": COMMIT},
    "url": "https://acme@dev.azure.com/acme/Fabrikam%20Fiber/_git/shop",
}
DEPLOY = changed(
    STAGE,
    {
        "resource/stage/name": "Production",
        "resource/stage/attempt": 2,
        "resource/run/resources": {"repositories": REPOSITORIES},
        "resource/repositories": [OWN_REPOSITORY, {"alias": "tools", "url": "https://api.github.com/repos/acme/tools"}],
        "resource/stage/_links/web/href": "https://dev.azure.com/acme/Fabrikam%20Fiber/_build/results?buildId=2",
        "resourceContainers/account/baseUrl": "https://dev.azure.com/acme/",
        "resource/requestedFor": {"displayName": "Example Dev"},
    },
)


def record(body: Mapping[str, Any], **attributes: Any) -> ForeignRecord:
    return ForeignRecord(headers={}, body=body, **attributes)


def event_of(body: Mapping[str, Any], **attributes: Any) -> ForeignEvent:
    event = azure_devops.adapt(record(body, **attributes))
    assert isinstance(event, ForeignEvent)
    return event


def result_of(body: Mapping[str, Any]) -> str:
    try:
        adapted = azure_devops.adapt(record(body))
    except Unreadable as error:
        return error.problem
    return f"no interest: {adapted.kind}" if isinstance(adapted, NoInterest) else short_type(adapted.type)


def test_every_published_payload_has_an_expected_result() -> None:
    assert files("azure-devops") == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_published_payload_has_its_result(name: str) -> None:
    body = body_of("azure-devops", name)
    event = event_of(body)
    assert (short_type(event.type), event.run) == EXPECTED[name]
    assert event.id == body["id"]
    assert azure_devops.has_shape(body)


def test_stage_is_read_completely() -> None:
    assert event_of(DEPLOY) == ForeignEvent(
        format=Format.AZURE_DEVOPS,
        type=EventType.DEPLOYMENT_SUCCEEDED,
        source=f"https://dev.azure.com/acme/{PROJECT}",
        id="ac1dd6da-af30-43cb-8434-e1005864b0a3",
        time=datetime(2019, 12, 13, 6, 10, 10, 186000, tzinfo=UTC),
        original=Original(
            type="ms.vss-pipelines.stage-state-changed-event",
            id="run/2/stage/Production",
            status="succeeded",
            url="https://dev.azure.com/acme/Fabrikam%20Fiber/_build/results?buildId=2",
            actor="Example Dev",
        ),
        run="run/2/attempt/2/stage/Production",
        scope={
            "host": "dev.azure.com",
            "organization": "acme",
            "project": "Fabrikam Fiber",
            "repository": "shop",
            "pipeline": "TEST-CI",
            "branch": "main",
            "environment": "Production",
        },
        artifact=Artifact(commit=COMMIT),
        actor="Example Dev",
        comment="Run 2 stage __default succeeded.",
        optional=True,
    )


def test_classic_deployment_is_read_completely() -> None:
    body = changed(
        COMPLETED,
        {
            "resource/deployment": {"attempt": 3, "requestedFor": {"displayName": "Example Dev"}},
            "resource/environment/releaseDefinition": {"name": "Fabrikam.CD"},
        },
    )
    assert event_of(body) == ForeignEvent(
        format=Format.AZURE_DEVOPS,
        type=EventType.DEPLOYMENT_SUCCEEDED,
        source="azure-devops:c12d0eb8-e382-443b-9f9c-c52cba5014c2/00000000-0000-0000-0000-000000000000",
        id="c3e52c57-187a-45c4-abe2-184a48291bad",
        time=datetime(2016, 9, 19, 13, 3, 28, 534509, tzinfo=UTC),
        original=Original(
            type="ms.vss-release.deployment-completed-event",
            id="release/1/environment/5/attempt/3",
            status="succeeded",
            url="http://fabfiber.vsrm.visualstudio.com/DefaultCollection/Fabrikam-Fiber-Git/_apis/Release/releases/1",
            actor="Example Dev",
        ),
        run="release/1/environment/5/attempt/3",
        scope={
            "host": "fabfiber.vsrm.visualstudio.com",
            "organization": "fabfiber",
            "project": "Fabrikam",
            "pipeline": "Fabrikam.CD",
            "environment": "Dev",
        },
        artifact=Artifact(tag="Release-1"),
        actor="Example Dev",
        comment="Deployment of release Release-1 on environment Dev Succeeded.",
    )


def test_xaml_build_is_read() -> None:
    event = event_of(BUILD)
    assert event.artifact == Artifact(commit="600c52d2d5b655caa111abfd863e5a9bd304bb0e")
    assert event.scope == {
        "host": "dev.azure.com",
        "organization": "fabrikam-fiber-inc",
        "project": "71777fbc-1cf2-4bd1-9540-128c1c71f766",
        "pipeline": "ConsumerAddressModule",
    }
    assert event.time == datetime(2016, 9, 19, 13, 3, 26, 428552, tzinfo=UTC)


def test_build_of_today_is_read() -> None:
    resource = {
        "id": 2727068,
        "buildNumber": "20241202.1",
        "status": "completed",
        "result": "failed",
        "definition": {"name": "MainRepo", "project": {"name": "Chat"}},
        "sourceBranch": "refs/heads/main",
        "sourceVersion": COMMIT,
        "repository": {"name": "MainRepo"},
    }
    event = event_of(changed(BUILD, {"resource": resource}))
    assert (event.type, event.run, event.optional) == (EventType.DEPLOYMENT_FAILED, "run/2727068", True)
    assert event.artifact == Artifact(commit=COMMIT)
    assert event.scope == {"project": "Chat", "pipeline": "MainRepo", "repository": "MainRepo", "branch": "main"}
    unversioned = event_of(changed(BUILD, {"resource": {**resource, "sourceVersion": "C123"}}))
    assert unversioned.artifact == Artifact(tag="20241202.1")


def test_build_and_run_of_one_pipeline_are_one_run() -> None:
    build, run = event_of(BUILD), event_of(changed(RUN, {"resource/run/id": 2}))
    assert (build.source, build.run) == (run.source, run.run) == (SOURCE, "run/2")


def test_second_attempt_of_a_run_is_another_run() -> None:
    again = changed(RUN, {"resource/stages": [{"name": "Build", "attempt": 1}, {"name": "Deploy", "attempt": 2}, None]})
    first = changed(RUN, {"resource/stages": [{"name": "Build", "attempt": 1}]})
    assert event_of(again).run == "run/11/attempt/2"
    assert event_of(first).run == "run/11"
    assert event_of(changed(DEPLOY, {"resource/stage/attempt": 3})).run == "run/2/attempt/3/stage/Production"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("waiting", "deployment.requested"),
        ("pending", "deployment.requested"),
        ("running", "deployment.started"),
        ("inProgress", "deployment.started"),
        ("notStarted", "no interest: {}"),
        ("canceling", "no interest: {}"),
        ("cancelling", "no interest: {}"),
        ("postponed", "no interest: {}"),
        ("unknown", "no interest: {}"),
        ("lost", f"/resource/{{}}/state: is none of {', '.join(STATES)}, completed"),
        (None, f"/resource/{{}}/state: is missing; {SETTING}"),
    ],
)
@pytest.mark.parametrize(("body", "subject"), [(RUN, "run"), (DEPLOY, "stage")], ids=["run", "stage"])
def test_state_before_the_end(body: dict[str, Any], subject: str, state: str | None, expected: str) -> None:
    assert result_of(changed(body, {f"resource/{subject}/state": state})) == expected.format(subject)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("succeeded", "deployment.succeeded"),
        ("partiallySucceeded", "deployment.succeeded"),
        ("succeededWithIssues", "deployment.succeeded"),
        ("failed", "deployment.failed"),
        ("canceled", "deployment.cancelled"),
        ("stopped", "deployment.cancelled"),
        ("rejected", "deployment.cancelled"),
        ("abandoned", "deployment.cancelled"),
        ("skipped", "no interest: {}"),
        ("none", "no interest: {}"),
        ("lost", f"{{}}: is none of {', '.join(RUN_RESULTS)}"),
    ],
)
def test_result_decides_the_end(result: str, expected: str) -> None:
    for body, subject in ((RUN, "run"), (DEPLOY, "stage")):
        path = f"resource/{subject}/result"
        pointer = f"/{path}" if expected.startswith("{}") else subject
        assert result_of(changed(body, {path: result})) == expected.format(pointer)
    pointer = "/resource/result" if expected.startswith("{}") else "build"
    assert result_of(changed(BUILD, {"resource/result": result})) == expected.format(pointer)


def test_every_state_and_result_is_tested() -> None:
    assert set(STATES) == {"waiting", "pending", "running", "inprogress"}
    assert len(RUN_RESULTS) == 8
    assert set(DEPLOYMENT_RESULTS) == {"succeeded", "partiallysucceeded", "canceled", "rejected", "failed"}


def lower(table: Mapping[str, str]) -> dict[str, str]:
    return {status.lower(): result for status, result in table.items()}


def test_page_has_the_tables() -> None:
    none = {result for result, becomes in lower(documented("azure-devops.md", "results")).items() if becomes == NONE}
    assert none == {"skipped", "none"}
    assert lower(documented("azure-devops.md", "results")) == {
        **{result: short_type(type_) for result, type_ in RUN_RESULTS.items()},
        **dict.fromkeys(none, NONE),
    }
    assert lower(documented("azure-devops.md", "statuses")) == {
        status: short_type(type_) for status, type_ in DEPLOYMENT_RESULTS.items()
    }
    states = lower(documented("azure-devops.md", "states"))
    assert {state: states[state] for state in STATES} == {state: short_type(type_) for state, type_ in STATES.items()}


@pytest.mark.parametrize(
    ("status", "operation", "expected"),
    [
        ("succeeded", None, "deployment.succeeded"),
        ("partiallySucceeded", None, "deployment.succeeded"),
        ("canceled", None, "deployment.cancelled"),
        ("failed", None, "deployment.failed"),
        ("rejected", "phaseFailed", "deployment.failed"),
        ("rejected", None, "deployment.failed"),
        ("rejected", "Rejected", "deployment.cancelled"),
        ("queued", None, f"/resource/environment/status: is none of {', '.join(DEPLOYMENT_RESULTS)}"),
    ],
)
def test_status_of_a_completed_deployment(status: str, operation: str | None, expected: str) -> None:
    """A failed deployment has the status `rejected`, as has one that an approver rejected."""
    changes = {"resource/environment/status": status, "resource/deployment": {"operationStatus": operation}}
    assert result_of(changed(COMPLETED, changes)) == expected
    moved = {"resource/environment/status": None, "resource/deployment": {"deploymentStatus": status}}
    if operation is None:
        assert result_of(changed(COMPLETED, moved)) == expected


def test_events_of_one_classic_deployment_are_one_run() -> None:
    started = changed(STARTED, {"resource/environment/release/id": 1})
    assert event_of(started).run == event_of(COMPLETED).run
    steps = [{"attempt": 1}, {"attempt": 2, "requestedFor": {"displayName": "Example Dev"}}]
    again = event_of(changed(started, {"resource/environment/deploySteps": steps}))
    assert (again.run, again.actor) == ("release/1/environment/5/attempt/2", "Example Dev")


def test_release_id_0_is_no_id() -> None:
    body = without(STARTED, "resource/environment/release")
    assert result_of(body) == f"/resource/environment/release/id: is missing; {SETTING}"
    other = event_of(changed(body, {"resource/environment/releaseId": 7, "resource/release/name": "Release-7"}))
    assert (other.run, other.artifact) == ("release/7/environment/5/attempt/1", Artifact(tag="Release-7"))
    assert other.scope["pipeline"] == "Fabrikam.CD"
    assert event_of(changed(body, {"resource/release/id": 8})).run == "release/8/environment/5/attempt/1"


APPROVAL = {
    "id": "106acba9-bfcc-4a30-9c07-a3f2b3a2e3a1",
    "eventType": "ms.vss-release.deployment-approval-completed-event",
    "publisherId": "rm",
    "message": {"text": "Pre Deployment approval for deployment of release Release-1 on environment Dev Succeeded."},
    "resource": {
        "approval": {
            "id": 4,
            "approver": {"displayName": "Example Group"},
            "approvedBy": {"displayName": "Example Owner"},
            "status": "approved",
            "release": {"id": 1, "name": "Release-1"},
            "releaseDefinition": {"id": 1, "name": "Fabrikam.CD"},
            "releaseEnvironment": {"id": 8, "name": "Dev"},
        },
        "project": {"id": PROJECT, "name": "Fabrikam"},
    },
    "createdDate": "2016-09-19T13:03:27.2879096Z",
}


def test_approval_of_a_release_is_an_activity() -> None:
    event = event_of(APPROVAL)
    assert (event.type, event.activity_type) == (EventType.ACTIVITY_RECORDED, "AZURE_DEVOPS_DEPLOYMENT_APPROVAL")
    assert (event.artifact, event.run, event.optional) == (Artifact(tag="Release-1"), None, False)
    assert event.scope == {"project": "Fabrikam", "pipeline": "Fabrikam.CD", "environment": "Dev"}
    assert event.original == Original(
        type="ms.vss-release.deployment-approval-completed-event",
        id="approval/4",
        status="approved",
        actor="Example Owner",
    )
    assert event.source == f"azure-devops:/{PROJECT}"


def test_pending_approval_names_its_approver() -> None:
    pending = changed(
        without(without(APPROVAL, "resource/approval/approvedBy"), "resource/approval/status"),
        {
            "eventType": "ms.azure-devops-release.deployment-approval-pending-event",
            "resource/environment": {"name": "QA"},
        },
    )
    event = event_of(pending)
    assert (event.actor, event.original.status, event.scope["environment"]) == ("Example Group", "undefined", "QA")


def test_approval_without_release_is_of_no_interest() -> None:
    assert result_of(without(APPROVAL, "resource/approval")) == "no interest: approval"


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("git.push", "git"),
        ("git.pullrequest.merged", "git"),
        ("ms.vss-code.git-pullrequest-comment-event", "git"),
        ("tfvc.checkin", "tfvc"),
        ("workitem.updated", "workitem"),
        ("ms.vss-release.release-created-event", "release"),
        ("ms.azure-devops-release.release-abandoned-event", "release"),
        ("ms.vss-pipelinechecks-events.approval-pending", "approval"),
        ("ms.vss-release.deployment-mi-pending-event", "approval"),
        ("manualintervention.pending", "approval"),
        ("ms.vss-pipelines.job-state-changed-event", "job"),
        ("agentqueue.created", "agents"),
        ("elasticagentpool.resized", "agents"),
        ("ms.vss-alerts.alert-created-event", "alert"),
        ("ms.vss-endpoints.endpoint-created", "connection"),
        ("message.posted", "message"),
        ("something.new", "other"),
    ],
)
def test_other_events_are_of_no_interest(event_type: str, kind: str) -> None:
    """Whatever the subscription sends of the resource."""
    assert result_of({"eventType": event_type, "publisherId": "tfs"}) == f"no interest: {kind}"


@pytest.mark.parametrize("body", [BUILD, COMPLETED, STARTED, RUN, STAGE])
def test_resource_that_is_left_out_is_explained(body: dict[str, Any]) -> None:
    assert result_of(without(body, "resource")) == f"/resource: is missing; {SETTING}"
    assert result_of(changed(body, {"resource": None})) == f"/resource: is missing; {SETTING}"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (BUILD, "/resource/result"),
        (COMPLETED, "/resource/environment/status"),
        (STARTED, "/resource/environment/release/id"),
        (RUN, "/resource/run/state"),
        (STAGE, "/resource/stage/state"),
    ],
)
def test_minimal_resource_is_explained(body: dict[str, Any], pointer: str) -> None:
    minimal = {"id": 2, "url": "https://dev.azure.com/acme/_apis/2"}
    assert result_of(changed(body, {"resource": minimal})) == f"{pointer}: is missing; {SETTING}"


@pytest.mark.parametrize(
    ("body", "path", "problem"),
    [
        (RUN, "id", "/id: is missing"),
        (RUN, "eventType", "/eventType: is missing"),
        (RUN, "resource/run/id", f"/resource/run/id: is missing; {SETTING}"),
        (RUN, "resource/run/result", "/resource/run/result: is missing"),
        (DEPLOY, "resource/stage/name", "/resource/stage/name: is missing"),
        (COMPLETED, "resource/environment/id", f"/resource/environment/id: is missing; {SETTING}"),
        (COMPLETED, "resource/environment/name", "/resource/environment/name: is missing"),
        (BUILD, "resource/id", "/resource/id: is missing"),
    ],
)
def test_missing_member_is_named(body: dict[str, Any], path: str, problem: str) -> None:
    assert result_of(without(body, path)) == problem


def test_run_id_may_be_beside_the_run() -> None:
    assert event_of(changed(without(RUN, "resource/run/id"), {"resource/runId": 12})).run == "run/12"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"resource/run/resources": None}, Artifact(commit=COMMIT)),
        (
            {"resource/run/resources": None, "resource/repositories": [{"change": {"version": COMMIT}}]},
            Artifact(commit=COMMIT),
        ),
        (
            {
                "resource/run/resources": None,
                "resource/repositories": [{"alias": "tools", "change": {"version": COMMIT}}],
            },
            Artifact(tag="2"),
        ),
        ({"resource/run/resources": None, "resource/repositories": None}, Artifact(tag="2")),
    ],
)
def test_commit_is_that_of_the_pipelines_repository(changes: dict[str, object], expected: Artifact) -> None:
    """Older servers send none; then the run's name stands for what it deploys."""
    assert event_of(changed(DEPLOY, changes)).artifact == expected


def test_pipeline_without_stages_names_no_environment() -> None:
    assert "environment" not in event_of(STAGE).scope


@pytest.mark.parametrize(
    ("base", "link", "organization", "project"),
    [
        (
            "https://acme.visualstudio.com/",
            "https://acme.visualstudio.com/Shop/_build/results?buildId=2",
            "acme",
            "Shop",
        ),
        ("https://tfs.example.com/tfs/Default/", "https://tfs.example.com/tfs/Default/Shop/_build/", "Default", "Shop"),
        (None, "https://dev.azure.com/acme/Shop/_build/", "acme", "Shop"),
        ("https://dev.azure.com", "https://dev.azure.com/_build", None, None),
        ("https://dev.azure.com/acme/", "https://dev.azure.com/acme/_build", "acme", None),
        (None, "https://[", None, None),
        (None, "results?buildId=2", None, None),
    ],
)
def test_location_is_read_from_urls(base: str | None, link: str, organization: str | None, project: str | None) -> None:
    body = changed(DEPLOY, {"resource/stage/_links/web/href": link, "resourceContainers/account/baseUrl": base})
    scope = event_of(body).scope
    assert (scope.get("organization"), scope.get("project")) == (organization, project)


def test_source_falls_back_to_ids() -> None:
    assert event_of(STAGE).source == SOURCE
    account = without(without(STAGE, "resourceContainers/collection"), "resourceContainers/project")
    assert event_of(account).source == "azure-devops:f844ec47-a9db-4511-8281-8b63f4eaf94e"
    project = changed(account, {"resource/projectId": PROJECT})
    assert event_of(project).source == f"azure-devops:f844ec47-a9db-4511-8281-8b63f4eaf94e/{PROJECT}"


def test_time_falls_back_to_the_records() -> None:
    recorded = datetime(2024, 1, 3, tzinfo=UTC)
    assert event_of(without(RUN, "createdDate")).time is None
    assert event_of(without(RUN, "createdDate"), time=recorded).time == recorded


def test_format_is_recognised_by_shape_alone() -> None:
    assert not azure_devops.has_type("ms.vss-pipelines.run-state-changed-event")
    assert not azure_devops.has_headers({"user-agent": "VSServices/19.0"})
    assert not azure_devops.has_shape({"eventType": "git.push"})
    assert not azure_devops.has_shape({"eventType": 1, "publisherId": "tfs"})


def outcome_of(body: Mapping[str, Any]) -> str:
    try:
        adapted = azure_devops.adapt(record(body))
    except Unreadable:
        return "unreadable"
    return type(adapted).__name__


@given(json_objects())
@settings(max_examples=examples(100))
def test_any_object_has_one_of_three_results(body: dict[str, Any]) -> None:
    assert outcome_of(body) == "unreadable"
    for event in (BUILD, COMPLETED, STARTED, RUN, STAGE, APPROVAL):
        assert outcome_of({**event, "resource": body}) in ("unreadable", "NoInterest")


@given(mutated("azure-devops"))
@settings(max_examples=examples(300))
def test_changed_payload_has_one_of_three_results(body: dict[str, Any]) -> None:
    assert outcome_of(body) in ("unreadable", "ForeignEvent", "NoInterest")
    assert isinstance(azure_devops.has_shape(body), bool)
