"""CDEvents: what each event type becomes, its identity, and that no body causes another error."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.adapters import cdevents, jenkins
from schemas.adapters.cdevents import EFFECTS, NO_INTEREST, OUTCOMES
from schemas.adapters.foreign import Artifact, ForeignEvent, ForeignRecord, Format, NoInterest, Original, Unreadable
from schemas.types import EventType, short_type
from tests.hypothesis_profile import examples
from tests.unit.schemas.adapters.source_pages import documented
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed, files, json_objects, mutated, without

DIGEST = "sha256:0b31b1c02ff458ad9b7b81cbdf8f028bd54699fa151f221d1e8de6817db93427"
COMMIT = "58793660b22d6ceacbdc23b28a0562bca339702c"


def no_interest(kind: str) -> NoInterest:
    return NoInterest(format=Format.CDEVENTS, kind=kind)


# Our event's type or the activity's; or the kind that is of no interest; or the problem.
BY_TYPE = {
    "artifact_deleted": "CDEVENTS_ARTIFACT_DELETED",
    "artifact_downloaded": no_interest("other"),
    "artifact_packaged": "CDEVENTS_ARTIFACT_PACKAGED",
    "artifact_published": "CDEVENTS_ARTIFACT_PUBLISHED",
    "artifact_signed": "CDEVENTS_ARTIFACT_SIGNED",
    "branch_created": no_interest("branch"),
    "branch_deleted": no_interest("branch"),
    "build_finished": no_interest("build"),
    "build_queued": no_interest("build"),
    "build_started": no_interest("build"),
    "change_abandoned": no_interest("change"),
    "change_created": no_interest("change"),
    "change_merged": no_interest("change"),
    "change_reviewed": no_interest("change"),
    "change_updated": no_interest("change"),
    "custom": "CDEVENTS_CUSTOM",
    "environment_created": no_interest("environment"),
    "environment_deleted": no_interest("environment"),
    "environment_modified": no_interest("environment"),
    "incident_detected": "CDEVENTS_INCIDENT_DETECTED",
    "incident_reported": "CDEVENTS_INCIDENT_REPORTED",
    "incident_resolved": "CDEVENTS_INCIDENT_RESOLVED",
    "pipelinerun_finished": "deployment.failed",
    "pipelinerun_queued": no_interest("pipelinerun.queued"),
    "pipelinerun_started": no_interest("pipelinerun.started"),
    "repository_created": no_interest("repository"),
    "repository_deleted": no_interest("repository"),
    "repository_modified": no_interest("repository"),
    "service_deployed": "deployment.succeeded",
    "service_published": no_interest("service.published"),
    "service_removed": no_interest("service.removed"),
    "service_rolledback": "deployment.succeeded",
    "service_upgraded": "deployment.succeeded",
    "taskrun_finished": "deployment.failed",
    "taskrun_started": no_interest("taskrun.started"),
    "testcaserun_finished": no_interest("testcaserun"),
    "testcaserun_queued": no_interest("testcaserun"),
    "testcaserun_skipped": no_interest("testcaserun"),
    "testcaserun_started": no_interest("testcaserun"),
    "testoutput_published": no_interest("testoutput"),
    "testsuiterun_finished": no_interest("testsuiterun"),
    "testsuiterun_queued": no_interest("testsuiterun"),
    "testsuiterun_started": no_interest("testsuiterun"),
    "ticket_closed": no_interest("ticket"),
    "ticket_created": no_interest("ticket"),
    "ticket_updated": no_interest("ticket"),
}
OF_SDK_JAVA = {
    "artifact_packaged_with_no_content": "CDEVENTS_ARTIFACT_PACKAGED",
    "artifact_published_with_no_context": "/context/type: is missing",
    "artifact_signed_with_invalid_type": no_interest("other"),
    "pipelinerun_finished_optional": no_interest("pipelinerun.finished"),  # without an outcome
    "pipelinerun_queued_optional": no_interest("pipelinerun.queued"),
    "pipelinerun_started_optional": no_interest("pipelinerun.started"),
    "taskrun_finished_optional": no_interest("taskrun.finished"),
    "taskrun_started_optional": no_interest("taskrun.started"),
}

DEPLOYED = body_of("cdevents", "spec-v0.5.1/service_deployed.json")
FINISHED = body_of("cdevents", "spec-v0.5.1/pipelinerun_finished.json")
TASK_FINISHED = body_of("cdevents", "spec-v0.5.1/taskrun_finished.json")
PUBLISHED = body_of("cdevents", "spec-v0.5.1/artifact_published.json")
INCIDENT = body_of("cdevents", "spec-v0.5.1/incident_detected.json")
CUSTOM = body_of("cdevents", "spec-v0.5.1/custom.json")
WITH_ARTIFACT = {"customData": {"artifactId": "pkg:oci/shop@1.2"}}
TIME = datetime(2023, 3, 20, 14, 27, 5, 315384, tzinfo=UTC)


def record(body: Mapping[str, Any], **attributes: Any) -> ForeignRecord:
    return ForeignRecord(headers={}, body=body, **attributes)


def event_of(body: Mapping[str, Any], **attributes: Any) -> ForeignEvent:
    event = cdevents.adapt(record(body, **attributes))
    assert isinstance(event, ForeignEvent)
    return event


def problem_of(body: Mapping[str, Any]) -> str:
    with pytest.raises(Unreadable) as caught:
        cdevents.adapt(record(body))
    assert not caught.value.unsupported
    return caught.value.problem


def result_of(body: Mapping[str, Any]) -> str | NoInterest:
    try:
        adapted = cdevents.adapt(record(body))
    except Unreadable as error:
        return error.problem
    return adapted if isinstance(adapted, NoInterest) else adapted.activity_type or short_type(adapted.type)


def typed(body: Mapping[str, Any], type_: str) -> dict[str, Any]:
    return changed(body, {"context/type": type_})


def deployment(predicate: str, **content: object) -> dict[str, Any]:
    """An event of the proposal cdevents/spec#319."""
    body = typed(DEPLOYED, f"dev.cdevents.deployment.{predicate}.0.1.0")
    return changed(
        body, {"subject/id": "dep-8f3a2c", **{f"subject/content/{key}": one for key, one in content.items()}}
    )


