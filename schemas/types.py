"""The event types, in and out. The version is part of a type's name: a changed meaning is a new type."""

from enum import StrEnum
from typing import Final


class EventType(StrEnum):
    """The types of incoming events, on every input topic."""

    RELEASE_CREATED = "dev.rudder.release.created.v1"
    RELEASE_SUBMITTED = "dev.rudder.release.submitted.v1"
    RELEASE_APPROVED = "dev.rudder.release.approved.v1"
    RELEASE_REJECTED = "dev.rudder.release.rejected.v1"
    RELEASE_REOPENED = "dev.rudder.release.reopened.v1"
    DEPLOYMENT_REQUESTED = "dev.rudder.deployment.requested.v1"
    DEPLOYMENT_STARTED = "dev.rudder.deployment.started.v1"
    DEPLOYMENT_SUCCEEDED = "dev.rudder.deployment.succeeded.v1"
    DEPLOYMENT_FAILED = "dev.rudder.deployment.failed.v1"
    DEPLOYMENT_CANCELLED = "dev.rudder.deployment.cancelled.v1"
    DEPLOYMENT_ROLLED_BACK = "dev.rudder.deployment.rolled_back.v1"
    ACTIVITY_RECORDED = "dev.rudder.activity.recorded.v1"


class StatusEventType(StrEnum):
    """The types of status events."""

    DEPLOYMENT_STATUS_CHANGED = "dev.rudder.deployment.status_changed.v1"
    RELEASE_STATUS_CHANGED = "dev.rudder.release.status_changed.v1"


class StateEventType(StrEnum):
    """The types of records in compacted topics: each replaces the earlier ones with its key."""

    DEPLOYMENT_STATE = "dev.rudder.deployment.state.v1"


TYPE_PREFIX: Final = "dev.rudder."
_SUFFIX = ".v1"


def short_type(event_type: str) -> str:
    """`deployment.succeeded` of `dev.rudder.deployment.succeeded.v1`."""
    return event_type.removeprefix(TYPE_PREFIX).removesuffix(_SUFFIX)


def full_type(text: str) -> str:
    """The accepted type with this name, with or without its prefix and version; any other text unchanged."""
    full = f"{TYPE_PREFIX}{short_type(text)}{_SUFFIX}"
    return full if full in set(EventType) else text
