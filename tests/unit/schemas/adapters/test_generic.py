"""The generic adapter with the example formats of docs/examples/formats, on recorded payloads."""

import copy
import json
from collections import Counter
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.adapters.expressions import STEPS_MAX
from schemas.adapters.foreign import (
    SCOPE_FIELDS,
    Adapted,
    Artifact,
    ForeignEvent,
    ForeignRecord,
    Format,
    NoInterest,
    Unreadable,
)
from schemas.adapters.generic import GenericAdapter
from schemas.adapters.generic_format import IMAGES_MAX, ArtifactExpressions, GenericFormat, ScopeExpressions
from schemas.decode import decode_mapped
from schemas.event import Event, Invalid
from schemas.incoming import DeploymentChange
from schemas.mapping import Mapping
from schemas.mapping_rules import MappingFile
from schemas.reasons import Reason
from schemas.record import Record
from schemas.times import format_time, parse_time
from schemas.types import EventType, short_type
from tests.hypothesis_profile import examples

REPOSITORY = Path(__file__).parents[4]
PAYLOADS = REPOSITORY / "tests" / "payloads"
EXAMPLES = REPOSITORY / "docs" / "examples" / "formats"
PAGE = REPOSITORY / "docs" / "reference" / "sources" / "generic.md"
FOLDERS = ("bitbucket", "circleci", "deployment-apis", "octopus")
Json = dict[str, Any]


def sections() -> dict[str, Any]:
    """The entries of all example files, as an operator writes them."""
    files = sorted(EXAMPLES.glob("*.yaml"))
    loaded = [yaml.safe_load(path.read_text("utf-8")) for path in files]
    assert all(list(section) == ["formats"] for section in loaded)
    return {name: entry for section in loaded for name, entry in section["formats"].items()}


ENTRIES = sections()
ADAPTERS = {name: GenericAdapter(name, GenericFormat.model_validate(entry)) for name, entry in ENTRIES.items()}
SCHEMA = GenericFormat.model_json_schema()


def adapter_of(**changes: object) -> GenericAdapter:
    entry = {"source": "'/ci'", "id": "id", "status": "status", "statuses": {"done": "succeeded"}} | changes
    return GenericAdapter("ci", GenericFormat.model_validate(entry))


def record_of(body: Json, headers: AnyMapping[str, str] | None = None, **attributes: Any) -> ForeignRecord:
    return ForeignRecord(headers=headers or {}, body=body, **attributes)


def body_of(name: str) -> Json:
    body: Json = json.loads((PAYLOADS / name).read_text("utf-8"))
    return body


def format_of(body: Json) -> str | None:
    return next((name for name, adapter in ADAPTERS.items() if adapter.has_shape(body)), None)


def event_of(
    adapter: GenericAdapter, body: Json, headers: AnyMapping[str, str] | None = None, **attributes: Any
) -> ForeignEvent:
    adapted = adapter.adapt(record_of(body, headers, **attributes))
    assert isinstance(adapted, ForeignEvent)
    return adapted


def problem_of(adapter: GenericAdapter, body: Json) -> str:
    with pytest.raises(Unreadable) as caught:
        adapter.adapt(record_of(body))
    return caught.value.problem


def summary(event: ForeignEvent) -> Json:
    """What an event says, without what is empty."""
    artifact = {field: getattr(event.artifact, field) for field in Artifact.__dataclass_fields__}
    original = {field: getattr(event.original, field) for field in ("type", "status", "url", "actor")}
    assert event.original.id == event.run
    scope = {field: value for field, value in event.scope.items() if field != "format"}
    assert event.original.type.partition(".")[0] == event.scope["format"]
    return {
        "type": short_type(event.type),
        "source": event.source,
        "id": event.id,
        "run": event.run,
        "time": None if event.time is None else format_time(event.time),
        "scope": scope,
        "artifact": {name: value for name, value in artifact.items() if value},
        "optional": event.optional,
        "comment": event.comment,
        "original": {name: value for name, value in original.items() if value is not None},
    }


def with_values(body: Json, changes: AnyMapping[str, object]) -> Json:
    """A copy with other values at paths such as `Payload/Event/Category`."""
    changed = copy.deepcopy(body)
    for path, value in changes.items():
        *outer, name = path.split("/")
        inner = changed
        for step in outer:
            inner = inner.setdefault(step, {})
        inner[name] = value
    return changed


