"""GitHub's webhooks: what each event, state and conclusion becomes, and that no body causes another error."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.adapters import github, github_events
from schemas.adapters.foreign import Artifact, ForeignEvent, ForeignRecord, Format, NoInterest, Original, Unreadable
from schemas.types import EventType, short_type
from tests.hypothesis_profile import examples
from tests.unit.schemas.adapters.source_pages import documented
from tests.unit.schemas.adapters.vendor_payloads import (
    body_of,
    changed,
    files,
    headers_of,
    json_objects,
    mutated,
    without,
)

EVENTS = ["deployment", "deployment_status", "workflow_run", "release", "push", "unheard_of"]
COMMIT = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"
RELEASE_ID = "0192f5a0-7b1e-7c3d-8e4f-5a6b7c8d9e0f"

# The event's type, the run and the time; or the kind that is of no interest.
EXPECTED: dict[str, tuple[str, str | None, str | None] | str] = {
    "captured/ping.ping.json": "ping",
    "captured/release.created.json": "release",
    "captured/release.published.json": ("GITHUB_RELEASE_PUBLISHED", None, "2025-01-24T14:30:24"),
    "captured/release.released.json": ("GITHUB_RELEASE_RELEASED", None, "2025-01-24T14:30:24"),
    "captured/workflow_job.completed.json": "workflow_job",
    "captured/workflow_job.in_progress.json": "workflow_job",
    "captured/workflow_job.queued.json": "workflow_job",
    "captured/workflow_run.completed.json": (
        "deployment.succeeded",
        "workflow_run/11111111111/1",
        "2025-01-22T19:03:50",
    ),
    "captured/workflow_run.in_progress.json": (
        "deployment.started",
        "workflow_run/11111111111/1",
        "2025-01-22T19:01:11",
    ),
    "captured/workflow_run.requested.json": (
        "deployment.requested",
        "workflow_run/11111111111/1",
        "2025-01-22T19:01:00",
    ),
    "go-scm/deployment.json": ("deployment.requested", "deployment/87972451", "2018-05-30T20:18:45"),
    "go-scm/deployment_commit.json": ("deployment.requested", "deployment/87972451", "2018-05-30T20:18:45"),
    # The webhook's action is `in_progress`, although the run that it contains is completed.
    "go-scm/pipeline_hook.json": ("deployment.started", "workflow_run/14030131450/1", "2025-03-24T08:03:46"),
    "go-scm/release_created.json": "release",
    "go-scm/release_released.json": ("GITHUB_RELEASE_RELEASED", None, "2022-10-28T16:36:52"),
    "go-scm/release_unpublished.json": "release",
    "octokit/deployment.gh-pages.json": ("deployment.requested", "deployment/145988746", "2022-01-03T01:28:30"),
    "octokit/deployment.json": ("deployment.requested", "deployment/145988746", "2019-05-15T15:20:53"),
    "octokit/deployment.with-installation.json": (
        "deployment.requested",
        "deployment/145988746",
        "2019-05-15T15:20:53",
    ),
    "octokit/deployment_status.gh-pages.json": (
        "deployment.started",
        "deployment/145988746",
        "2022-01-03T01:28:40",
    ),
    "octokit/deployment_status.json": ("deployment.succeeded", "deployment/145988746", "2019-05-15T15:20:55"),
    "octokit/ping.payload.json": "ping",
    "octokit/ping.with-app_id.json": "ping",
    "octokit/release.created.json": "release",
    "octokit/release.created.with-installation.json": "release",
    "octokit/release.deleted.json": "release",
    "octokit/release.edited.json": "release",
    "octokit/release.prereleased.json": "release",
    "octokit/release.published.json": ("GITHUB_RELEASE_PUBLISHED", None, "2019-05-15T15:20:53"),
    "octokit/release.released.json": ("GITHUB_RELEASE_RELEASED", None, "2019-05-15T15:20:53"),
    "octokit/workflow_job.queued.json": "workflow_job",
    "octokit/workflow_run.completed.json": ("deployment.succeeded", "workflow_run/289782451/1", "2020-10-05T16:33:49"),
    "octokit/workflow_run.requested.json": ("deployment.requested", "workflow_run/289782451/1", "2020-10-05T16:33:24"),
    "octokit/workflow_run.requested.with-conclusion.json": (
        "GITHUB_WORKFLOW_RUN_ACTION_REQUIRED",
        None,
        "2020-10-05T16:33:24",
    ),
}

DEPLOYMENT = body_of("github", "octokit/deployment.json")
STATUS = body_of("github", "octokit/deployment_status.json")
PAGES_DEPLOYMENT = body_of("github", "octokit/deployment.gh-pages.json")
PAGES_STATUS = body_of("github", "octokit/deployment_status.gh-pages.json")
RUN = body_of("github", "octokit/workflow_run.completed.json")
RELEASE = body_of("github", "octokit/release.published.json")


def record(body: Mapping[str, Any], **headers: str) -> ForeignRecord:
    """`headers`: their names with underscores for hyphens."""
    return ForeignRecord(headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body)


def event_of(body: Mapping[str, Any], **headers: str) -> ForeignEvent:
    event = github.adapt(record(body, **headers))
    assert isinstance(event, ForeignEvent)
    return event


def named(event: ForeignEvent) -> str:
    return event.activity_type or short_type(event.type)


def test_every_recorded_payload_has_an_expected_result() -> None:
    assert files("github") == sorted(EXPECTED)


@pytest.mark.parametrize("with_headers", [True, False], ids=["headers", "body"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_payload_has_its_result(name: str, *, with_headers: bool) -> None:
    headers = headers_of("github", name) if with_headers else {}
    adapted = github.adapt(ForeignRecord(headers=headers, body=body_of("github", name)))
    expected = EXPECTED[name]
    if isinstance(expected, str):
        assert adapted == NoInterest(format=Format.GITHUB, kind=expected)
        return
    assert isinstance(adapted, ForeignEvent)
    assert adapted.time is not None
    assert (named(adapted), adapted.run, adapted.time.isoformat().removesuffix("+00:00")) == expected
    assert adapted.id == headers.get("x-github-delivery", adapted.id)
    assert adapted.source == body_of("github", name)["repository"]["html_url"]


def test_deployment_is_requested() -> None:
    assert event_of(PAGES_DEPLOYMENT) == ForeignEvent(
        format=Format.GITHUB,
        type=EventType.DEPLOYMENT_REQUESTED,
        source="https://github.com/Codertocat/Hello-World",
        id="deployment/145988746",
        time=datetime(2022, 1, 3, 1, 28, 30, tzinfo=UTC),
        original=Original(
            type="deployment.created",
            id="145988746",
            url="https://github.com/Codertocat/Hello-World/actions/runs/289782451",
            actor="Codertocat",
        ),
        run="deployment/145988746",
        part_of="workflow_run/289782451/1",
        scope={
            "host": "github.com",
            "organization": "Codertocat",
            "repository": "Codertocat/Hello-World",
            "pipeline": "dynamic/pages/pages-build-deployment",
            "branch": "gh-pages",
            "environment": "github-pages",
        },
        artifact=Artifact(commit=COMMIT),
        actor="Codertocat",
    )


def test_deployment_status_has_the_description_and_the_log() -> None:
    event = event_of(changed(PAGES_STATUS, {"deployment_status/description": "Uploading"}))
    assert event.comment == "Uploading"
    assert event.original == Original(
        type="deployment_status.created",
        id="145988746",
        status="in_progress",
        url="https://github.com/CorsixTH/CorsixTH/runs/4687056418?check_suite_focus=true",
        actor="Codertocat",
    )
    assert event.id == "deployment/145988746/status/209916254"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("queued", "deployment.requested"),
        ("pending", "deployment.requested"),
        ("waiting", "deployment.requested"),
        ("requested", "deployment.requested"),
        ("in_progress", "deployment.started"),
        ("success", "deployment.succeeded"),
        ("failure", "deployment.failed"),
        ("error", "deployment.failed"),
        ("inactive", "GITHUB_DEPLOYMENT_INACTIVE"),
        ("destroyed", "GITHUB_DEPLOYMENT_STATUS"),
    ],
)
def test_state_of_a_deployment_has_its_event(state: str, expected: str) -> None:
    event = event_of(changed(STATUS, {"deployment_status/state": state}))
    assert named(event) == expected
    assert event.original.status == state
    assert event.scope["environment"] == "production"


def test_page_has_every_state_and_conclusion() -> None:
    states = {state: short_type(type_) for state, type_ in github_events.STATES.items()}
    assert documented("github.md", "states") == {**states, "inactive": github_events.ACTIVITY_INACTIVE}
    actions = {action: short_type(type_) for action, type_ in github_events.RUN_ACTIONS.items()}
    conclusions = {conclusion: short_type(type_) for conclusion, type_ in github_events.CONCLUSIONS.items()}
    assert documented("github.md", "conclusions") == {
        **actions,
        **conclusions,
        "action_required": github_events.ACTIVITY_ACTION_REQUIRED,
    }


def test_inactive_deployment_is_not_rolled_back() -> None:
    event = event_of(changed(STATUS, {"deployment_status/state": "inactive"}))
    assert (event.type, event.run) == (EventType.ACTIVITY_RECORDED, None)
    assert EventType.DEPLOYMENT_ROLLED_BACK not in {*github_events.STATES.values(), *github_events.CONCLUSIONS.values()}


@pytest.mark.parametrize(
    ("conclusion", "expected"),
    [
        ("success", "deployment.succeeded"),
        ("failure", "deployment.failed"),
        ("timed_out", "deployment.failed"),
        ("startup_failure", "deployment.failed"),
        ("cancelled", "deployment.cancelled"),
        ("skipped", "deployment.cancelled"),
        ("neutral", "deployment.cancelled"),
        ("stale", "deployment.cancelled"),
        ("action_required", "GITHUB_WORKFLOW_RUN_ACTION_REQUIRED"),
        ("unheard_of", "GITHUB_WORKFLOW_RUN_COMPLETED"),
    ],
)
def test_conclusion_of_a_run_has_its_event(conclusion: str, expected: str) -> None:
    event = event_of(changed(RUN, {"workflow_run/conclusion": conclusion}))
    assert named(event) == expected
    assert event.original.status == conclusion
    assert event.optional
    assert "environment" not in event.scope


def test_workflow_run_has_no_environment_and_is_optional() -> None:
    event = event_of(RUN)
    assert event.scope == {
        "host": "github.com",
        "organization": "octo-org",
        "repository": "octo-org/octo-repo",
        "pipeline": ".github/workflows/test.yml",
        "branch": "master",
    }
    assert event.artifact == Artifact(commit="3484a3fb816e0859fd6e1cea078d76385ff50625")
    assert event.comment == "ci(action): update actions/setup-node digest to 8c91899"
    assert event.id == "workflow_run/289782451/1/completed/success"


def test_other_action_is_of_no_interest() -> None:
    for body, kind in ((DEPLOYMENT, "deployment"), (STATUS, "deployment_status"), (RUN, "workflow_run")):
        assert github.adapt(record(changed(body, {"action": "other"}))) == NoInterest(format=Format.GITHUB, kind=kind)


def test_rerun_is_another_deployment() -> None:
    first, second = event_of(RUN), event_of(changed(RUN, {"workflow_run/run_attempt": 2}))
    assert (first.run, second.run) == ("workflow_run/289782451/1", "workflow_run/289782451/2")
    assert first.id != second.id


def test_deployments_are_parts_of_their_workflow_run() -> None:
    """So that a cancelled run ends the deployment that it cancelled."""
    cancelled = event_of(changed(RUN, {"workflow_run/conclusion": "cancelled"}))
    assert (cancelled.run, cancelled.part_of) == ("workflow_run/289782451/1", None)
    for body in (PAGES_DEPLOYMENT, PAGES_STATUS):
        assert event_of(body).part_of == cancelled.run
    assert event_of(DEPLOYMENT).part_of is None


def test_jobs_of_a_run_are_deployments_of_their_own() -> None:
    """A workflow that plans and applies has two deployments to one environment, with an end each."""
    apply = changed(PAGES_STATUS, {"deployment/id": 7, "deployment_status/state": "failure"})
    assert event_of(apply).run != event_of(PAGES_STATUS).run


def test_run_without_an_attempt_is_the_first() -> None:
    assert event_of(without(RUN, "workflow_run/run_attempt")).run == "workflow_run/289782451/1"


def test_redelivered_webhook_has_the_same_id() -> None:
    delivery = "bebfbdc0-da5f-11ef-8588-8bf946f3638d"
    first = event_of(STATUS, x_github_event="deployment_status", x_github_delivery=delivery)
    assert first.id == delivery
    assert event_of(STATUS, x_github_event="deployment_status", x_github_delivery=delivery) == first


def test_another_change_has_another_id() -> None:
    bodies = [
        DEPLOYMENT,
        STATUS,
        changed(STATUS, {"deployment_status/id": 1}),
        changed(STATUS, {"deployment/id": 1}),
        RUN,
        changed(RUN, {"workflow_run/conclusion": "failure"}),
        changed(RUN, {"action": "in_progress"}),
        RELEASE,
        changed(RELEASE, {"action": "released"}),
        changed(RELEASE, {"release/published_at": "2020-01-01T00:00:00Z"}),
        changed(RELEASE, {"release/published_at": None}),
    ]
    assert len({event_of(body).id for body in bodies}) == len(bodies)


def test_unusual_delivery_header_is_ignored() -> None:
    for value in ("", "x" * 256, "a b"):
        assert event_of(STATUS, x_github_delivery=value).id == "deployment/145988746/status/209916254"


def test_knative_event_has_the_id_of_the_delivery() -> None:
    given_record = replace(
        record(STATUS),
        type="dev.knative.source.github.deployment_status",
        id="72d3162e-cc78-11e3-81ab-4c9367dc0958",
        source="https://github.com/Codertocat",
    )
    assert github.has_type("dev.knative.source.github.deployment_status")
    event = github.adapt(given_record)
    assert isinstance(event, ForeignEvent)
    assert (event.id, event.source) == (given_record.id, "https://github.com/Codertocat/Hello-World")
    assert github.adapt(replace(given_record, type="dev.knative.source.github.push")) == NoInterest(
        format=Format.GITHUB, kind="push"
    )


def test_id_of_another_envelope_is_not_used() -> None:
    wrapped = github.adapt(replace(record(STATUS), type="com.example.webhook", id="1"))
    assert isinstance(wrapped, ForeignEvent)
    assert wrapped.id == "deployment/145988746/status/209916254"


def test_enterprise_server_has_its_own_host() -> None:
    body = changed(DEPLOYMENT, {"repository/html_url": "https://GitHub.example.com/acme/shop"})
    assert event_of(body).scope["host"] == "github.example.com"
    bare = without(DEPLOYMENT, "repository/html_url")
    event = event_of(bare, x_github_enterprise_host="github.example.com")
    assert (event.scope["host"], event.source) == (
        "github.example.com",
        "https://github.example.com/Codertocat/Hello-World",
    )
    assert event_of(bare).source == "https://github.com/Codertocat/Hello-World"


def test_owner_is_the_organization() -> None:
    assert event_of(DEPLOYMENT).scope["organization"] == "Codertocat"
    assert event_of(without(DEPLOYMENT, "repository/owner")).scope["organization"] == "Codertocat"


def test_environment_of_the_status_comes_first() -> None:
    assert event_of(changed(STATUS, {"deployment_status/environment": "qa"})).scope["environment"] == "qa"
    assert event_of(changed(STATUS, {"deployment_status/environment": ""})).scope["environment"] == "production"


@pytest.mark.parametrize("payload", [{"release_id": RELEASE_ID}, f'{{"release_id": "{RELEASE_ID}"}}'])
def test_payload_names_a_release(payload: object) -> None:
    for body in (DEPLOYMENT, STATUS):
        artifact = event_of(changed(body, {"deployment/payload": payload})).artifact
        assert artifact == Artifact(commit=COMMIT, release_id=UUID(RELEASE_ID))


@pytest.mark.parametrize(
    "payload",
    [None, "", "no JSON", "[" * 1_000, "\ud800", "[]", '"text"', [], 7, {"release_id": 7}, {"release_id": "v42"}],
)
def test_other_payload_names_none(payload: object) -> None:
    assert event_of(changed(DEPLOYMENT, {"deployment/payload": payload})).artifact == Artifact(commit=COMMIT)


def test_release_without_a_commit_is_enough() -> None:
    body = changed(DEPLOYMENT, {"deployment/sha": None, "deployment/payload": {"release_id": RELEASE_ID}})
    assert event_of(body).artifact == Artifact(release_id=UUID(RELEASE_ID))


def test_version_as_reference_is_a_tag() -> None:
    event = event_of(changed(STATUS, {"deployment/ref": "v1.4.2"}))
    assert event.artifact == Artifact(commit=COMMIT, tag="v1.4.2")
    assert "branch" not in event.scope


def test_branch_of_a_deployed_commit_is_that_of_its_run() -> None:
    assert event_of(changed(PAGES_STATUS, {"deployment/ref": COMMIT})).scope["branch"] == "gh-pages"
    assert "branch" not in event_of(changed(STATUS, {"deployment/ref": COMMIT})).scope


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"workflow_run/path": ".github/workflows/deploy.yml@refs/heads/main"}, ".github/workflows/deploy.yml"),
        ({"workflow_run/path": None, "workflow": {"path": "a.yml"}}, "a.yml"),
        ({"workflow_run/path": None, "workflow": None, "workflow_run/name": "Deploy"}, "Deploy"),
        ({"workflow_run/path": None, "workflow": {"name": "Deploy"}, "workflow_run/name": ""}, "Deploy"),
    ],
)
def test_pipeline_is_the_path_or_the_name(changes: Mapping[str, object], expected: str) -> None:
    assert event_of(changed(RUN, changes)).scope["pipeline"] == expected


def test_actor_is_the_person_before_the_bot() -> None:
    bot: dict[str, object] = {"deployment/creator/login": "github-actions[bot]", "sender/login": "github-actions[bot]"}
    person: dict[str, object] = {
        "workflow_run/triggering_actor": {"login": "ada"},
        "workflow_run/actor": {"login": "grace"},
    }
    event = event_of(changed(PAGES_DEPLOYMENT, bot | person))
    assert (event.actor, event.original.actor) == ("ada", "github-actions[bot]")
    assert event_of(changed(PAGES_DEPLOYMENT, bot | person | {"workflow_run/triggering_actor": None})).actor == "grace"
    assert event_of(changed(DEPLOYMENT, bot)).actor == "github-actions[bot]"
    assert event_of(changed(DEPLOYMENT, {"deployment/creator": None})).actor == "Codertocat"


def test_published_release_has_the_tag_and_the_commit() -> None:
    event = event_of(body_of("github", "captured/release.published.json"))
    assert event.artifact == Artifact(commit="0a911053a049294a128690ab0e488e3a96c4fe4d", tag="1.1.1")
    assert event.id == "release/111111111/published/2025-01-24T14:30:24.000000Z"
    assert event_of(RELEASE).artifact == Artifact(tag="0.0.1")
    assert event_of(RELEASE).original.status is None
    assert event_of(changed(RELEASE, {"release/prerelease": True})).original.status == "prerelease"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (without(DEPLOYMENT, "deployment/id"), "/deployment/id: is missing"),
        (without(DEPLOYMENT, "deployment/environment"), "/deployment/environment: is missing"),
        (without(DEPLOYMENT, "deployment/sha"), "/deployment/sha: is not the whole hash of a commit"),
        (changed(DEPLOYMENT, {"deployment/sha": "f95f852"}), "/deployment/sha: is not the whole hash of a commit"),
        (without(DEPLOYMENT, "repository/full_name"), "/repository/full_name: is missing"),
        (changed(DEPLOYMENT, {"deployment/created_at": "yesterday"}), "/deployment/created_at: is not an RFC 3339"),
        (without(STATUS, "deployment_status/state"), "/deployment_status/state: is missing"),
        (without(STATUS, "deployment_status/id"), "/deployment_status/id: is missing"),
        (changed(STATUS, {"deployment_status": []}), "/deployment_status: is not an object"),
        (without(STATUS, "deployment"), "/deployment/id: is missing"),
        (changed(RUN, {"workflow_run/conclusion": None}), "/workflow_run/conclusion: is missing"),
        (without(RUN, "workflow_run/head_sha"), "/workflow_run/head_sha: is not the whole hash"),
        (without(RUN, "workflow_run/id"), "/workflow_run/id: is missing"),
        (without(RUN, "action"), "/action: is missing"),
        (without(RELEASE, "release/tag_name"), "/release/tag_name: is missing"),
        ({"object_kind": "deployment"}, "/sender/node_id: is missing"),
    ],
)
def test_incomplete_body_is_unreadable(body: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(Unreadable) as error:
        github.adapt(record(body))
    assert error.value.problem.startswith(problem)
    assert not error.value.unsupported


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"workflow_job_run": {}, "workflow_run": {"id": 1}, "action": "requested"}, "deployment_review"),
        ({"workflow_job_runs": [], "workflow_run": {"id": 1}, "action": "approved"}, "deployment_review"),
        ({"deployment_callback_url": "https://x", "deployment": {"id": 1}}, "deployment_protection_rule"),
        ({"workflow_job": {}, "deployment": {"id": 1}}, "workflow_job"),
        ({"check_run": {}}, "check_run"),
        ({"commits": []}, "push"),
        ({"discussion": {}}, "other"),
    ],
)
def test_body_alone_names_the_event(members: Mapping[str, object], kind: str) -> None:
    body = {"sender": DEPLOYMENT["sender"], "repository": DEPLOYMENT["repository"], **members}
    assert github.adapt(record(body)) == NoInterest(format=Format.GITHUB, kind=kind)


def test_header_names_the_event() -> None:
    assert github.has_headers({"x-github-event": "push"})
    assert not github.has_headers({"x-gitlab-event": "Push Hook"})
    assert github.adapt(record({}, x_github_event="push")) == NoInterest(format=Format.GITHUB, kind="push")
    assert github.adapt(record({}, x_github_event="sponsorship")) == NoInterest(format=Format.GITHUB, kind="other")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_body_has_the_shape(name: str) -> None:
    assert github.has_shape(body_of("github", name))


def test_sender_of_github_gives_the_shape() -> None:
    older = without(RELEASE, "sender/node_id")
    assert github.has_shape(older)
    assert not github.has_shape(without(older, "sender/received_events_url"))
    assert not github.has_shape(changed(RELEASE, {"sender/login": None}))
    assert github.has_shape({"zen": "Non-blocking is better than blocking.", "hook_id": 1})
    assert not github.has_shape({"zen": "Keep it logically awesome."})


@pytest.mark.parametrize("header", ["x-gitea-event", "x-gogs-event", "x-forgejo-event"])
def test_header_of_an_imitation_is_not_that_of_github(header: str) -> None:
    assert not github.has_headers({"x-github-event": "release", header: "release"})


@pytest.mark.parametrize("folder", ["gitlab", "argocd", "bitbucket", "azure-devops", "flux", "circleci", "cdevents"])
def test_body_of_another_source_has_another_shape(folder: str) -> None:
    names = files(folder)
    assert names
    assert [name for name in names if github.has_shape(body_of(folder, name))] == []


def check_any_body(body: Mapping[str, Any], event: str | None) -> None:
    headers = {} if event is None else {"x-github-event": event}
    github.has_shape(body)
    try:
        adapted = github.adapt(ForeignRecord(headers=headers, body=body))
    except Unreadable as error:
        assert error.problem.startswith("/")  # noqa: PT017
        return
    match adapted:
        case NoInterest(kind=kind):
            assert kind in github_events.KINDS | {"other"}
        case ForeignEvent():
            assert 0 < len(adapted.id) <= 255
            assert (adapted.type == EventType.ACTIVITY_RECORDED) == (adapted.activity_type is not None)
            assert adapted.optional != ("environment" in adapted.scope) or adapted.activity_type in {
                *github_events.RELEASE_ACTIVITIES.values()
            }
            assert adapted.artifact != Artifact()


@settings(max_examples=examples(100))
@given(body=json_objects(), event=st.sampled_from([None, *EVENTS]))
@example(body={"deployment": {"id": 1}, "deployment_status": {}}, event=None)
def test_any_object_is_adapted_or_unreadable(body: dict[str, Any], event: str | None) -> None:
    check_any_body(body, event)


@settings(max_examples=examples(200))
@given(body=mutated("github"), event=st.sampled_from([None, *EVENTS]))
def test_mutated_payload_is_adapted_or_unreadable(body: dict[str, Any], event: str | None) -> None:
    check_any_body(body, event)
