"""The events of one deployment by GitHub and by GitLab, in the order in which they happened.

The first and the last body of each series are recorded. Those between differ from a recorded one in the members that
change: state, id and time. A property delivers each series in other orders and with repetitions.
"""

from schemas.adapters import github, gitlab
from schemas.adapters.foreign import ForeignEvent, ForeignRecord
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed


def github_deployment() -> tuple[ForeignEvent, ...]:
    """A deployment by the API: requested, queued, in progress (within one second), successful."""
    status = body_of("github", "octokit/deployment_status.json")
    before = [
        changed(
            status,
            {
                "deployment_status/state": state,
                "deployment_status/id": 209916254 - older,
                "deployment_status/created_at": "2019-05-15T15:20:54Z",
            },
        )
        for older, state in ((2, "queued"), (1, "in_progress"))
    ]
    return _github(body_of("github", "octokit/deployment.json"), *before, status)


def github_workflow() -> tuple[ForeignEvent, ...]:
    """A deployment by a workflow that is cancelled, which only the last event shows."""
    deployment = body_of("github", "octokit/deployment.gh-pages.json")
    run = changed(
        body_of("github", "octokit/workflow_run.completed.json"),
        {
            "repository": deployment["repository"],
            "workflow_run/head_sha": deployment["deployment"]["sha"],
            "workflow_run/conclusion": "cancelled",
            "workflow_run/updated_at": "2022-01-03T01:28:41Z",
        },
    )
    return _github(deployment, body_of("github", "octokit/deployment_status.gh-pages.json"), run)


def gitlab_deployment() -> tuple[ForeignEvent, ...]:
    """The two recorded hooks of one deployment: running, successful."""
    return _gitlab("running", "success")


def gitlab_job() -> tuple[ForeignEvent, ...]:
    """The hooks of a deployment and of its job: running and successful in each, and pending in the job's."""
    running, success = (body_of("gitlab", f"recorded/deployment.{status}.json") for status in ("running", "success"))
    job = changed(
        body_of("gitlab", "go-gitlab/job.json"),
        {
            "build_id": running["deployable_id"],
            "project": running["project"],
            "user": running["user"],
            "commit/message": running["commit_title"],
            "sha": running["commit_url"].rpartition("/")[2],
            "build_created_at": "2025-05-02 11:54:40 UTC",
            "build_started_at": "2025-05-02 11:54:45 UTC",
            "build_finished_at": "2025-05-02 11:55:16 UTC",
        },
    )
    bodies = [
        changed(job, {"build_status": "pending"}),
        changed(job, {"build_status": "running"}),
        running,
        changed(job, {"build_status": "success"}),
        success,
    ]
    return tuple(_event(gitlab.adapt(ForeignRecord(headers={}, body=body))) for body in bodies)


SERIES = (github_deployment, github_workflow, gitlab_deployment, gitlab_job)


def _github(*bodies: dict[str, object]) -> tuple[ForeignEvent, ...]:
    return tuple(_event(github.adapt(ForeignRecord(headers={}, body=body))) for body in bodies)


def _gitlab(*statuses: str) -> tuple[ForeignEvent, ...]:
    bodies = [body_of("gitlab", f"recorded/deployment.{status}.json") for status in statuses]
    return tuple(_event(gitlab.adapt(ForeignRecord(headers={}, body=body))) for body in bodies)


def _event(adapted: object) -> ForeignEvent:
    assert isinstance(adapted, ForeignEvent)
    return adapted