EXPECTED: dict[str, tuple[str, Json]] = {
    "bitbucket/pipeline_hook_created.json": (
        "bitbucket",
        {
            "type": "deployment.started",
            "source": "https://bitbucket.org/automationtestharness/testrepo",
            "id": "bdf6fac0519ffd1562461eb82e018ff62efffbc9/3343801/2025-03-24T08:48:56.572450+00:00/INPROGRESS",
            "run": "bdf6fac0519ffd1562461eb82e018ff62efffbc9/3343801/https://bitbucket.org/automationtestharness/testrepo/addon/pipelines/home#!/results/4",
            "time": "2025-03-24T08:48:56.572450Z",
            "scope": {
                "organization": "automationtestharness",
                "repository": "automationtestharness/testrepo",
                "project": "TEST",
                "pipeline": "3343801",
                "branch": "main",
            },
            "artifact": {"commit": "bdf6fac0519ffd1562461eb82e018ff62efffbc9"},
            "optional": True,
            "comment": "Pipeline #4 for main",
            "original": {
                "type": "bitbucket",
                "status": "INPROGRESS",
                "url": "https://bitbucket.org/automationtestharness/testrepo/addon/pipelines/home#!/results/4",
                "actor": "automationtestharness",
            },
        },
    ),
    "bitbucket/repo-commit-status-created.json": (
        "bitbucket",
        {
            "type": "deployment.started",
            "source": "https://bitbucket.org/team_name/repo_name",
            "id": "9fec847784abb10b2fa567ee63b85bd238955d0e/mybuildtool/2015-11-19T20:37:35.547563+00:00/INPROGRESS",
            "run": "9fec847784abb10b2fa567ee63b85bd238955d0e/mybuildtool/https://my-build-tool.com/builds/MY-PROJECT/BUILD-777",
            "time": "2015-11-19T20:37:35.547563Z",
            "scope": {"organization": "team_name", "repository": "team_name/repo_name", "pipeline": "mybuildtool"},
            "artifact": {"commit": "9fec847784abb10b2fa567ee63b85bd238955d0e"},
            "optional": True,
            "comment": "Build started",
            "original": {
                "type": "bitbucket",
                "status": "INPROGRESS",
                "url": "https://my-build-tool.com/builds/MY-PROJECT/BUILD-777",
                "actor": "example-dev-17",
            },
        },
    ),
    "bitbucket/repo-commit-status-updated.json": (
        "bitbucket",
        {
            "type": "deployment.succeeded",
            "source": "https://bitbucket.org/team_name/repo_name",
            "id": "9fec847784abb10b2fa567ee63b85bd238955d0e/mybuildtool/2015-11-20T08:01:16.433108+00:00/SUCCESSFUL",
            "run": "9fec847784abb10b2fa567ee63b85bd238955d0e/mybuildtool/https://my-build-tool.com/builds/MY-PROJECT/BUILD-792",
            "time": "2015-11-20T08:01:16.433108Z",
            "scope": {"organization": "team_name", "repository": "team_name/repo_name", "pipeline": "mybuildtool"},
            "artifact": {"commit": "9fec847784abb10b2fa567ee63b85bd238955d0e"},
            "optional": True,
            "comment": "All tests passed",
            "original": {
                "type": "bitbucket",
                "status": "SUCCESSFUL",
                "url": "https://my-build-tool.com/builds/MY-PROJECT/BUILD-792",
                "actor": "example-dev-17",
            },
        },
    ),
    "circleci/bitbucket.job-completed.json": (
        "circleci",
        {
            "type": "deployment.succeeded",
            "source": "https://app.circleci.com/pipelines/bitbucket/example-user/circleci-webhook-testing",
            "id": "381567cf-8247-3b82-b0ff-352a901ecbdb/success",
            "run": "0978b96a-7044-4ee0-ad60-0a4aa1668dda",
            "time": "2022-11-07T15:42:15.023009Z",
            "scope": {
                "organization": "example-user",
                "repository": "example-user/circleci-webhook-testing",
                "project": "bitbucket/example-user/circleci-webhook-testing",
                "pipeline": "sample/build-and-test",
                "branch": "master",
            },
            "artifact": {"commit": "8ab595d2de95767993472837df2cb7884519a92b"},
            "optional": True,
            "comment": "app.py edited online with Bitbucket",
            "original": {
                "type": "circleci.job-completed",
                "status": "success",
                "url": "https://app.circleci.com/pipelines/bitbucket/example-user/circleci-webhook-testing/4/workflows/fd29ef0c-3e39-4c8f-b1d5-d8be1bab8165",
                "actor": "Example User",
            },
        },
    ),
    "circleci/github.workflow-completed.json": (
        "circleci",
        {
            "type": "deployment.succeeded",
            "source": "https://app.circleci.com/pipelines/github/zulip-testing/circleci-webhook-test",
            "id": "630a6132-5bf1-3600-b26d-a020d41358f9/success",
            "run": "7381218b-d04c-4aa3-b8b8-8c00a9319d1f",
            "time": "2022-09-20T12:54:38.733348Z",
            "scope": {
                "organization": "zulip-testing",
                "repository": "zulip-testing/circleci-webhook-test",
                "project": "github/zulip-testing/circleci-webhook-test",
                "pipeline": "sample",
                "branch": "main",
            },
            "artifact": {"commit": "a5e30a908224e46626a796d058289475f6d387b5"},
            "optional": True,
            "comment": ".circleci: Update Webhook URL.",
            "original": {
                "type": "circleci.workflow-completed",
                "status": "success",
                "url": "https://app.circleci.com/pipelines/github/zulip-testing/circleci-webhook-test/4/workflows/7381218b-d04c-4aa3-b8b8-8c00a9319d1f",
                "actor": "Example User",
            },
        },
    ),
    "deployment-apis/devlake-webhook.json": (
        "devlake",
        {
            "type": "deployment.succeeded",
            "source": "devlake",
            "id": "015e3d3b480e417aede5a1293bd61de9b0fd051d/2020-01-01T12:00:00+00:00/SUCCESS",
            "run": "015e3d3b480e417aede5a1293bd61de9b0fd051d/2020-01-01T12:00:00+00:00",
            "time": "2020-01-01T12:59:59.000000Z",
            "scope": {"repository": "devlake", "environment": "PRODUCTION"},
            "artifact": {"commit": "015e3d3b480e417aede5a1293bd61de9b0fd051d"},
            "optional": False,
            "comment": None,
            "original": {"type": "devlake", "status": "SUCCESS"},
        },
    ),
    "octopus/deployment-failed.json": (
        "octopus",
        {
            "type": "deployment.failed",
            "source": "https://example.octopus.app/Spaces-282",
            "id": "Events-1111977/DeploymentFailed",
            "run": "Deployments-12519",
            "time": "2023-09-19T21:35:08.563000Z",
            "scope": {
                "host": "example.octopus.app",
                "organization": "Spaces-282",
                "project": "Argo CD Octopub",
                "environment": "Development",
            },
            "artifact": {"tag": "0.1.178"},
            "optional": False,
            "comment": "Deploy to Development failed for Argo CD Octopub release 0.1.178 to Development",
            "original": {
                "type": "octopus.DeploymentFailed",
                "status": "DeploymentFailed",
                "url": "https://example.octopus.app/app#/Spaces-282/deployments/Deployments-12519",
                "actor": "system",
            },
        },
    ),
}


def harness(event_type: str, status: str, *, stage: str | None = None, ended: bool = True) -> Json:
    """A notification as the documentation of Harness has it."""
    times = {"startTs": 1_724_141_971} | ({"endTs": 1_724_141_982} if ended else {})
    data = {
        "accountIdentifier": "acme",
        "orgIdentifier": "default",
        "projectIdentifier": "shop",
        "pipelineIdentifier": "deploy_shop",
        "planExecutionId": "DRWqd",
        "pipelineUrl": "https://app.harness.io/ng/#/account/acme/cd/pipelines/deploy_shop",
        "eventType": event_type,
        "nodeStatus": status,
        "triggeredBy": {"triggerType": "MANUAL", "name": "ada"},
        "moduleInfo": {},
    }
    return {"eventData": data | times | ({} if stage is None else {"stageIdentifier": stage})}


