"""GitHub's events, states and conclusions, and what they become: the tables of docs/reference/sources/github.md."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from schemas.types import EventType

KINDS: Final = frozenset(
    {
        "check_run",
        "check_suite",
        "create",
        "delete",
        "deployment",
        "deployment_protection_rule",
        "deployment_review",
        "deployment_status",
        "issues",
        "ping",
        "pull_request",
        "push",
        "release",
        "repository",
        "status",
        "workflow_dispatch",
        "workflow_job",
        "workflow_run",
    }
)
"""The kinds of NoInterest; any other event of GitHub is `other`."""

STATES: Final[Mapping[str, EventType]] = MappingProxyType(
    {
        "queued": EventType.DEPLOYMENT_REQUESTED,
        "pending": EventType.DEPLOYMENT_REQUESTED,
        "waiting": EventType.DEPLOYMENT_REQUESTED,
        "requested": EventType.DEPLOYMENT_REQUESTED,
        "in_progress": EventType.DEPLOYMENT_STARTED,
        "success": EventType.DEPLOYMENT_SUCCEEDED,
        "failure": EventType.DEPLOYMENT_FAILED,
        "error": EventType.DEPLOYMENT_FAILED,
    }
)
"""The states of a deployment status. `inactive`, and any state that is not here, is an activity."""

CONCLUSIONS: Final[Mapping[str, EventType]] = MappingProxyType(
    {
        "success": EventType.DEPLOYMENT_SUCCEEDED,
        "failure": EventType.DEPLOYMENT_FAILED,
        "timed_out": EventType.DEPLOYMENT_FAILED,
        "startup_failure": EventType.DEPLOYMENT_FAILED,
        "cancelled": EventType.DEPLOYMENT_CANCELLED,
        "skipped": EventType.DEPLOYMENT_CANCELLED,
        "neutral": EventType.DEPLOYMENT_CANCELLED,
        "stale": EventType.DEPLOYMENT_CANCELLED,
    }
)
"""The conclusions of a completed workflow run. `action_required`, and any that is not here, is an activity."""

RUN_ACTIONS: Final[Mapping[str, EventType]] = MappingProxyType(
    {"requested": EventType.DEPLOYMENT_REQUESTED, "in_progress": EventType.DEPLOYMENT_STARTED}
)
RELEASE_ACTIVITIES: Final[Mapping[str, str]] = MappingProxyType(
    {"published": "GITHUB_RELEASE_PUBLISHED", "released": "GITHUB_RELEASE_RELEASED"}
)
ACTIVITY_INACTIVE: Final = "GITHUB_DEPLOYMENT_INACTIVE"
ACTIVITY_STATE: Final = "GITHUB_DEPLOYMENT_STATUS"
ACTIVITY_ACTION_REQUIRED: Final = "GITHUB_WORKFLOW_RUN_ACTION_REQUIRED"
ACTIVITY_COMPLETED: Final = "GITHUB_WORKFLOW_RUN_COMPLETED"

MEMBERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "workflow_job_run": "deployment_review",
        "workflow_job_runs": "deployment_review",
        "deployment_callback_url": "deployment_protection_rule",
        "workflow_job": "workflow_job",
        "deployment_status": "deployment_status",
        "deployment": "deployment",
        "workflow_run": "workflow_run",
        "release": "release",
        "check_run": "check_run",
        "check_suite": "check_suite",
        "pull_request": "pull_request",
        "issue": "issues",
        "commits": "push",
        "zen": "ping",
    }
)
"""A member that an event's body has, and the event; the first one counts. Bodies have members of other events as well:
those of a deployment's review a workflow run, those of a job a deployment.
"""
