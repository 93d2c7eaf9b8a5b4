"""Jenkins' two plugins: what each event and result becomes, and that no body causes another error."""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings

from schemas.adapters import cdevents, jenkins
from schemas.adapters.foreign import Artifact, ForeignEvent, ForeignRecord, Format, NoInterest, Original, Unreadable
from schemas.adapters.jenkins import RESULTS
from schemas.types import EventType, short_type
from tests.hypothesis_profile import examples
from tests.unit.schemas.adapters.source_pages import NONE, documented
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed, files, json_objects, mutated, without

COMMIT = "58793660b22d6ceacbdc23b28a0562bca339702c"

# Our event's type, or the kind that is of no interest.
EXPECTED = {
    "cdevents-plugin/01-pipeline-run-queued.json": "no interest: pipelinerun.queued",
    "cdevents-plugin/02-pipeline-run-started.json": "no interest: started",
    "cdevents-plugin/03-pipeline-run-finished.json": "deployment.succeeded",
    "cdevents-plugin/04-pipeline-run-finished.json": "no interest: taskrun.started",
    "cdevents-plugin/05-pipeline-run-finished.json": "no interest: taskrun.finished",
    "notification-plugin/started.json": "no interest: started",
}

STARTED = body_of("jenkins", "cdevents-plugin/02-pipeline-run-started.json")
FINISHED = body_of("jenkins", "cdevents-plugin/03-pipeline-run-finished.json")


def notification(phase: str, status: str | None = None, **build: object) -> dict[str, Any]:
    """A notification as the plugin's class `BuildState` writes it."""
    return {
        "name": "deploy",
        "display_name": "deploy",
        "url": "job/shop/job/deploy/",
        "build": {
            "full_url": "https://ci.example.com/job/shop/job/deploy/12/",
            "number": 12,
            "queue_id": 7,
            "timestamp": 1704281696789,
            "duration": 0,
            "phase": phase,
            **({"status": status} if status is not None else {}),
            "url": "job/shop/job/deploy/12/",
            "scm": {
                "url": "git@github.com:acme/shop.git",
                "branch": "origin/main",
                "commit": COMMIT,
                "changes": [],
                "culprits": [],
            },
            "parameters": {"environment": "production", "IMAGE": "ghcr.io/acme/shop:1.2"},
            "notes": "the release of today",
            "artifacts": {},
            **build,
        },
    }


def record(body: Mapping[str, Any], **attributes: Any) -> ForeignRecord:
    return ForeignRecord(headers={}, body=body, **attributes)


def event_of(body: Mapping[str, Any], **attributes: Any) -> ForeignEvent:
    event = jenkins.adapt(record(body, **attributes))
    assert isinstance(event, ForeignEvent)
    return event


def result_of(body: Mapping[str, Any]) -> str:
    try:
        adapted = jenkins.adapt(record(body))
    except Unreadable as error:
        return error.problem
    return f"no interest: {adapted.kind}" if isinstance(adapted, NoInterest) else short_type(adapted.type)


def test_every_published_payload_has_an_expected_result() -> None:
    assert files("jenkins") == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_published_payload_has_its_result(name: str) -> None:
    body = body_of("jenkins", name)
    assert result_of(body) == EXPECTED[name]
    assert jenkins.has_shape(body)
    assert not cdevents.has_shape(body)


def test_event_of_the_cdevents_plugin_is_read_completely() -> None:
    assert event_of(FINISHED) == ForeignEvent(
        format=Format.JENKINS,
        type=EventType.DEPLOYMENT_SUCCEEDED,
        source="http://localhost:8080/jenkins/job/PipelineCommit",
        id="build/167/success",
        time=datetime(2023, 4, 6, 20, 56, 6, 898710, tzinfo=UTC),
        original=Original(
            type="dev.cdevents.pipelinerun.finished.0.1.0",
            id="PipelineCommit/167",
            status="SUCCESS",
            url="http://localhost:8080/jenkins/job/PipelineCommit/167/",
        ),
        run="build/167",
        scope={"host": "localhost:8080", "pipeline": "PipelineCommit"},
        optional=True,
    )


