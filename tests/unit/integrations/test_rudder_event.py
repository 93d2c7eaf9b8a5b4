"""integrations/rudder-event.sh: the event that it makes of its variables, what it repeats, and when it fails."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.testkit.pipeline_tools import SCRIPT, program, run
from tests.testkit.recording_server import RecordingServer, recording_server

TOKEN = "token-of-the-pipelines-of-acme"
PROJECT, COMPONENT = "5d0f4c1e-6a57-4f0b-9d3c-0a4be1c2f7a1", "7b1e0f0c-52f3-4a7e-8a34-6f5b8f0f2c11"
COMMIT = "9fceb02d0ae598e95dc970b74767f19372d61af8"
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_RUN_ID": "1658821493",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_RUN_NUMBER": "17",
    "GITHUB_JOB": "deploy",
    "GITHUB_SHA": COMMIT,
    "GITHUB_ACTOR": "ada",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_URL": "https://gitlab.example.com/acme/shop",
    "CI_JOB_ID": "4711",
    "CI_PIPELINE_IID": "18",
    "CI_COMMIT_SHA": COMMIT,
    "GITLAB_USER_LOGIN": "ada",
}
JENKINS = {
    "JENKINS_URL": "https://jenkins.example.com/",
    "JOB_URL": "https://jenkins.example.com/job/shop/",
    "JOB_NAME": "shop",
    "BUILD_NUMBER": "19",
    "GIT_COMMIT": COMMIT,
}
PLAIN = {"EVENT_SOURCE": "/ci/shop", "EVENT_RUN": "run-1", "EVENT_RELEASE": "shop 1.4.2"}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with curl and the programs of BusyBox, which small images have instead of the usual ones."""
    busybox, folder = program("busybox"), tmp_path / "bin"
    folder.mkdir()
    assert run([busybox, "--install", "-s", folder]).returncode == 0
    (folder / "curl").symlink_to(program("curl"))
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    with recording_server() as found:
        yield found