@pytest.mark.parametrize("name", files("cdevents"))
def test_published_payload_has_its_result(name: str) -> None:
    folder, file = name.removesuffix(".json").split("/")
    expected = (OF_SDK_JAVA if folder == "sdk-java" else BY_TYPE)[file]
    assert result_of(body_of("cdevents", name)) == expected


def test_every_type_of_the_tables_is_tested() -> None:
    tested = {name.replace("_", ".", 1) for name in BY_TYPE}
    assert set(EFFECTS) - tested == {"deployment.queued", "deployment.started", "deployment.finished"}
    assert NO_INTEREST - {name.partition("_")[0] for name in BY_TYPE} == {
        "approval",
        "targetrollout",
        "testcase",
        "testsuite",
    }


def test_service_deployed_is_read_completely() -> None:
    assert event_of(DEPLOYED) == ForeignEvent(
        format=Format.CDEVENTS,
        type=EventType.DEPLOYMENT_SUCCEEDED,
        source="/event/source/123",
        id="service.deployed/271069a8-fc18-44f1-b38f-9d70a1695819",
        time=TIME,
        original=Original(type="dev.cdevents.service.deployed.0.3.0", id="mySubject123"),
        scope={"repository": "myapp", "service": "mySubject123", "environment": "test123"},
        artifact=Artifact(image="myapp", digest=DIGEST),
    )


def test_pipeline_run_is_read_completely() -> None:
    assert event_of(FINISHED) == ForeignEvent(
        format=Format.CDEVENTS,
        type=EventType.DEPLOYMENT_FAILED,
        source="/event/source/123",
        id="pipelinerun.finished/271069a8-fc18-44f1-b38f-9d70a1695819",
        time=TIME,
        original=Original(
            type="dev.cdevents.pipelinerun.finished.0.3.0",
            id="mySubject123",
            status="failure",
            url="https://www.example.com/mySubject123",
        ),
        run="pipelinerun/mySubject123",
        scope={"pipeline": "myPipeline"},
        comment="Something went wrong\nWith some more details",
        optional=True,
    )