def test_notification_is_read_completely() -> None:
    assert event_of(notification("COMPLETED", "FAILURE")) == ForeignEvent(
        format=Format.JENKINS,
        type=EventType.DEPLOYMENT_FAILED,
        source="https://ci.example.com/job/shop/job/deploy",
        id="build/12/failure",
        time=datetime(2024, 1, 3, 11, 34, 56, 789000, tzinfo=UTC),
        original=Original(
            type="build.completed",
            id="shop/deploy/12",
            status="FAILURE",
            url="https://ci.example.com/job/shop/job/deploy/12/",
        ),
        run="build/12",
        scope={
            "host": "ci.example.com",
            "organization": "acme",
            "repository": "acme/shop",
            "pipeline": "shop/deploy",
            "branch": "main",
            "environment": "production",
        },
        artifact=Artifact(commit=COMMIT, image="ghcr.io/acme/shop", tag="1.2"),
        comment="the release of today",
    )


@pytest.mark.parametrize(
    ("phase", "expected"), [("QUEUED", EventType.DEPLOYMENT_REQUESTED), ("started", EventType.DEPLOYMENT_STARTED)]
)
def test_phase_begins_the_deployment(phase: str, expected: EventType) -> None:
    event = event_of(notification(phase, "FAILURE"))
    assert (event.type, event.id, event.original.status) == (expected, f"build/12/{phase.lower()}", None)
    assert event.original.type == f"build.{phase.lower()}"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("SUCCESS", "deployment.succeeded"),
        ("UNSTABLE", "deployment.succeeded"),
        ("FAILURE", "deployment.failed"),
        ("FAILED", "deployment.failed"),
        ("ERROR", "deployment.failed"),
        ("ABORTED", "deployment.cancelled"),
        ("CANCEL", "deployment.cancelled"),
        ("NOT_BUILT", "deployment.cancelled"),
    ],
)
def test_result_decides_the_end(status: str, expected: str) -> None:
    assert result_of(notification("COMPLETED", status)) == expected
    assert result_of(notification("FINALIZED", status.lower())) == expected
    assert result_of(changed(FINISHED, {"data/build/status": status})) == expected
    assert result_of(changed(FINISHED, {"data/build/status": None, "outcome": status.lower()})) == expected
    assert status in RESULTS


def test_page_has_the_tables() -> None:
    results = documented("jenkins.md", "results")
    assert results == {status: short_type(type_) for status, type_ in RESULTS.items()}
    types = documented("jenkins.md", "types")
    assert {name for name, result in types.items() if result == NONE} == {
        "pipelinerun.queued",
        "taskrun.started",
        "taskrun.finished",
    }


def test_builds_result_precedes_the_outcome() -> None:
    """The plugin's outcome of an aborted build is `failure`."""
    body = changed(FINISHED, {"data/build/status": "ABORTED", "outcome": "failure"})
    assert result_of(body) == "deployment.cancelled"


def test_completed_and_finalized_are_one_change() -> None:
    completed = event_of(notification("COMPLETED", "SUCCESS"))
    finalized = event_of(notification("FINALIZED", "SUCCESS", timestamp=1704281697000))
    assert (completed.source, completed.id, completed.run) == (finalized.source, finalized.id, finalized.run)
    other = event_of(notification("FINALIZED", "FAILURE"))
    assert (other.id != completed.id, other.run) == (True, completed.run)


def test_events_of_one_build_are_one_run() -> None:
    """And those of two builds are two, although the CDEvents plugin gives the events of one the same id."""
    bodies = [notification("QUEUED"), notification("STARTED"), notification("COMPLETED", "SUCCESS")]
    events = [event_of(body) for body in bodies]
    assert len({event.id for event in events}) == len(events)
    assert {(event.source, event.run) for event in events} == {(events[0].source, "build/12")}
    assert event_of(notification("STARTED", number=13)).run == "build/13"

    known = {"data/build/scmState": {"commit": COMMIT}}
    started, finished = event_of(changed(STARTED, known)), event_of(changed(FINISHED, known))
    assert (started.source, started.run) == (finished.source, finished.run)
    assert started.id != finished.id


