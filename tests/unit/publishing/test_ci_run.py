"""A CI job's events have a source and ids that a repeated step repeats and no other run has."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from schemas.event import Event
from schemas.incoming import DATA_MODELS
from schemas.types import EventType
from tests.unit.schemas.records import DEPLOYMENT_DATA, RELEASE_DATA, RELEASE_ID
from worker.publishing.ci_run import CiRun, ci_run, named_run

# As the vendors' pages show them; each system's `retried` is the same job run again.
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_RUN_ID": "1658821493",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_JOB": "deploy",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_URL": "https://gitlab.example.com/acme/shop",
    "CI_PROJECT_PATH": "acme/shop",
    "CI_JOB_ID": "50",
}
JENKINS = {
    "JENKINS_URL": "https://ci.example.com/",
    "JOB_URL": "https://ci.example.com/job/shop/job/main/",
    "JOB_NAME": "shop/main",
    "BUILD_NUMBER": "153",
    "BUILD_TAG": "jenkins-shop-main-153",
}
AZURE = {
    "TF_BUILD": "True",
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
    "SYSTEM_TEAMPROJECT": "Web Shop",
    "BUILD_BUILDID": "7",
    "SYSTEM_JOBID": "12f1170f-54f2-53f3-20dd-22fc7dff55f9",
}
AZURE_RELEASE = {
    **AZURE,
    "RELEASE_RELEASEID": "118",
    "RELEASE_ENVIRONMENTID": "276",
    "RELEASE_ATTEMPTNUMBER": "1",
}
BUILDKITE = {
    "BUILDKITE": "true",
    "BUILDKITE_ORGANIZATION_SLUG": "acme",
    "BUILDKITE_PIPELINE_SLUG": "shop",
    "BUILDKITE_BUILD_NUMBER": "1514",
    "BUILDKITE_JOB_ID": "e44f9784-e20e-4b93-a21d-f41fd5869db9",
}
CIRCLECI = {
    "CIRCLECI": "true",
    "CIRCLE_PROJECT_USERNAME": "acme",
    "CIRCLE_PROJECT_REPONAME": "shop",
    "CIRCLE_WORKFLOW_ID": "fd5b5b2e-8f4e-4a0f-8a3f-0e3c5d4a4f11",
    "CIRCLE_JOB": "deploy",
}
SYSTEMS = [
    (GITHUB, "GitHub Actions", "https://github.com/acme/shop", {"GITHUB_RUN_ATTEMPT": "2"}),
    (GITLAB, "GitLab CI", "https://gitlab.example.com/acme/shop", {"CI_JOB_ID": "51"}),
    (JENKINS, "Jenkins", "https://ci.example.com/job/shop/job/main", {"BUILD_NUMBER": "154"}),
    (AZURE, "Azure Pipelines", "https://dev.azure.com/acme/Web%20Shop", {"SYSTEM_JOBID": "other"}),
    (AZURE_RELEASE, "Azure Pipelines", "https://dev.azure.com/acme/Web%20Shop", {"RELEASE_ATTEMPTNUMBER": "2"}),
    (BUILDKITE, "Buildkite", "https://buildkite.com/acme/shop", {"BUILDKITE_JOB_ID": "other"}),
    (CIRCLECI, "CircleCI", "https://circleci.com/acme/shop", {"CIRCLE_WORKFLOW_ID": "other"}),
]


def event(short: str = "deployment.succeeded", **data: object) -> Event:
    event_type = EventType(f"dev.rudder.{short}.v1")
    given = {**(DEPLOYMENT_DATA if short.startswith("deployment") else RELEASE_DATA), **data}
    return Event(
        source="x",
        id="-",
        type=event_type,
        time=datetime(2026, 3, 1, tzinfo=UTC),
        data=DATA_MODELS[event_type].model_validate(given),
    )


def run_of(environment: Mapping[str, str]) -> CiRun:
    run = ci_run(environment)
    assert run is not None
    return run


@pytest.mark.parametrize(("environment", "system", "source", "retried"), SYSTEMS, ids=[each[1] for each in SYSTEMS])
def test_job_run_names_source_and_id(
    environment: dict[str, str], system: str, source: str, retried: dict[str, str]
) -> None:
    """A repeated step has the same id. A job that is run again deploys again, and so has another."""
    run = run_of({"PATH": "/bin", **environment})
    assert (run.system, run.source) == (system, source)
    assert run.event_id(event()) == run_of(environment).event_id(event())
    assert run.event_id(event()) != run_of({**environment, **retried}).event_id(event())


def test_id_shows_the_run_and_the_type() -> None:
    assert run_of(GITHUB).event_id(event()).startswith("1658821493/1/deploy/deployment.succeeded/")


DIFFERENT = [
    event(),
    event("deployment.started"),
    event("release.submitted"),
    event("release.approved"),
    event(release_id="00000000-0000-4000-8000-000000000000"),
    event(environment_id="staging"),
    event(config_revision=2),
    event(attempt=1),
    event(attempt=2),
    event("activity.recorded", activity_type="note", activity_data={"a": 1}),
    event("activity.recorded", activity_type="note", activity_data={"a": 2}),
    event("activity.recorded", activity_type="scan", activity_data={"a": 1}),
]


def test_different_events_of_one_run_have_different_ids() -> None:
    ids = {run_of(GITLAB).event_id(each) for each in DIFFERENT}
    assert len(ids) == len(DIFFERENT)


def test_id_does_not_depend_on_what_a_rerun_changes() -> None:
    """The clock, a comment, the spelling of the release id, a default that is written out."""
    run = run_of(GITLAB)
    again = event(release_id=RELEASE_ID.upper(), config_revision=1, comment="again", actor="me")
    assert run.event_id(replace(again, time=datetime(2027, 1, 1, tzinfo=UTC))) == run.event_id(event())


def test_projects_with_equal_numbers_have_different_ids() -> None:
    """A publisher may give several projects one source."""
    other = {**JENKINS, "JOB_URL": "https://ci.example.com/job/other/"}
    assert run_of(JENKINS).event_id(event()) != run_of(other).event_id(event())


def test_id_is_bounded_for_any_names() -> None:
    long = event(environment_id="ü" * 255)
    for environment in (GITHUB, {**GITHUB, "GITHUB_JOB": "j\n" * 1000}, {**CIRCLECI, "CIRCLE_JOB": "🚀" * 500}):
        made = run_of(environment).event_id(long)
        assert len(made) <= 255
        assert made.isascii()
        assert made.isprintable()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"CI": "true", "PATH": "/bin"},
        {"BUILD_NUMBER": "7", "JOB_NAME": "mine"},
        {"BUILD_NUMBER": "7", "JOB_NAME": "mine", "BUILD_TAG": "v1.2"},
        {**GITHUB, "GITHUB_ACTIONS": "false"},
        {name: value for name, value in GITHUB.items() if name != "GITHUB_RUN_ID"},
        {**GITHUB, "GITHUB_REPOSITORY": ""},
        {"GITLAB_CI": "true"},
        {"TF_BUILD": "True", "BUILD_BUILDID": "1"},
    ],
)
def test_missing_run_derives_nothing(environment: dict[str, str]) -> None:
    assert ci_run(environment) is None


def test_jenkins_without_its_address_is_named_by_the_job() -> None:
    run = run_of({"JENKINS_HOME": "/var/jenkins_home", "JOB_NAME": "shop/main", "BUILD_NUMBER": "1"})
    assert run.source == "/jenkins/shop/main"


def test_circleci_without_a_repository_is_named_by_the_project() -> None:
    kept = {name: value for name, value in CIRCLECI.items() if not name.startswith("CIRCLE_PROJECT")}
    assert run_of({**kept, "CIRCLE_PROJECT_ID": "3d6f"}).source == "https://circleci.com/3d6f"


def test_non_utf8_variable_makes_ids_too() -> None:
    """Python keeps such a byte as a surrogate, which nothing can be made of but the byte."""
    run = ci_run({"JENKINS_URL": "x", "JOB_NAME": "caf\udce9", "BUILD_NUMBER": "7\udcff"})
    assert run is not None
    assert run.source == "/jenkins/caf%E9"
    assert run.event_id(event()).startswith("7%FF/")


def test_named_run_makes_ids_too() -> None:
    run = named_run("shop-deploy-x7k2p", source="/tekton/ci/shop")
    assert run.event_id(event()) == named_run("shop-deploy-x7k2p", source="/tekton/ci/shop").event_id(event())
    assert run.event_id(event()) != named_run("shop-deploy-b4d9q", source="/tekton/ci/shop").event_id(event())