def test_activity_has_the_artifact_of_its_subject() -> None:
    event = event_of(PUBLISHED)
    assert (event.type, event.activity_type) == (EventType.ACTIVITY_RECORDED, "CDEVENTS_ARTIFACT_PUBLISHED")
    assert event.artifact == Artifact(tag="234fd47e07d1004f0aed9c")
    assert event.scope == {"organization": "myorg", "repository": "mygit.com/myorg/myapp"}
    assert (event.actor, event.original.actor, event.run, event.optional) == ("mybot-myapp", "mybot-myapp", None, False)


def test_incident_names_its_service_and_environment() -> None:
    event = event_of(INCIDENT)
    assert event.scope == {"repository": "myapp", "service": "myApp", "environment": "prod1"}
    assert event.comment == "Response time above threshold of 100ms"


def test_incident_without_artifact_is_of_no_interest() -> None:
    assert result_of(without(INCIDENT, "subject/content/artifactId")) == no_interest("incident.detected")


@pytest.mark.parametrize("type_", ["service.removed", "service.published"])
def test_service_without_deployment_is_an_activity(type_: str) -> None:
    """The specification gives these events no artifact; a producer that does gets an activity."""
    event = event_of(typed(DEPLOYED, f"dev.cdevents.{type_}.0.3.0"))
    assert event.activity_type == f"CDEVENTS_{type_.replace('.', '_').upper()}"
    assert event.scope["environment"] == "test123"


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("success", "deployment.succeeded"),
        ("SUCCESS", "deployment.succeeded"),
        ("failure", "deployment.failed"),
        ("error", "deployment.failed"),
        ("cancel", "deployment.cancelled"),
        ("maybe", "/subject/content/outcome: is none of success, failure, error, cancel"),
    ],
)
@pytest.mark.parametrize("body", [FINISHED, TASK_FINISHED, deployment("finished")], ids=["run", "task", "deployment"])
def test_outcome_decides_the_end(body: dict[str, Any], outcome: str, expected: str) -> None:
    assert result_of(changed(body, {"subject/content/outcome": outcome})) == expected


def test_every_outcome_is_tested() -> None:
    assert set(OUTCOMES) == {"success", "failure", "error", "cancel"}


def test_page_has_the_tables() -> None:
    outcomes = documented("cdevents.md", "outcomes")
    assert outcomes == {outcome: short_type(type_) for outcome, type_ in OUTCOMES.items()}
    events = documented("cdevents.md", "events")
    documented_types = set(EFFECTS) | NO_INTEREST | {"artifact.downloaded", "dev.cdeventsx.…"}
    assert set(events) == documented_types
    for name, effect in EFFECTS.items():
        if effect.type not in (None, EventType.ACTIVITY_RECORDED, EventType.DEPLOYMENT_STARTED):
            assert events[name] == short_type(effect.type)


@pytest.mark.parametrize(
    ("predicate", "expected"), [("queued", EventType.DEPLOYMENT_REQUESTED), ("started", EventType.DEPLOYMENT_STARTED)]
)
def test_proposed_deployment_events_are_one_run(predicate: str, expected: EventType) -> None:
    event = event_of(deployment(predicate))
    assert (event.type, event.optional) == (expected, False)
    assert event.scope == {"repository": "myapp", "environment": "test123"}
    assert event.artifact.digest == DIGEST
    assert event.run == event_of(deployment("finished", outcome="success")).run == "deployment/dep-8f3a2c"


def test_deployment_without_outcome_is_unreadable() -> None:
    assert problem_of(deployment("finished")) == "/subject/content/outcome: is missing"


@pytest.mark.parametrize(
    "type_", ["targetrollout.started", "targetRollout.started", "approval.closed", "testsuite.finished"]
)
def test_other_subjects_are_of_no_interest(type_: str) -> None:
    kind = type_.partition(".")[0].lower()
    assert result_of(typed(DEPLOYED, f"dev.cdevents.{type_}.0.1.0")) == no_interest(kind)