def test_both_plugins_give_one_build_one_identity() -> None:
    plugin = changed(
        FINISHED,
        {
            "data/url": "job/shop/job/deploy/",
            "data/build/number": 12,
            "data/build/fullUrl": "https://ci.example.com/job/shop/job/deploy/12/",
        },
    )
    one, other = event_of(plugin), event_of(notification("FINALIZED", "SUCCESS"))
    assert (one.source, one.id, one.run) == (other.source, other.id, other.run)


def test_data_of_a_binary_event_is_read() -> None:
    event = event_of(
        FINISHED["data"],
        type=FINISHED["type"],
        id=FINISHED["id"],
        source=FINISHED["source"],
        time=datetime(2023, 4, 6, tzinfo=UTC),
    )
    assert (event.source, event.id) == (event_of(FINISHED).source, event_of(FINISHED).id)
    assert event.time == datetime(2023, 4, 6, tzinfo=UTC)


def test_build_without_artifact_has_no_start_yet() -> None:
    bare = notification("STARTED", scm={}, parameters={"IMAGE": "ghcr.io/acme/shop"})
    assert result_of(bare) == "no interest: started"
    assert result_of(notification("QUEUED", scm={}, parameters=None)) == "no interest: queued"
    assert event_of(notification("COMPLETED", "SUCCESS", scm={}, parameters=None)).artifact == Artifact()


@pytest.mark.parametrize(
    "body", [notification("NONE", "SUCCESS"), notification("COMPLETED"), notification("FINALIZED")]
)
def test_notification_of_a_step_is_of_no_interest(body: dict[str, Any]) -> None:
    assert result_of(body) == "no interest: notification"


@pytest.mark.parametrize(
    ("parameters", "environment", "artifact"),
    [
        ({"ENVIRONMENT": "prod", "IMAGE_TAG": "1.2"}, "prod", Artifact(commit=COMMIT, tag="1.2")),
        ({"deploy_env": "prod", "VERSION": "1.2"}, "prod", Artifact(commit=COMMIT, tag="1.2")),
        ({"TARGET_ENV": "prod", "IMAGE_TAG": "", "VERSION": "1.2"}, "prod", Artifact(commit=COMMIT, tag="1.2")),
        ({"ENVIRONMENT": "", "TARGET_ENV": "prod"}, "prod", Artifact(commit=COMMIT)),
        ({"ENV": "prod", "Environment": 7, "IMAGE": ""}, None, Artifact(commit=COMMIT)),
        ([], None, Artifact(commit=COMMIT)),
    ],
)
def test_parameters_name_environment_and_artifact(
    parameters: object, environment: str | None, artifact: Artifact
) -> None:
    event = event_of(notification("STARTED", parameters=parameters))
    assert (event.scope.get("environment"), event.optional) == (environment, environment is None)
    assert event.artifact == artifact


def test_parameter_may_name_the_commit() -> None:
    event = event_of(notification("STARTED", scm={}, parameters={"GIT_COMMIT": COMMIT.upper()}))
    assert event.artifact == Artifact(commit=COMMIT)