def send(
    url: str, *arguments: str, system: Mapping[str, str] = PLAIN, shell: str = "sh", **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "GATEWAY_URL": url,
        "GATEWAY_TOKEN": TOKEN,
        "GATEWAY_RETRY_SECONDS": "0",
        "EVENT_ORGANIZATION": "acme",
        "EVENT_ENVIRONMENT": "production",
        **system,
        **variables,
    }
    done = subprocess.run(
        [shell, str(SCRIPT), *arguments],
        check=False,
        env={name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert TOKEN not in done.stdout + done.stderr
    return done


def sent(server: RecordingServer, *arguments: str, **given: Any) -> dict[str, Any]:
    """The one event that a call posts."""
    before = len(server.posted)
    done = send(server.url, *arguments, **given)
    assert done.returncode == 0, done.stderr
    [posted] = server.posted[before:]
    assert posted.path == "/events"
    assert posted.headers["authorization"] == f"Bearer {TOKEN}"
    assert posted.headers["content-type"] == "application/cloudevents+json"
    event: dict[str, Any] = json.loads(posted.body)
    return event


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    ("system", "source", "run", "number"),
    [
        (GITHUB, "https://github.com/acme/shop", "1658821493/2/deploy", 17),
        (GITLAB, "https://gitlab.example.com/acme/shop", "4711", 18),
        (JENKINS, "https://jenkins.example.com/job/shop", "19", 19),
    ],
)
def test_event_takes_run_and_release_from_the_ci_system(
    server: RecordingServer, shell: str, system: dict[str, str], source: str, run: str, number: int
) -> None:
    given = {
        "EVENT_PROJECT": PROJECT,
        "EVENT_COMPONENT": COMPONENT,
        "EVENT_ACTOR": "ada",
        "EVENT_RELEASE_DATE": "2026-03-01",
    }
    event = sent(server, "deployment.succeeded", system=system, shell=shell, **given)
    assert event["type"] == "dev.rudder.deployment.succeeded.v1"
    assert event["source"] == source
    assert re.fullmatch(rf"{run}/deployment\.succeeded/[0-9a-f-]{{36}}", event["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["time"])
    assert event["data"] == {
        "release_id": str(uuid5(NAMESPACE_URL, f"{source}/commit/{COMMIT}/{COMPONENT}")),
        "organization_id": "acme",
        "environment_id": "production",
        "actor": "ada",
        "release": {
            "project_id": PROJECT,
            "component_id": COMPONENT,
            "deployment_track_id": "main",
            "release_date": "2026-03-01",
            "release_number": number,
            "created_by": "ada",
            "commit_hash": COMMIT,
        },
    }


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((word, "succeeded") for word in ("success", "SUCCESS", "Succeeded", "Completed", "UNSTABLE")),
        *((word, "failed") for word in ("failure", "FAILURE", "failed", "Failed")),
        *((word, "cancelled") for word in ("cancelled", "canceled", "ABORTED", "NOT_BUILT", "None")),
    ],
)
def test_status_word_of_a_ci_system_is_a_type(server: RecordingServer, word: str, status: str) -> None:
    """Of GitHub's job.status, GitLab's CI_JOB_STATUS, Jenkins' currentResult and Tekton's tasks.NAME.status."""
    assert sent(server, word)["type"] == f"dev.rudder.deployment.{status}.v1"
    assert sent(server, EVENT_TYPE=word)["type"] == f"dev.rudder.deployment.{status}.v1"


def test_identity_is_that_of_run_type_release_and_environment(server: RecordingServer) -> None:
    """A repeated step has the same id; whatever makes another change has another one."""
    first = sent(server, "deployment.started")["id"]
    assert sent(server, "deployment.started", EVENT_COMMENT="again")["id"] == first
    others = [
        sent(server, "deployment.failed"),
        sent(server, "deployment.started", EVENT_RUN="run-2"),
        sent(server, "deployment.started", EVENT_SOURCE="/ci/other"),
        sent(server, "deployment.started", EVENT_ENVIRONMENT="staging"),
        sent(server, "deployment.started", EVENT_RELEASE="shop 1.4.3"),
        sent(server, "deployment.started", EVENT_ATTEMPT="2"),
        sent(server, "deployment.started", EVENT_CONFIG_REVISION="2"),
        sent(server, "deployment.started", EVENT_RUN="r" * 1_000),
    ]
    ids = {first, *(event["id"] for event in others)}
    assert len(ids) == len(others) + 1
    assert max(map(len, ids)) <= 255


@given(name=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
@settings(max_examples=15, deadline=None)
def test_release_id_of_a_name_is_its_uuid5(server: RecordingServer, name: str) -> None:
    given_uuid = re.fullmatch("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", name)
    expected = UUID(name) if given_uuid else uuid5(NAMESPACE_URL, name)
    assert sent(server, "deployment.started", EVENT_RELEASE=name)["data"]["release_id"] == str(expected)


def test_release_id_that_is_a_uuid_is_kept(server: RecordingServer) -> None:
    release = "7C9E6679-7425-40DE-944B-E07FC1F90AE7"
    assert sent(server, "deployment.started", EVENT_RELEASE=release)["data"]["release_id"] == release.lower()
    assert sent(server, "deployment.started", EVENT_RELEASE=f"{release}\nx")["data"]["release_id"] != release.lower()


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
@settings(max_examples=25, deadline=None)
def test_any_text_arrives_as_it_is(server: RecordingServer, text: str) -> None:
    """But control characters: a tab is a blank, line ends inside are kept, others are dropped."""
    expected = re.sub("[\x00-\x09\x0b-\x1f\x7f]", "", text.replace("\t", " ").replace("\r", " ")).removesuffix("\n")
    assert sent(server, "deployment.failed", EVENT_COMMENT=text)["data"].get("comment", "") == expected


def test_further_data_are_members_of_the_event(server: RecordingServer) -> None:
    activity = {"activity_type": "SMOKE_TEST", "activity_data": {"passed": True, "note": 'a "quoted" {text}'}}
    event = sent(server, "activity.recorded", EVENT_DATA=json.dumps(activity, indent=2))
    assert {name: event["data"][name] for name in activity} == activity
    assert "x" not in sent(server, "deployment.started", EVENT_DATA=" {} ")["data"]
    done = send(server.url, "deployment.started", EVENT_DATA="[1]")
    assert (done.returncode, "EVENT_DATA is not a JSON object" in done.stderr) == (2, True)


def test_script_runs_with_busybox_alone(server: RecordingServer, programs: Path) -> None:
    """Its shell, sed, awk, tr, date and sha1sum."""
    comment = 'a "b"\n\\ü\t'
    given = {
        "EVENT_RELEASE": "shop ü 1",
        "EVENT_COMMENT": comment,
        "EVENT_DATA": '{"a": [1,\n2]}',
        "PATH": str(programs),
    }
    data = sent(server, "success", shell=str(programs / "sh"), **given)["data"]
    assert data["release_id"] == str(uuid5(NAMESPACE_URL, "shop ü 1"))
    assert (data["comment"], data["a"]) == ('a "b"\n\\ü ', [1, 2])
    busy = [(503, {"Retry-After": "1"})]
    with recording_server(busy) as busy_server:
        done = send(
            busy_server.url, "success", shell=str(programs / "sh"), PATH=str(programs), GATEWAY_RETRY_SECONDS="60"
        )
        assert (done.returncode, len(busy_server.posted)) == (0, 2)
    (programs / "curl").unlink()
    done = send(server.url, "success", shell=str(programs / "sh"), PATH=str(programs), GATEWAY_RETRY_SECONDS="60")
    assert (done.returncode, "there is no curl" in done.stderr) == (2, True)


def test_every_missing_variable_is_named(server: RecordingServer) -> None:
    done = send(
        server.url, "deployment.started", system={}, EVENT_ENVIRONMENT="", EVENT_ORGANIZATION="", GATEWAY_TOKEN=""
    )
    assert done.returncode == 2
    names = "GATEWAY_TOKEN EVENT_ORGANIZATION EVENT_SOURCE EVENT_RUN EVENT_RELEASE EVENT_ENVIRONMENT"
    assert done.stderr == f"rudder-event: deployment.started was not sent; not set: {names}\n"
    assert send(server.url).returncode == 2


def test_token_is_read_from_a_file(server: RecordingServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-8")
    sent(server, "deployment.started", GATEWAY_TOKEN="", GATEWAY_TOKEN_FILE=str(tmp_path / "token"))
    sent(server, "deployment.started", GATEWAY_TOKEN=f"{TOKEN}\n")
    done = send(server.url, "deployment.started", GATEWAY_TOKEN_FILE=str(tmp_path / "missing"))
    assert (done.returncode, "GATEWAY_TOKEN_FILE cannot be read" in done.stderr) == (2, True)
    done = send(server.url, "deployment.started", GATEWAY_TOKEN='a"b')
    assert (done.returncode, "GATEWAY_TOKEN has a quotation mark" in done.stderr) == (2, True)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415])
def test_refusal_is_final(status: int) -> None:
    with recording_server([(status, {})]) as server:
        done = send(server.url, "deployment.started", GATEWAY_RETRY_SECONDS="60")
        assert done.returncode == 1
        assert done.stderr == f'rudder-event: deployment.started was refused with {status}: {{"detail": "an answer"}}\n'
        assert len(server.posted) == 1


def test_busy_gateway_gets_the_same_event_again() -> None:
    """After 408, 429 and 503; not before Retry-After."""
    with recording_server([(503, {"Retry-After": "1"}), (429, {"retry-after": "2"})]) as server:
        done = send(server.url, "deployment.started", GATEWAY_RETRY_SECONDS="60")
        assert done.returncode == 0
        assert re.findall("sent again in ([0-9]+) s: the gateway answered ([0-9]+)", done.stderr) == [
            ("1", "503"),
            ("2", "429"),
        ]
        assert len({posted.body for posted in server.posted}) == 1
        assert len(server.posted) == 3


def test_attempts_end_after_the_given_time() -> None:
    with recording_server([(503, {"Retry-After": "600"})]) as server:
        done = send(server.url, "deployment.started", GATEWAY_RETRY_SECONDS="30")
        assert done.returncode == 1
        assert "was not delivered within 30 s: the gateway answered 503" in done.stderr


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[broken/"])
def test_url_that_is_wrong_fails_at_once(url: str) -> None:
    done = send(url, "deployment.started", GATEWAY_RETRY_SECONDS="60")
    assert done.returncode == 1
    assert re.match("rudder-event: deployment.started was not sent: curl: ", done.stderr)


def test_failure_in_github_actions_is_an_annotation() -> None:
    with recording_server([(401, {})]) as server:
        done = send(server.url, "deployment.started", system=GITHUB, GATEWAY_RETRY_SECONDS="60")
    assert done.stdout.startswith("::error title=rudder-worker::deployment.started was refused with 401: ")
    assert done.stdout.count("\n") == 1
