"""The status machines as the contract draws them: deployments, the review, and what each event type asks for."""

DEPLOYMENT = {
    "PENDING": {"IN_PROGRESS", "SUCCESS", "FAILED", "CANCELLED"},
    "IN_PROGRESS": {"SUCCESS", "FAILED", "CANCELLED", "ROLLED_BACK"},
    "SUCCESS": {"ROLLED_BACK"},
    "FAILED": {"ROLLED_BACK"},
    "CANCELLED": set[str](),
    "ROLLED_BACK": set[str](),
}
ACTIVE = {"PENDING", "IN_PROGRESS"}
# *Progress* orders statuses: PENDING < IN_PROGRESS < SUCCESS = FAILED = CANCELLED < ROLLED_BACK.
PROGRESS = ({"PENDING"}, {"IN_PROGRESS"}, {"SUCCESS", "FAILED", "CANCELLED"}, {"ROLLED_BACK"})


def progress(status: str) -> int:
    return next(step for step, statuses in enumerate(PROGRESS) if status in statuses)


# Release events move only through the review.
REVIEW = {
    "IN_REVIEW": {"DRAFT", "REJECTED"},
    "APPROVED": {"IN_REVIEW"},
    "REJECTED": {"IN_REVIEW"},
    "DRAFT": {"IN_REVIEW", "REJECTED"},
}
"""By the status that the event wants: those from which it is allowed."""

RELEASE_CREATED = "dev.rudder.release.created.v1"
ACTIVITY_RECORDED = "dev.rudder.activity.recorded.v1"
RELEASE_EVENTS = {
    "dev.rudder.release.submitted.v1": "IN_REVIEW",
    "dev.rudder.release.approved.v1": "APPROVED",
    "dev.rudder.release.rejected.v1": "REJECTED",
    "dev.rudder.release.reopened.v1": "DRAFT",
}
DEPLOYMENT_EVENTS = {
    "dev.rudder.deployment.requested.v1": "PENDING",
    "dev.rudder.deployment.started.v1": "IN_PROGRESS",
    "dev.rudder.deployment.succeeded.v1": "SUCCESS",
    "dev.rudder.deployment.failed.v1": "FAILED",
    "dev.rudder.deployment.cancelled.v1": "CANCELLED",
    "dev.rudder.deployment.rolled_back.v1": "ROLLED_BACK",
}
EVENTS_IN = {RELEASE_CREATED, ACTIVITY_RECORDED, *RELEASE_EVENTS, *DEPLOYMENT_EVENTS}

DEPLOYMENT_STATUS_CHANGED = "dev.rudder.deployment.status_changed.v1"
RELEASE_STATUS_CHANGED = "dev.rudder.release.status_changed.v1"
DEPLOYMENT_STATE = "dev.rudder.deployment.state.v1"