@pytest.mark.parametrize(
    ("changes", "source", "pipeline"),
    [
        ({"build/full_url": None}, "job/shop/job/deploy", "shop/deploy"),
        ({"build/full_url": "https://ci.example.com/x"}, "job/shop/job/deploy", "shop/deploy"),
        ({"build/full_url": None, "url": None}, "deploy", "deploy"),
        ({"url": "JobUrl", "build/full_url": None}, "JobUrl", "deploy"),
        ({"build/full_url": "https://ci.example.com/job/12"}, "https://ci.example.com/job", "deploy"),
        (
            {"build/full_url": "https://ci.example.com/ci/job/job/job/a%20b/12"},
            "https://ci.example.com/ci/job/job/job/a%20b",
            "job/a b",
        ),
    ],
)
def test_source_is_the_jobs_url(changes: dict[str, object], source: str, pipeline: str) -> None:
    event = event_of(changed(notification("COMPLETED", "SUCCESS"), changes))
    assert (event.source, event.scope["pipeline"]) == (source, pipeline)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (without(notification("STARTED"), "build"), "/build/phase: is missing"),
        (without(notification("STARTED"), "build/number"), "/build/number: is missing"),
        (notification("PAUSED"), "/build/phase: is none of COMPLETED, FINALIZED, NONE, QUEUED, STARTED"),
        (notification("COMPLETED", "MAYBE"), f"/build/status: is none of {', '.join(RESULTS)}"),
        (notification("STARTED", timestamp="now"), "/build/timestamp: is not a number of milliseconds"),
        (
            changed(notification("COMPLETED", "SUCCESS"), {"build/full_url": None, "url": "/", "name": ""}),
            "/url: is missing",
        ),
        (without(without(FINISHED, "outcome"), "data/build/status"), "/data/build/status: is missing, as is /outcome"),
        (changed(FINISHED, {"data/build/status": "MAYBE"}), f"/data/build/status: is none of {', '.join(RESULTS)}"),
        (without(without(FINISHED, "id"), "data/build/number"), "/id: is missing"),
    ],
)
def test_problem_is_named(body: dict[str, Any], problem: str) -> None:
    assert result_of(body) == problem


@pytest.mark.parametrize(
    ("type_", "kind"),
    [("pipelinerun.queued.0.1.0", "pipelinerun.queued"), ("build.started.0.1.0", "other"), ("build", "other")],
)
def test_other_events_of_the_plugin_are_of_no_interest(type_: str, kind: str) -> None:
    assert result_of(changed(FINISHED, {"type": f"dev.cdevents.{type_}"})) == f"no interest: {kind}"


def test_unknown_time_in_the_queue_is_left_out() -> None:
    assert event_of(notification("QUEUED", timestamp=0)).time is None
    assert event_of(notification("QUEUED", timestamp=0), time=datetime(2024, 1, 3, tzinfo=UTC)).time is not None


def test_format_is_recognised_by_shape_alone() -> None:
    assert not jenkins.has_type("dev.cdevents.pipelinerun.started.0.1.0")
    assert not jenkins.has_headers({"content-type": "application/json"})
    assert jenkins.has_shape(notification("STARTED"))
    assert not jenkins.has_shape(notification("PAUSED"))
    assert not jenkins.has_shape(notification("STARTED", number="12"))
    assert not jenkins.has_shape(without(notification("STARTED"), "name"))
    # A CDEvent in a structured envelope.
    assert not jenkins.has_shape({"type": FINISHED["type"], "data": {"context": {}, "subject": {}}})
    assert not jenkins.has_shape({"type": FINISHED["type"], "data": None})
    assert not jenkins.has_shape({"type": ["x"], "build": {"phase": ["x"]}})


def test_every_order_gives_the_same_events() -> None:
    bodies = [notification("STARTED"), notification("COMPLETED", "SUCCESS"), notification("FINALIZED", "SUCCESS")]
    seen = {
        frozenset((event_of(body).id, event_of(body).type) for body in order)
        for order in itertools.permutations(bodies)
    }
    assert seen == {
        frozenset(
            {
                ("build/12/started", EventType.DEPLOYMENT_STARTED),
                ("build/12/success", EventType.DEPLOYMENT_SUCCEEDED),
            }
        )
    }


def outcome_of(body: Mapping[str, Any]) -> str:
    try:
        adapted = jenkins.adapt(record(body))
    except Unreadable:
        return "unreadable"
    return type(adapted).__name__


@given(json_objects())
@settings(max_examples=examples(100))
def test_any_object_has_one_of_three_results(body: dict[str, Any]) -> None:
    assert outcome_of(body) == "unreadable"
    assert outcome_of({**FINISHED, "data": body}) in ("unreadable", "ForeignEvent")
    assert outcome_of({**notification("COMPLETED", "SUCCESS"), "build": body}) == "unreadable"


@given(mutated("jenkins"))
@settings(max_examples=examples(300))
def test_changed_payload_has_one_of_three_results(body: dict[str, Any]) -> None:
    assert outcome_of(body) in ("unreadable", "ForeignEvent", "NoInterest")
    assert isinstance(jenkins.has_shape(body), bool)