@pytest.mark.parametrize("version", ["", ".0.1-draft", ".0.1.1", ".12.0.0"])
def test_version_of_the_event_type_is_ignored(version: str) -> None:
    event = event_of(typed(DEPLOYED, f"dev.cdevents.service.deployed{version}"))
    assert (event.type, event.id) == (EventType.DEPLOYMENT_SUCCEEDED, event_of(DEPLOYED).id)


def test_versions_of_the_specification_read_the_same() -> None:
    old = event_of(body_of("cdevents", "spec-v0.2.0/service_deployed.json"))
    assert (old.type, old.source, old.id, old.artifact, old.scope) == (
        event_of(DEPLOYED).type,
        event_of(DEPLOYED).source,
        event_of(DEPLOYED).id,
        event_of(DEPLOYED).artifact,
        event_of(DEPLOYED).scope,
    )
    run = event_of(body_of("cdevents", "spec-v0.2.0/pipelinerun_finished.json"))
    assert (run.run, run.original.url) == (event_of(FINISHED).run, event_of(FINISHED).original.url)


def test_id_has_the_type_and_the_events_own_id() -> None:
    """A producer that reuses an id for the start and the end of a run does not lose its end."""
    started = event_of(changed(body_of("cdevents", "spec-v0.5.1/pipelinerun_started.json"), WITH_ARTIFACT))
    finished = event_of(FINISHED)
    assert started.id != finished.id
    assert started.id.endswith("/" + FINISHED["context"]["id"])
    assert finished.id.endswith("/" + FINISHED["context"]["id"])


def test_custom_id_has_the_whole_name() -> None:
    assert event_of(CUSTOM).id == "custom/mytool-resource.created/271069a8-fc18-44f1-b38f-9d70a1695819"


def test_content_derives_the_id_that_cdviz_leaves_open() -> None:
    body = changed(DEPLOYED, {"context/id": "0"})
    later = changed(body, {"context/timestamp": "2023-03-20T14:28:00Z"})
    reordered = dict(reversed(body.items()))
    assert event_of(body).id.startswith("service.deployed/sha256:")
    assert event_of(body).id == event_of(reordered).id
    assert event_of(body).id != event_of(later).id


def test_collected_event_is_read() -> None:
    """What CDviz' collector makes of an Argo CD notification."""
    event = event_of(body_of("argocd", "as-cdevents/002.1.json"))
    assert event.type is EventType.DEPLOYMENT_SUCCEEDED
    assert event.artifact == Artifact(image="ghcr.io/cdviz-dev/aaaaaaaa-aaaaaaa", tag="0.6.2")
    assert event.scope == {
        "host": "cdviz-collector.example.com",
        "organization": "cdviz-dev",
        "repository": "ghcr.io/cdviz-dev/aaaaaaaa-aaaaaaa",
        "service": "argocd/aaaaaaaa-aaaaaaa/aaaaaaaa-aaaaaaa",
        "environment": "https://kubernetes.default.svc",
    }


def test_run_names_the_subjects_own_source() -> None:
    body = changed(FINISHED, {"subject/source": "/staging/tekton"})
    assert event_of(body).run == "pipelinerun//staging/tekton/mySubject123"
    assert event_of(without(FINISHED, "subject/source")).run == event_of(FINISHED).run


def test_attributes_of_the_envelope_fill_gaps() -> None:
    body = without(DEPLOYED, "context")
    event = event_of(body, type="dev.cdevents.service.deployed.0.1.1", id="7", source="/ce", time=TIME)
    assert (event.source, event.id, event.time) == ("/ce", "service.deployed/7", TIME)


