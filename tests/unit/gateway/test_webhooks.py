"""What of a webhook goes into its record: the source's headers without any secret, and one key for each project."""

import json
from pathlib import Path

import pytest

from schemas.adapters.foreign import Format
from tests.unit.gateway.requests import head
from worker.gateway.problems import Refusal
from worker.gateway.request_head import RequestHead
from worker.gateway.webhooks import (
    KEY_BYTES_MAX,
    NAME,
    SOURCES,
    delivery_id,
    project_of,
    record_headers,
    record_key,
    source_of,
)

PAYLOADS = Path(__file__).parents[2] / "payloads"
REFUSED_BY_THE_WORKER = {Format.KEPTN, Format.EIFFEL}

SECRETS = {
    "Authorization": "Bearer secret",
    "Cookie": "secret",
    "Proxy-Authorization": "secret",
    "X-GitHub-Token": "secret",
    "X-Gitlab-Token": "secret",
    "X-Hub-Signature": "secret",
    "X-Hub-Signature-256": "secret",
    "X-GitHub-Client-Secret": "secret",
    "X-Octopus-ApiKey": "secret",
    "webhook-signature": "secret",
    "circleci-signature": "secret",
    "X-Signature": "secret",
    "X-Forwarded-For": "192.0.2.1",
}


def test_every_format_has_a_source() -> None:
    formats = {*Format} - REFUSED_BY_THE_WORKER - {Format.GENERIC}
    assert formats <= set(SOURCES)
    assert all(NAME.fullmatch(name) for name in SOURCES)


@pytest.mark.parametrize("source", [*SOURCES, "home-made"])
def test_no_secret_is_passed_on(source: str) -> None:
    given = head(SECRETS | {f"X-{source}-Event": "deployed", "Content-Type": "application/json"})
    assert record_headers(source, given) == (
        ("rudder-format", source.encode()),
        ("content-type", b"application/json"),
        (f"x-{source}-event", b"deployed"),
    )


@pytest.mark.parametrize("path", sorted(PAYLOADS.glob("github/captured/*.headers.json")), ids=lambda path: path.stem)
def test_headers_of_a_recorded_webhook_are_passed_on(path: Path) -> None:
    recorded = {name: value for name, value in json.loads(path.read_text()).items() if " " not in name}
    given = dict(record_headers("github", head(recorded)))
    assert given.pop("rudder-format") == b"github"
    assert given.pop("content-type") == b"application/json"
    assert given == {
        name.lower(): value.encode() for name, value in recorded.items() if name.lower().startswith("x-github-")
    }
    assert delivery_id("github", head(recorded)) == recorded["X-GitHub-Delivery"]


@pytest.mark.parametrize(
    ("source", "headers", "passed_on"),
    [
        ("gitlab", {"X-Gitlab-Event": "Deployment Hook", "Idempotency-Key": "1", "webhook-id": "1"}, 3),
        ("azure-devops", {"X-VSS-ActivityId": "1"}, 1),
        ("bitbucket", {"X-Event-Key": "repo:push", "X-Request-UUID": "1", "X-Hook-UUID": "2"}, 3),
        ("circleci", {"circleci-event-type": "job-completed"}, 1),
        ("flux", {"Gotk-Component": "source-controller"}, 1),
        ("home-made", {"X-Home-Made-Event": "x", "X-Request-Id": "7", "X-Other": "y"}, 2),
        ("github", {"Rudder-Format": "gitlab", "Rudder-Redrive": "1"}, 0),
    ],
)
def test_only_headers_of_the_source_are_passed_on(source: str, headers: dict[str, str], passed_on: int) -> None:
    assert len(record_headers(source, head(headers))) == 1 + passed_on


def test_attributes_of_a_cloudevent_are_passed_on() -> None:
    """Tekton's and Jenkins' events are CloudEvents in binary mode."""
    given = record_headers("tekton", head({"ce-id": "7", "ce-source": "/a%20b"}))
    assert given == (("rudder-format", b"tekton"), ("ce_id", b"7"), ("ce_source", b"/a b"))
    assert delivery_id("tekton", head({"ce-id": "7"})) == "7"