HARNESS_HEADERS = {"x-harness-tag": "1.4.2", "x-harness-environment": "production"}


def orca(type_: str, status: str | None = None, **trigger: object) -> Json:
    """An event of a Spinnaker pipeline, as orca records it in echo."""
    return {
        "details": {"source": "orca", "type": type_, "application": "shop", "created": "1427237764257"},
        "content": {
            "executionId": "01HX",
            "execution": {
                "id": "01HX",
                "application": "shop",
                "name": "Deploy to production",
                "status": status,
                "trigger": {"user": "ada", **trigger},
            },
        },
    }


def plugin_status(state: str) -> Json:
    """A build status as the Sourcegraph plugin of Bitbucket Data Center sends it."""
    repository = {
        "slug": "shop",
        "project": {"key": "ACME"},
        "links": {"self": [{"href": "https://git.example.com/projects/ACME/repos/shop/browse"}]},
    }
    return {
        "date": "2026-03-01T9:30:0Z",
        "commit": "9fec847784abb10b2fa567ee63b85bd238955d0e",
        "status": {
            "key": "DEPLOY",
            "state": state,
            "url": "https://ci.example.com/DEPLOY/7",
            "description": "deploys",
            "dateAdded": 1_772_357_400_123,
        },
        "pullRequests": [{"toRef": {"repository": repository}}],
    }


def home_made(state: str) -> Json:
    deployment = {"id": 42, "state": state, "at": 1_764_320_000, "service": "shop", "stage": "prod", "by": "ada"}
    return {"deployment": deployment | {"image": "registry.example.com/shop:1.4.2"}}


