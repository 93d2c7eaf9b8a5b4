"""The two status machines, as the contract's section of that name draws them, and what each event type asks for."""

DEPLOYMENT = {
    "PENDING": {"IN_PROGRESS", "SUCCESS", "FAILED", "CANCELLED"},
    "IN_PROGRESS": {"SUCCESS", "FAILED", "CANCELLED", "ROLLED_BACK"},
    "SUCCESS": {"ROLLED_BACK"},
    "FAILED": {"ROLLED_BACK"},
    "CANCELLED": set[str](),
    "ROLLED_BACK": set[str](),
}
RELEASE = {
    "DRAFT": {"IN_REVIEW"},
    "IN_REVIEW": {"APPROVED", "REJECTED", "DRAFT"},
    "REJECTED": {"DRAFT", "IN_REVIEW"},
    "APPROVED": {"DEPLOYING", "DEPLOYED", "FAILED", "ROLLED_BACK"},
    "DEPLOYING": {"DEPLOYED", "FAILED", "ROLLED_BACK", "APPROVED"},
    "DEPLOYED": {"DEPLOYING", "FAILED", "ROLLED_BACK"},
    "FAILED": {"DEPLOYING", "DEPLOYED", "ROLLED_BACK"},
    "ROLLED_BACK": {"DEPLOYING", "DEPLOYED", "FAILED"},
}
ACTIVE = {"PENDING", "IN_PROGRESS"}

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