def test_repeated_header_of_the_source_is_refused() -> None:
    twice = RequestHead([(b"x-github-event", b"push"), (b"x-github-event", b"deployment")])
    with pytest.raises(Refusal, match="x-github-event"):
        record_headers("github", twice)


@pytest.mark.parametrize(
    ("source", "file", "project"),
    [
        ("github", "github/octokit/deployment.json", "Codertocat/Hello-World"),
        ("github", "github/captured/ping.ping.json", "aaaaa-aaa/"),
        ("gitlab", "gitlab/recorded/deployment.running.json", "example-group/demo"),
        ("gitlab", "gitlab/go-gitlab/job.json", "John Smith / release-tools-fake"),
        ("argocd", "argocd/captured/001.json", "aaaaa-aaaaaaa"),
        ("azure-devops", "azure-devops/run-state-changed.json", "be9b3917-87e6-42a4-a549-2bc06a7a878f"),
        ("flux", "flux/generic-webhook-1.json", "apps"),
        ("bitbucket", "bitbucket/repo-commit-status-created.json", "team_name/repo_name"),
        ("tekton", "tekton/events-doc.taskrun-unknown.json", "default"),
        ("cdevents", "cdevents/spec-v0.5.1/service_deployed.json", "/event/source/123"),
        ("jenkins", "jenkins/notification-plugin/started.json", "JobName"),
        ("circleci", "circleci/github.workflow-completed.json", "github/zulip-testing/circleci-webhook-test"),
        ("octopus", "octopus/deployment-failed.json", "Spaces-282"),
    ],
)
def test_project_of_a_recorded_webhook(source: str, file: str, project: str) -> None:
    body = json.loads((PAYLOADS / file).read_text())
    assert project_of(source, body) == project


@pytest.mark.parametrize(
    ("source", "body", "project"),
    [
        ("github", {"repository": {"full_name": "acme/shop"}, "organization": {"login": "acme"}}, "acme/shop"),
        ("github", {"organization": {"login": "acme"}}, "acme/"),
        ("github", {"repository": None}, None),
        ("github", {"repository": {"full_name": ["acme/shop"]}}, None),
        ("github", {"repository": {"full_name": ""}}, None),
        ("gitlab", {"project": {"path_with_namespace": "acme/shop"}, "project_name": "Shop"}, "acme/shop"),
        ("tekton", {"specversion": "1.0", "data": {"pipelineRun": {"metadata": {"namespace": "ci"}}}}, "ci"),
        ("tekton", {"specversion": "1.0", "data": "text"}, None),
        ("octopus", {"Payload": {"Event": {"SpaceId": 1}}}, "1"),
        ("home-made", {"repository": {"full_name": "acme/shop"}}, None),
    ],
)
def test_project_is_where_the_source_names_it(source: str, body: dict[str, object], project: str | None) -> None:
    assert project_of(source, body) == project


def test_records_of_one_project_have_one_key() -> None:
    """Records with one key are in one partition; another source's project of that name is not the same."""
    assert record_key("github", "acme/shop", key_name="a") == record_key("github", "acme/shop", key_name="b")
    assert record_key("github", "acme/shop", key_name="a") == b"github:acme/shop"
    assert record_key("gitlab", "acme/shop", key_name="a") != record_key("github", "acme/shop", key_name="a")
    assert record_key("github", None, key_name="acme") == b"github:acme"


def test_long_record_key_is_bounded() -> None:
    keys = {record_key("github", "s" * (length + 1), key_name="a") for length in range(240, 260)}
    assert len(keys) == 20
    assert max(map(len, keys)) <= KEY_BYTES_MAX


def test_unknown_source_has_what_all_have() -> None:
    assert source_of("home-made") == source_of("another")