def builds() -> list[Json]:
    lines = (PAYLOADS / "spinnaker" / "igor-build-events.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_payload_file_has_an_expected_result() -> None:
    files = {f"{folder}/{path.name}" for folder in FOLDERS for path in (PAYLOADS / folder).iterdir()}
    assert files == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_payload_has_its_result(name: str) -> None:
    format_, expected = EXPECTED[name]
    assert summary(event_of(ADAPTERS[format_], body_of(name))) == expected


@pytest.mark.parametrize("name", EXPECTED)
def test_payload_is_recognised_by_its_body(name: str) -> None:
    assert format_of(body_of(name)) == EXPECTED[name][0]


def test_recorded_builds_have_seven_outcomes() -> None:
    """A build that has a result is still building: Jenkins sets the result before the last steps."""
    adapter = ADAPTERS["spinnaker"]
    found: Counter[tuple[str | None, bool, str]] = Counter()
    identities = set()
    for body in builds():
        assert format_of(body) == "spinnaker"
        event = event_of(adapter, body)
        build = body["content"]["project"]["lastBuild"]
        found[build.get("result"), build["building"], short_type(event.type)] += 1
        identities.add((event.source, event.id))
        assert event.optional
    assert found == {
        ("SUCCESS", False, "deployment.succeeded"): 12,
        ("ABORTED", False, "deployment.cancelled"): 8,
        ("BUILDING", True, "deployment.started"): 12,
        ("SUCCESS", True, "deployment.started"): 3,
        ("FAILURE", False, "deployment.failed"): 12,
        (None, True, "deployment.started"): 9,
        ("UNSTABLE", False, "deployment.succeeded"): 12,
    }
    assert len(identities) == 68


def test_start_and_end_of_a_recorded_build_share_a_run() -> None:
    """Build 21258 is recorded twice."""
    events = [event_of(ADAPTERS["spinnaker"], body) for body in builds()]
    both = [event for event in events if event.run == "PBE-nccp-developer-detect-pull-request/21258"]
    assert [short_type(event.type) for event in both] == ["deployment.started", "deployment.failed"]
    assert len({event.source for event in both}) == 1
    assert len({event.id for event in both}) == 2


BITBUCKET = "bitbucket/repo-commit-status-updated.json"
WORKFLOW = "circleci/github.workflow-completed.json"
JOB = "circleci/bitbucket.job-completed.json"
OCTOPUS = "octopus/deployment-failed.json"
DEVLAKE = "deployment-apis/devlake-webhook.json"
CATEGORY = "Payload/Event/Category"
DOCKER = {"details": {"source": "igor", "type": "docker", "created": "1"}, "content": {"tag": "1.4.2"}}
PING = {"type": "ping", "id": "1", "happened_at": "2026-03-01T09:30:00Z", "webhook": {"id": "2", "name": "rudder"}}
PUSH = {"push": {"changes": [{}]}, "repository": {"full_name": "acme/shop"}, "actor": {"nickname": "ada"}}


def changed_file(name: str, path: str, *values: object) -> list[Json]:
    return [with_values(body_of(name), {path: value}) for value in values]


def statuses() -> list[Any]:
    """Each documented status of each source: format, headers, body, what it is."""
    cases: list[tuple[str, AnyMapping[str, str], list[Json], str]] = [
        ("bitbucket", {}, changed_file(BITBUCKET, "commit_status/state", "INPROGRESS"), "started"),
        ("bitbucket", {}, changed_file(BITBUCKET, "commit_status/state", "SUCCESSFUL"), "succeeded"),
        ("bitbucket", {}, changed_file(BITBUCKET, "commit_status/state", "FAILED"), "failed"),
        ("bitbucket", {}, changed_file(BITBUCKET, "commit_status/state", "STOPPED"), "cancelled"),
        ("bitbucket", {"x-event-key": "repo:push"}, [PUSH], "bitbucket"),
        ("bitbucket-data-center", {}, [plugin_status("INPROGRESS")], "started"),
        ("bitbucket-data-center", {}, [plugin_status("SUCCESSFUL")], "succeeded"),
        ("bitbucket-data-center", {}, [plugin_status("FAILED")], "failed"),
        ("bitbucket-data-center", {}, [plugin_status("CANCELLED")], "cancelled"),
        ("bitbucket-data-center", {}, [plugin_status("UNKNOWN")], "bitbucket-data-center/UNKNOWN"),
        ("circleci", {}, changed_file(WORKFLOW, "workflow/status", "success"), "succeeded"),
        ("circleci", {}, changed_file(WORKFLOW, "workflow/status", "failed", "error"), "failed"),
        ("circleci", {}, changed_file(WORKFLOW, "workflow/status", "canceled", "unauthorized"), "cancelled"),
        ("circleci", {}, changed_file(JOB, "job/status", "success"), "succeeded"),
        ("circleci", {}, changed_file(JOB, "job/status", "failed", "infrastructure_fail", "timedout"), "failed"),
        ("circleci", {}, changed_file(JOB, "job/status", "canceled", "unauthorized"), "cancelled"),
        ("circleci", {}, changed_file(JOB, "job/status", "not_run"), "circleci/not_run"),
        ("circleci", {}, [PING], "circleci"),
        ("octopus", {}, changed_file(OCTOPUS, CATEGORY, "DeploymentQueued"), "requested"),
        ("octopus", {}, changed_file(OCTOPUS, CATEGORY, "DeploymentStarted"), "started"),
        ("octopus", {}, changed_file(OCTOPUS, CATEGORY, "DeploymentResumed"), "octopus/DeploymentResumed"),
        ("octopus", {}, changed_file(OCTOPUS, CATEGORY, "DeploymentSucceeded"), "succeeded"),
        ("octopus", {}, changed_file(OCTOPUS, CATEGORY, "DeploymentFailed"), "failed"),
        ("octopus", {}, changed_file(OCTOPUS, CATEGORY, "TaskCanceled"), "cancelled"),
        (
            "octopus",
            {},
            changed_file(OCTOPUS, CATEGORY, "ManualInterventionInterruptionRaised", "GuidedFailureInterruptionRaised"),
            "DEPLOYMENT_WAITING",
        ),
        ("octopus", {}, changed_file(OCTOPUS, CATEGORY, "Modified", "Deleted"), "octopus/*"),
        ("octopus", {}, changed_file(OCTOPUS, "Payload/Event/RelatedDocumentIds", ["Machines-1"], [], None), "octopus"),
        ("harness", {}, [harness("PipelineStart", "started", ended=False)], "started"),
        ("harness", {}, [harness("StageStart", "started", stage="deploy", ended=False)], "started"),
        ("harness", {}, [harness("PipelineSuccess", "completed"), harness("PipelineEnd", "completed")], "succeeded"),
        ("harness", {}, [harness("StageSuccess", "completed", stage="deploy")], "succeeded"),
        ("harness", {}, [harness("PipelineFailed", "failed"), harness("PipelineEnd", "expired")], "failed"),
        ("harness", {}, [harness("PipelineEnd", "aborted"), harness("PipelineEnd", "rejected")], "cancelled"),
        ("harness", {}, [harness("PipelinePaused", "paused")], "harness/paused"),
        ("harness", HARNESS_HEADERS, [harness("PipelinePaused", "paused")], "DEPLOYMENT_PAUSED"),
        ("harness", HARNESS_HEADERS, [harness("PipelineActionRequired", "action_required")], "DEPLOYMENT_WAITING"),
        ("harness", {}, [harness("PipelineResumed", "resumed")], "harness/resumed"),
        ("harness", {}, [harness("StepFailed", "failed", stage="deploy")], "harness"),
        ("spinnaker", {}, [orca("orca:pipeline:starting", "NOT_STARTED"), orca("orca:pipeline:starting")], "started"),
        ("spinnaker", {}, [orca("orca:pipeline:complete", "SUCCEEDED"), orca("orca:pipeline:complete")], "succeeded"),
        ("spinnaker", {}, [orca("orca:pipeline:failed", "TERMINAL"), orca("orca:pipeline:failed")], "failed"),
        ("spinnaker", {}, [orca("orca:pipeline:failed", "FAILED_CONTINUE")], "failed"),
        ("spinnaker", {}, [orca("orca:pipeline:failed", "CANCELED")], "cancelled"),
        ("spinnaker", {}, [orca("orca:pipeline:complete", "STOPPED")], "cancelled"),
        ("spinnaker", {}, [orca("orca:pipeline:complete", "SKIPPED")], "spinnaker/SKIPPED"),
        ("spinnaker", {}, [orca("orca:stage:complete", "SUCCEEDED"), orca("orca:task:starting")], "spinnaker"),
        ("spinnaker", {}, [orca("orca:orchestration:complete", "SUCCEEDED")], "spinnaker"),
        ("spinnaker", {}, [DOCKER], "spinnaker"),
        ("devlake", {}, changed_file(DEVLAKE, "result", "SUCCESS", None, ""), "succeeded"),
        ("devlake", {}, changed_file(DEVLAKE, "result", "FAILURE", "FAILED"), "failed"),
        ("devlake", {}, changed_file(DEVLAKE, "result", "ABORT"), "cancelled"),
        ("devlake", {}, changed_file(DEVLAKE, "result", "MANUAL"), "devlake/MANUAL"),
        ("deploy-api", {}, [home_made("queued")], "requested"),
        ("deploy-api", {}, [home_made("running")], "started"),
        ("deploy-api", {}, [home_made("done")], "succeeded"),
        ("deploy-api", {}, [home_made("error")], "failed"),
        ("deploy-api", {}, [home_made("stopped")], "cancelled"),
        ("deploy-api", {}, [home_made("reverted")], "rolled_back"),
        ("deploy-api", {}, [home_made("waiting-for-approval")], "APPROVAL_REQUESTED"),
        ("deploy-api", {}, [home_made("heartbeat")], "deploy-api/heartbeat"),
    ]
    return [
        pytest.param(name, headers, body, result, id=f"{name}-{result}-{index}")
        for name, headers, bodies, result in cases
        for index, body in enumerate(bodies)
    ]


def result_of(adapted: Adapted) -> str:
    """The kind of a record of no interest, the activity's type, or the last word of the event's type."""
    if isinstance(adapted, NoInterest):
        assert adapted.format is Format.GENERIC
        return adapted.kind
    assert (adapted.activity_type is not None) == (adapted.type is EventType.ACTIVITY_RECORDED)
    return adapted.activity_type or short_type(adapted.type).removeprefix("deployment.")


@pytest.mark.parametrize(("name", "headers", "body", "result"), statuses())
def test_documented_status_has_its_meaning(name: str, headers: AnyMapping[str, str], body: Json, result: str) -> None:
    assert format_of(body) == name
    assert result_of(ADAPTERS[name].adapt(record_of(body, headers))) == result


def test_unknown_status_is_rejected_with_the_line_to_add() -> None:
    [body] = changed_file(WORKFLOW, "workflow/status", "paused\n")
    assert problem_of(ADAPTERS["circleci"], body) == (
        '/formats/circleci/statuses: has no paused\n; add "paused\\n": ignore or what else it means'
    )


def test_missing_status_is_rejected() -> None:
    assert problem_of(adapter_of(), {"id": 1}) == "/formats/ci/status: is missing"
    assert problem_of(adapter_of(), {"id": 1, "status": {}}) == "/formats/ci/status: is not a string"


def test_status_can_be_a_boolean_or_a_number() -> None:
    adapter = adapter_of(statuses={"true": "succeeded", "false": "failed", "404": "cancelled"})
    results = [result_of(adapter.adapt(record_of({"id": 1, "status": status}))) for status in (True, False, 404)]
    assert results == ["succeeded", "failed", "cancelled"]


def test_other_status_has_the_meaning_of_the_asterisk() -> None:
    adapter = adapter_of(statuses={"done": "succeeded", "*": "ignore"})
    kinds = [result_of(adapter.adapt(record_of({"status": status}))) for status in ("odd", "*", "x" * 1_000)]
    assert kinds == ["ci/*"] * 3


def test_source_of_no_interest_is_not_read_further() -> None:
    adapter = adapter_of(statuses={"done": "ignore"}, artifact={"release_id": "id"})
    assert result_of(adapter.adapt(record_of({"id": 7, "status": "done"}))) == "ci/done"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("bitbucket", body_of(BITBUCKET)),
        ("bitbucket-data-center", plugin_status("FAILED")),
        ("circleci", body_of(WORKFLOW)),
        ("octopus", body_of(OCTOPUS)),
        ("harness", harness("PipelineStart", "started")),
        ("spinnaker", orca("orca:pipeline:complete", "SUCCEEDED")),
        ("devlake", body_of(DEVLAKE)),
        ("deploy-api", home_made("done")),
    ],
)
def test_redelivery_has_the_same_identity(name: str, body: Json) -> None:
    """Whatever a bridge adds to it."""
    first, again = (
        event_of(ADAPTERS[name], body),
        event_of(ADAPTERS[name], body, {"x-request-uuid": "2", "x-other": "1"}),
    )
    assert (first.source, first.id, first.run) == (again.source, again.id, again.run)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("bitbucket-data-center", plugin_status("INPROGRESS"), plugin_status("FAILED")),
        ("harness", harness("PipelineStart", "started", ended=False), harness("PipelineEnd", "failed")),
        ("spinnaker", orca("orca:pipeline:starting"), orca("orca:pipeline:failed", "CANCELED")),
        ("deploy-api", home_made("running"), home_made("done")),
    ],
)
def test_start_and_end_share_a_run_and_no_identity(name: str, first: Json, second: Json) -> None:
    """Even where the source has one id for both, and stamps both with one time."""
    start, end = event_of(ADAPTERS[name], first), event_of(ADAPTERS[name], second)
    assert (start.source, start.run) == (end.source, end.run)
    assert start.run is not None
    assert start.id != end.id