def test_context_precedes_the_envelope() -> None:
    event = event_of(DEPLOYED, type="dev.cdevents.service.removed.0.1.1", id="7", source="/ce")
    assert (event.source, event.id) == (event_of(DEPLOYED).source, event_of(DEPLOYED).id)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("context/source", "/context/source: is missing"),
        ("context/id", "/context/id: is missing"),
        ("context/type", "/context/type: is missing"),
        ("subject/id", "/subject/id: is missing"),
        ("subject/content/environment", "/subject/content/environment/id: is missing"),
        ("subject/content/artifactId", "/subject/content/artifactId: names no version of an artifact"),
    ],
)
def test_missing_member_is_named(path: str, problem: str) -> None:
    assert problem_of(without(DEPLOYED, path)) == problem


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("context/type", "com.example.deployed", "/context/type: is no type of CDEvents"),
        ("context/type", "dev.cdevents.service", "/context/type: has no subject and predicate"),
        ("context/type", "dev.cdevents..deployed", "/context/type: has no subject and predicate"),
        ("context/timestamp", "yesterday", "/context/timestamp: is not an RFC 3339 time with a zone"),
        ("subject/content/artifactId", "pkg:oci/myapp", "/subject/content/artifactId: names no version of an artifact"),
        ("subject/content/artifactId", 7, "/subject/content/artifactId: names no version of an artifact"),
    ],
)
def test_wrong_member_is_named(path: str, value: object, problem: str) -> None:
    assert problem_of(changed(DEPLOYED, {path: value})) == problem


def test_environment_may_be_a_text() -> None:
    assert event_of(changed(DEPLOYED, {"subject/content/environment": "prod"})).scope["environment"] == "prod"
    named = changed(DEPLOYED, {"subject/content/environment": {"name": "prod"}})
    assert event_of(named).scope["environment"] == "prod"


@pytest.mark.parametrize(
    ("subject_id", "content", "expected"),
    [
        ("pkg:oci/shop@1.2", {}, Artifact(image="shop", tag="1.2")),
        ("shop", {"artifactId": f"pkg:github/acme/shop@{COMMIT}"}, Artifact(commit=COMMIT)),
        ("shop", {"artifactId": {"id": "shop"}}, None),
        ("pkg:oci/shop", {}, None),
        ("shop", {"outcome": ["success"], "environment": 7}, None),
        ("shop", "text", None),
    ],
)
def test_custom_event_with_artifact_is_an_activity(subject_id: str, content: object, expected: Artifact | None) -> None:
    body = changed(CUSTOM, {"subject/id": subject_id, "subject/content": content})
    adapted = cdevents.adapt(record(body))
    assert (adapted.artifact if isinstance(adapted, ForeignEvent) else None) == expected
    assert isinstance(adapted, ForeignEvent) or adapted == no_interest("custom")


def test_custom_data_may_name_the_artifact_of_a_run() -> None:
    event = event_of(changed(FINISHED, WITH_ARTIFACT))
    assert event.artifact == Artifact(image="shop", tag="1.2")


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("pipelinerun.queued", EventType.DEPLOYMENT_REQUESTED),
        ("pipelinerun.started", EventType.DEPLOYMENT_STARTED),
        ("taskrun.started", EventType.DEPLOYMENT_STARTED),
    ],
)
def test_start_of_a_run_needs_an_artifact(type_: str, expected: EventType) -> None:
    body = typed(FINISHED, f"dev.cdevents.{type_}.0.3.0")
    assert result_of(body) == no_interest(type_)
    event = event_of(changed(body, WITH_ARTIFACT))
    assert (event.type, event.optional, event.scope["pipeline"]) == (expected, True, "myPipeline")


def test_run_with_an_environment_is_not_optional() -> None:
    event = event_of(changed(FINISHED, {"subject/content/environment": {"id": "prod"}}))
    assert (event.optional, event.scope["environment"]) == (False, "prod")


JENKINS_JOB = {"name": "shop", "build": {"number": 7, "scmState": {"commit": None}}}


@pytest.mark.parametrize(
    ("type_", "data", "expected"),
    [
        ("pipelinerun.queued", {"id": 7, "causes": ["a push"]}, None),
        ("taskrun.started", {"stageName": "Deploy", "stageNodeUrl": "job/shop/7/execution/node/3/"}, None),
        ("taskrun.finished", {"stageName": "Deploy", "stageNodeUrl": "job/shop/7/execution/node/3/"}, None),
        ("pipelinerun.started", JENKINS_JOB, None),
        ("pipelinerun.finished", JENKINS_JOB, Artifact()),
        ("pipelinerun.started", {"build": {"scmState": {"commit": COMMIT}}}, Artifact(commit=COMMIT)),
        ("pipelinerun.finished", {"build": {"scmState": {"commit": COMMIT}}}, Artifact(commit=COMMIT)),
        ("pipelinerun.finished", "bm90IEpTT04=", Artifact()),
    ],
)
def test_events_of_the_jenkins_plugin(type_: str, data: object, expected: Artifact | None) -> None:
    """Only the run itself counts."""
    body = changed(FINISHED, {"context/type": f"dev.cdevents.{type_}.0.1.1", "customData": data})
    adapted = cdevents.adapt(record(body))
    assert (adapted.artifact if isinstance(adapted, ForeignEvent) else None) == expected
    assert isinstance(adapted, ForeignEvent) or adapted.kind == type_