def test_another_build_of_the_commit_is_another_run() -> None:
    first, second = (
        event_of(ADAPTERS["bitbucket"], body_of(name))
        for name in (BITBUCKET, "bitbucket/repo-commit-status-created.json")
    )
    assert first.artifact == second.artifact
    assert first.run != second.run


def test_octopus_scope_has_ids_where_the_message_has_no_names() -> None:
    [body] = changed_file(OCTOPUS, "Payload/Event/MessageReferences", None)
    event = event_of(ADAPTERS["octopus"], body)
    assert event.scope["environment"] == "Environments-1621"
    assert event.scope["project"] == "Projects-4522"
    assert event.artifact == Artifact(tag="Releases-11138")


def test_circleci_project_without_vcs_has_its_repository() -> None:
    """Projects of GitLab and of the GitHub App have trigger parameters instead."""
    git = {
        "checkout_sha": "8" * 40,
        "branch": "main",
        "tag": "",
        "checkout_url": "git@github.com:acme/acme.github.io.git",
    }
    parameters = [
        {"git": git, "gitlab": {"web_url": "https://gitlab.com/acme/platform/shop", "commit_title": "Fix"}},
        {"git": git},
    ]
    body = body_of(WORKFLOW)
    del body["pipeline"]["vcs"]
    events = [
        event_of(ADAPTERS["circleci"], with_values(body, {"pipeline/trigger_parameters": one})) for one in parameters
    ]
    assert [event.scope["repository"] for event in events] == ["acme/platform/shop", "acme/acme.github.io"]
    assert {event.scope["branch"] for event in events} == {"main"}
    assert {event.artifact for event in events} == {Artifact(commit="8" * 40)}
    assert events[0].comment == "Fix"


def test_harness_scope_and_artifact_come_from_headers() -> None:
    event = event_of(ADAPTERS["harness"], harness("StageSuccess", "completed", stage="deploy"), HARNESS_HEADERS)
    assert event.scope["environment"] == "production"
    assert event.scope["pipeline"] == "deploy_shop/deploy"
    assert event.artifact == Artifact(tag="1.4.2")
    assert not event.optional


def test_spinnaker_pipeline_has_its_images_and_commit() -> None:
    artifacts = [
        {"type": "docker/image", "reference": "registry.example.com/shop:1.4.2"},
        {"type": "gcs/object", "reference": "gs://acme/chart"},
    ]
    bound = [{"boundArtifact": {"type": "docker/image", "reference": "registry.example.com/cart:7"}}, {}]
    body = orca(
        "orca:pipeline:complete", "SUCCEEDED", artifacts=artifacts, resolvedExpectedArtifacts=bound, hash="a" * 40
    )
    event = event_of(ADAPTERS["spinnaker"], body)
    assert event.artifact == Artifact(
        commit="a" * 40, images=("registry.example.com/shop:1.4.2", "registry.example.com/cart:7")
    )
    assert event.scope["pipeline"] == "Deploy to production"
    assert event.original.actor == "ada"


@pytest.mark.parametrize(
    "body",
    [
        {
            "id": "deploy-7",
            "startedDate": "2026-03-01T09:30:00+00:00",
            "finishedDate": "2026-03-01T09:35:00+00:00",
            "environment": "STAGING",
            "deploymentCommits": [{"repoUrl": "https://github.com/acme/shop.git", "commitSha": "b" * 40}],
        },
        {
            "pipeline_id": "deploy-7",
            "start_time": "2026-03-01T09:30:00+00:00",
            "end_time": "2026-03-01T09:35:00+0000",
            "environment": "STAGING",
            "deployment_commits": [{"repo_url": "https://github.com/acme/shop.git", "commit_sha": "b" * 40}],
        },
    ],
)
def test_devlake_reads_all_versions_of_the_api(body: Json) -> None:
    assert format_of(body) == "devlake"
    event = event_of(ADAPTERS["devlake"], body)
    assert event.source == "https://github.com/acme/shop.git"
    assert event.run == "deploy-7/2026-03-01T09:30:00+00:00"
    assert event.time == parse_time("2026-03-01T09:35:00Z")
    assert (event.scope["repository"], event.scope["environment"]) == ("acme/shop", "STAGING")
    assert event.artifact == Artifact(commit="b" * 40)


def test_cloudevent_of_a_listed_type_has_the_format() -> None:
    adapter = ADAPTERS["deploy-api"]
    assert adapter.has_type("com.example.deployment.finished")
    assert not adapter.has_type("com.example.deploymentx")
    exact = adapter_of(types=["com.example.done"])
    assert exact.has_type("com.example.done")
    assert not exact.has_type("com.example.done.v2")


def test_all_headers_of_the_entry_are_required() -> None:
    adapter = ADAPTERS["bitbucket"]
    assert adapter.has_headers({"x-event-key": "repo:push", "x-request-uuid": "1", "host": "h"})
    assert not adapter.has_headers({"x-event-key": "repo:push"})
    assert not adapter_of().has_headers({"x-event-key": "repo:push"})


def test_condition_without_a_value_is_not_true() -> None:
    adapter = adapter_of(when="starts_with(name, 'deploy')")
    assert adapter.has_shape({"name": "deploy shop"})
    assert not adapter.has_shape({"name": None})
    assert not adapter_of().has_shape({"name": "deploy shop"})


@pytest.mark.parametrize(
    ("time_format", "value", "time"),
    [
        ("rfc3339", "2026-03-01T10:30:00+01:00", "2026-03-01T09:30:00.000000Z"),
        ("rfc3339", "2026-03-01 09:30:00 UTC", "2026-03-01T09:30:00.000000Z"),
        ("unix_seconds", 1_772_357_400, "2026-03-01T09:30:00.000000Z"),
        ("unix_milliseconds", "1772357400123", "2026-03-01T09:30:00.123000Z"),
    ],
)
def test_time_is_read_in_its_format(time_format: str, value: object, time: str) -> None:
    event = event_of(adapter_of(time="at", time_format=time_format), {"id": 1, "status": "done", "at": value})
    assert event.time is not None
    assert format_time(event.time) == time


def test_time_of_the_envelope_is_the_default() -> None:
    body = {"id": 1, "status": "done", "at": None}
    time = parse_time("2026-03-01T09:30:00Z")
    assert event_of(adapter_of(time="at"), body, time=time).time == time
    assert event_of(adapter_of(), body).time is None


@pytest.mark.parametrize(
    ("changes", "body", "problem"),
    [
        ({"time": "at"}, {"at": 1_772_357_400}, "/formats/ci/time: is not an RFC 3339 time with a zone"),
        ({"time": "at", "time_format": "unix_seconds"}, {"at": 10**17}, "/formats/ci/time: is out of range"),
        ({"source": "url"}, {}, "/formats/ci/source: is missing"),
        ({"source": "url"}, {"url": "x" * 1_025}, "/formats/ci/source: is longer than 1024 UTF-16 code units"),
        ({"id": ["id", "part"]}, {}, "/formats/ci/id/1: is missing"),
        ({"id": "part"}, {"part": 0.5}, "/formats/ci/id/0: is not a string"),
        ({"run": "part"}, {}, "/formats/ci/run/0: is missing"),
        ({"scope": {"branch": "part"}}, {"part": ["main"]}, "/formats/ci/scope/branch: is not a string"),
        ({"artifact": {"release_id": "part"}}, {"part": "7"}, "/formats/ci/artifact/release_id: is not a UUID"),
        ({"artifact": {"images": "part"}}, {"part": "shop"}, "/formats/ci/artifact/images: is not an array"),
        ({"only": "sum(part)"}, {"part": None}, "/formats/ci/only: sum() does not accept null"),
        ({"type": "part[*]"}, {"part": [0] * STEPS_MAX}, f"/formats/ci/type: takes more than {STEPS_MAX} steps"),
    ],
)
def test_value_that_cannot_be_used_is_rejected(changes: Json, body: Json, problem: str) -> None:
    """The pointer is that of the member in the mapping file."""
    assert problem_of(adapter_of(**changes), {"id": 1, "status": "done"} | body) == problem


def test_texts_for_people_are_optional() -> None:
    adapter = adapter_of(actor="who", comment="text", url="link")
    event = event_of(adapter, {"id": 1, "status": "done", "who": {"name": "ada"}, "text": "x" * 5_000, "link": 7})
    assert (event.actor, event.original.actor, event.original.url) == (None, None, None)
    assert event.comment == "x" * 2_000


def test_artifact_has_all_that_the_entry_names() -> None:
    uuid = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
    digest = "sha256:" + "0a" * 32
    adapter = adapter_of(
        artifact={name: name for name in ("commit", "image", "tag", "digest", "images", "name", "release_id")}
    )
    body = {
        "id": 1,
        "status": "done",
        "commit": "AB" * 20,
        "image": f"registry:5000/shop:1.2@sha256:{'1b' * 32}",
        "images": ["a:1", None, "", *map(str, range(IMAGES_MAX))],
        "name": "20260301-2",
        "release_id": uuid,
    }
    images = ("a:1", *map(str, range(IMAGES_MAX - 3)))
    expected = Artifact(
        commit="ab" * 20,
        image="registry:5000/shop",
        tag="1.2",
        digest="sha256:" + "1b" * 32,
        images=images,
        name="20260301-2",
        release_id=UUID(uuid),
    )
    assert event_of(adapter, body).artifact == expected
    own = event_of(adapter, body | {"tag": "stable", "digest": digest, "commit": "ab12"}).artifact
    assert (own.tag, own.digest, own.commit) == ("stable", digest, None)
    assert event_of(adapter, body | {"digest": "md5:1"}).artifact.digest == expected.digest