@pytest.mark.parametrize("name", files("jenkins")[:-1])
def test_data_of_the_old_jenkins_plugin_is_read_as_such(name: str) -> None:
    """A bridge may write its envelope again with the version 1.0; the type then is that of CDEvents."""
    event = body_of("jenkins", name)
    converted = record(event["data"], type=event["type"], id=event["id"], source=event["source"])
    bare = jenkins.adapt(record(event))
    adapted = cdevents.adapt(converted)
    assert type(adapted) is type(bare)
    assert adapted.format is Format.JENKINS
    if isinstance(adapted, ForeignEvent) and isinstance(bare, ForeignEvent):
        assert (adapted.source, adapted.id, adapted.run) == (bare.source, bare.id, bare.run)


@pytest.mark.parametrize(
    ("artifact_id", "organization"),
    [
        ("pkg:github/acme/shop@v1.0.0", "acme"),
        ("ghcr.io/acme/shop:1.2", "acme"),
        ("localhost:5000/acme/shop:1.2", "acme"),
        ("ghcr.io/shop:1.2", None),
        ("/shop:1.2", None),
        ("pkg:oci/shop@1.2", None),
    ],
)
def test_organization_is_the_owner_of_the_package(artifact_id: str, organization: str | None) -> None:
    event = event_of(changed(DEPLOYED, {"subject/content/artifactId": artifact_id}))
    assert event.scope.get("organization") == organization


def test_format_is_recognised_by_type_and_shape() -> None:
    assert cdevents.has_type("dev.cdevents.service.deployed.0.3.0")
    assert cdevents.has_type("dev.cdeventsx.mytool-resource.created.0.1.0")
    assert not cdevents.has_type("dev.cdeventsy.service.deployed")
    assert not cdevents.has_headers({"content-type": "application/json"})
    assert cdevents.has_shape(DEPLOYED)
    assert cdevents.has_shape(CUSTOM)
    assert not cdevents.has_shape(without(DEPLOYED, "subject"))
    assert not cdevents.has_shape(changed(DEPLOYED, {"context/type": "webhook"}))
    assert not cdevents.has_shape({"context": {"type": "webhook"}, "data": {"body": {}}})


def outcome_of(body: Mapping[str, Any]) -> str:
    try:
        adapted = cdevents.adapt(record(body))
    except Unreadable:
        return "unreadable"
    return type(adapted).__name__


@given(json_objects())
@settings(max_examples=examples(100))
def test_any_object_has_one_of_three_results(body: dict[str, Any]) -> None:
    assert outcome_of(body) == "unreadable"
    assert outcome_of({"context": {"type": "dev.cdevents.service.deployed"}, "subject": body}) == "unreadable"


@given(mutated("cdevents"))
@settings(max_examples=examples(300))
def test_changed_payload_has_one_of_three_results(body: dict[str, Any]) -> None:
    assert outcome_of(body) in ("unreadable", "ForeignEvent", "NoInterest")
    assert outcome_of(body) == outcome_of(body)


@given(st.sampled_from(files("cdevents")), st.text(max_size=400))
@settings(max_examples=examples(100))
def test_ids_fit_their_columns(name: str, text: str) -> None:
    body = body_of("cdevents", name)
    if "context" in body:
        body = changed(body, {"context/id": text, "subject/id": text})
    try:
        adapted = cdevents.adapt(record(body))
    except Unreadable:
        return
    if isinstance(adapted, ForeignEvent):
        assert 0 < len(adapted.id) <= 255
        assert adapted.run is None or 0 < len(adapted.run) <= 255