def test_single_image_of_several_is_the_artifact() -> None:
    """A rule of the mapping selects one of several; of one there is nothing to select."""
    adapter = adapter_of(artifact={"images": "images"})
    body = {"id": 1, "status": "done", "images": ["registry.example.com/shop:1.4.2"]}
    artifact = event_of(adapter, body).artifact
    assert (artifact.image, artifact.tag) == ("registry.example.com/shop", "1.4.2")
    two = event_of(adapter, body | {"images": ["shop:1", "cart:2"]}).artifact
    assert (two.image, two.tag, two.images) == (None, None, ("shop:1", "cart:2"))


def test_long_identity_is_shortened() -> None:
    event = event_of(adapter_of(run="id"), {"id": "x" * 2_000, "status": "done"})
    assert event.run is not None
    assert len(event.id) < 255
    assert event.id != event.run


@pytest.mark.parametrize("name", ["rudder", "rudder-own", "ce-id", "content-type"])
def test_name_of_headers_with_a_meaning_is_refused(name: str) -> None:
    """Headers that begin with it have a meaning of their own."""
    entry = {"id": "id", "source": "'ci'", "status": "status", "statuses": {"done": "succeeded"}}
    with pytest.raises(ValidationError, match="which is reserved"):
        MappingFile.model_validate({"formats": {name: entry}})


def test_activity_without_an_artifact_is_of_no_interest() -> None:
    """An activity belongs to a release, and the record names none."""
    adapter = adapter_of(statuses={"done": "activity TESTS_PASSED"}, artifact={"tag": "tag"})
    assert result_of(adapter.adapt(record_of({"id": 1, "status": "done"}))) == "ci/done"
    assert result_of(adapter.adapt(record_of({"id": 1, "status": "done", "tag": "1.2"}))) == "TESTS_PASSED"


def test_record_without_environment_is_optional() -> None:
    """Unless the entry is for deployments alone."""
    scope = {"environment": "env"}
    bodies = [{"id": 1, "status": "done"}, {"id": 1, "status": "done", "env": "prod"}]
    assert [event_of(adapter_of(scope=scope), body).optional for body in bodies] == [True, False]
    assert [event_of(adapter_of(scope=scope, optional=False), body).optional for body in bodies] == [False, False]


def test_scope_has_the_fields_of_the_mapping() -> None:
    assert tuple(ScopeExpressions.model_fields) == SCOPE_FIELDS
    assert set(ArtifactExpressions.model_fields) == set(Artifact.__dataclass_fields__)


INVALID: dict[str, tuple[Json, str]] = {
    "unknown member": ({"state": "status"}, "state"),
    "no statuses": ({"statuses": {}}, "statuses"),
    "unknown meaning": ({"statuses": {"done": "deployed"}}, "statuses.done"),
    "activity without a name": ({"statuses": {"done": "activity"}}, "statuses.done"),
    "meaning with a line break": ({"statuses": {"done": "failed\n"}}, "statuses.done"),
    "activity in lower case": ({"statuses": {"done": "activity done"}}, "statuses.done"),
    "number as a word": ({"statuses": {404: "failed"}}, "statuses.404.[key]"),
    "no source": ({"source": None}, "source"),
    "no id": ({"id": []}, "id"),
    "number as an id": ({"id": 7}, "id"),
    "expression of a part": ({"id": ["a", "b["]}, "id.1"),
    "expression of the scope": ({"scope": {"branch": "a."}}, "scope.branch"),
    "unknown field of the scope": ({"scope": {"team": "a"}}, "scope.team"),
    "unknown time format": ({"time_format": "iso8601"}, "time_format"),
    "header in upper case": ({"headers": ["X-Event-Key"]}, "headers.0"),
    "asterisk inside a type": ({"types": ["com.*.done"]}, "types.0"),
    "constant as an expression": ({"source": "https://ci.example.com"}, "source"),
    "text for optional": ({"optional": "false"}, "optional"),
}


@pytest.mark.parametrize(("changes", "place"), INVALID.values(), ids=INVALID)
def test_invalid_entry_is_refused_with_its_path(changes: Json, place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        adapter_of(**changes)
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [place]


def test_activity_of_the_worker_is_refused() -> None:
    with pytest.raises(ValidationError, match="activity EVENT_STALE is an activity of the worker's own"):
        adapter_of(statuses={"done": "activity EVENT_STALE"})


@pytest.mark.parametrize("name", ENTRIES)
def test_example_conforms_to_the_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(ENTRIES[name])


COMPONENT = "7b1e0f0c-52f3-4a7e-8a34-6f5b8f0f2c11"


def mapping_of(**changes: object) -> Mapping:
    file = {"organization": "acme", "project": COMPONENT, "formats": ENTRIES} | changes
    return Mapping(MappingFile.model_validate(file))


def kafka_record(body: Json, *headers: tuple[str, bytes], topic: str = "webhooks") -> Record:
    value = json.dumps(body).encode()
    return Record(topic=topic, partition=0, offset=0, timestamp_ms=-1, key=None, value=value, headers=headers)


@pytest.mark.parametrize(
    ("headers", "topic"),
    [
        ((("rudder-format", b"circleci"),), "webhooks"),
        ((("circleci-event-type", b"-"),), "webhooks"),
        ((), "ci"),
        ((), "x"),
    ],
)
def test_record_of_an_entry_is_mapped(headers: tuple[tuple[str, bytes], ...], topic: str) -> None:
    """By the header `rudder-format`, the vendor's header, the topic or the body; a rule can match the entry's name."""
    match = {"format": "circleci", "pipeline": "sample"}
    mapping = mapping_of(
        topics={"ci": "circleci"}, rules=[{"match": match, "component": COMPONENT, "environment": "prod"}]
    )
    event = decode_mapped(kafka_record(body_of(WORKFLOW), *headers, topic=topic), mapping)
    assert isinstance(event, Event)
    assert isinstance(event.data, DeploymentChange)
    assert (event.type, event.data.environment_id) == (EventType.DEPLOYMENT_SUCCEEDED, "prod")
    assert event.foreign is not None
    assert (event.foreign.format, event.foreign.original.type) == (Format.GENERIC, "circleci.workflow-completed")


def test_pipeline_without_a_rule_is_of_no_interest() -> None:
    assert isinstance(decode_mapped(kafka_record(body_of(WORKFLOW)), mapping_of()), NoInterest)


def test_deployment_without_a_rule_is_unmapped() -> None:
    """An entry for deployments alone is not optional."""
    rejected = decode_mapped(kafka_record(home_made("done")), mapping_of())
    assert isinstance(rejected, Invalid)
    assert rejected.reason is Reason.UNMAPPED


def test_rejection_names_the_member_of_the_mapping_file() -> None:
    [body] = changed_file(WORKFLOW, "workflow/status", "paused")
    rejected = decode_mapped(kafka_record(body), mapping_of())
    assert isinstance(rejected, Invalid)
    assert rejected.reason is Reason.INVALID_DATA
    assert rejected.detail.startswith("/formats/circleci/statuses: has no paused")


@pytest.mark.parametrize("name", ["CircleCI", "", "7", "a b", "x" * 64])
def test_name_of_an_entry_is_checked(name: str) -> None:
    with pytest.raises(ValidationError):
        mapping_of(formats={name: ENTRIES["circleci"]})


BEYOND_THE_SCHEMA = {
    "number as a word",
    "meaning with a line break",
    "expression of a part",
    "expression of the scope",
    "constant as an expression",
}
"""JSON Schema does not parse JMESPath, and JSON has no numbers as names. Python's `$` is not the end."""


@pytest.mark.parametrize("case", sorted(INVALID.keys() - BEYOND_THE_SCHEMA))
def test_invalid_entry_violates_the_json_schema(case: str) -> None:
    changes, _ = INVALID[case]
    entry = {"source": "'/ci'", "id": "id", "status": "status", "statuses": {"done": "succeeded"}} | changes
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(entry)


def test_every_member_has_a_description() -> None:
    """Editors show them."""
    objects = [SCHEMA, *SCHEMA["$defs"].values()]
    members = [member for one in objects for member in one.get("properties", {}).items()]
    assert [name for name, member in members if not member.get("description")] == []
    assert len(members) == sum(
        len(model.model_fields) for model in (GenericFormat, ScopeExpressions, ArtifactExpressions)
    )


def test_hostile_bodies_cover_every_example() -> None:
    assert {name for name, _ in BODIES} == set(ADAPTERS)


def test_page_has_every_example_member_and_status() -> None:
    page = PAGE.read_text("utf-8")
    words = [(name, word) for name, entry in ENTRIES.items() if name != "deploy-api" for word in entry["statuses"]]
    assert [(name, word) for name, word in words if f"`{word}`" not in page] == []
    assert [path.name for path in EXAMPLES.glob("*.yaml") if path.name not in page] == []
    assert [name for name in ENTRIES if f"`{name}`" not in page] == []
    assert [name for name in GenericFormat.model_fields if f"| `{name}`" not in page] == []


BODIES = [
    ("bitbucket", body_of(BITBUCKET)),
    ("bitbucket-data-center", plugin_status("FAILED")),
    ("circleci", body_of(JOB)),
    ("octopus", body_of(OCTOPUS)),
    ("harness", harness("StageSuccess", "completed", stage="deploy")),
    ("spinnaker", orca("orca:pipeline:complete", "SUCCEEDED", artifacts=[{"type": "docker/image"}])),
    ("spinnaker", builds()[0]),
    ("devlake", body_of(DEVLAKE)),
    ("deploy-api", home_made("done")),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
UNUSUAL: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        "",
        "\0",
        "x" * 3_000,
        -1,
        2**70,
        True,
        1e300,
        [],
        {},
        [[]],
        [None],
        "9999-12-31T23:59:59Z",
        "\U0001f680" * 200,
    ]
)


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([path] if path else []) + [found for step, child in children for found in paths_of(child, (*path, step))]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, Json]:
    """A body in which up to three values are replaced or removed."""
    name, body = copy.deepcopy(draw(st.sampled_from(BODIES)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths_of(body) or [("id",)]))
        inner: Any = body
        for step in path[:-1]:
            inner = inner[step]
        if isinstance(inner, dict) and path[-1] in inner and draw(st.booleans()):
            del inner[path[-1]]
        else:
            inner[path[-1]] = draw(UNUSUAL | JSON)
    return name, body


def check_any(adapter: GenericAdapter, body: Json) -> None:
    assert adapter.has_shape(body) in {True, False}
    try:
        adapted = adapter.adapt(record_of(body, {"x-harness-tag": "1"}))
    except Unreadable:
        return
    assert adapted.format is Format.GENERIC
    if isinstance(adapted, ForeignEvent):
        assert adapted.source
        assert 0 < len(adapted.id) <= 255


@settings(max_examples=examples(150), deadline=None)
@given(mutated())
def test_mutated_body_has_a_result_or_a_problem(case: tuple[str, Json]) -> None:
    name, body = case
    check_any(ADAPTERS[name], body)


@settings(max_examples=examples(50), deadline=None)
@given(st.dictionaries(st.text(max_size=10), JSON, max_size=5))
def test_any_body_has_a_result_or_a_problem(body: Json) -> None:
    for adapter in ADAPTERS.values():
        check_any(adapter, body)


@pytest.mark.parametrize(("name", "body"), BODIES)
def test_body_of_many_entries_has_a_result(name: str, body: Json) -> None:
    """Each value that an example reads is a hundred thousand entries, or deep."""
    deep: Any = "x"
    for _ in range(50):
        deep = [deep]
    for large in ([0] * 10**5, dict.fromkeys(map(str, range(10**5))), "," * 10**5, deep):
        for path in paths_of(body):
            changed = copy.deepcopy(body)
            inner: Any = changed
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = large
            check_any(ADAPTERS[name], changed)
