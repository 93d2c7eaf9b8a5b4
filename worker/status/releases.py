"""Releases: pages of them, and one with its attempts, its log, its status events and its open dead letters."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from schemas.json_text import DEPTH_MAX, parse
from schemas.times import format_time
from worker.rules.errors import ConfigurationError
from worker.rules.identity import activity_id
from worker.rules.rows import Activity
from worker.rules.status_events import StatusEvent, status_events
from worker.status.tables import StatusTables
from worker.stored_status import EnvironmentAttempt, ReleaseDetail, ReleasePage, ReleaseSummary

_NAME = re.compile(r"(?P<date>[0-9]{8})-(?P<number>[1-9][0-9]{0,9})")
_POSITIONS_MAX = 5
"""An event that creates a release, supersedes an attempt, opens another and moves the release has fewer activities."""

_SAME_NAME_MAX = 5
"""How many releases of one name are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReport:
    """`activities`: those of `detail`, with the activities of one event in the order in which it caused them.
    `status_events`: those that the activities were published as. `edited`: ids of activities of which none can be made,
    since they were edited.
    """

    detail: ReleaseDetail
    activities: tuple[Activity, ...]
    status_events: tuple[StatusEvent, ...]
    edited: tuple[UUID, ...]

    def as_json(self) -> dict[str, Any]:
        detail = self.detail
        return {
            **summary_as_json(detail.release),
            "description": detail.release.description,
            "version": detail.version,
            "attempts": [_attempt_as_json(attempt) for attempt in detail.attempts],
            "activities": [_activity_as_json(activity) for activity in self.activities],
            "status_events": [
                {
                    "id": str(event.id),
                    "type": event.type,
                    "time": format_time(event.time),
                    "previous_status": event.data["previous_status"],
                    "status": event.data["status"],
                    "environment_id": event.data.get("environment_id"),
                    "release_version": event.data["release_version"],
                }
                for event in self.status_events
            ],
            "edited_activities": [str(id_) for id_ in self.edited],
            "open_dead_letters": [
                {
                    "id": str(rejection.id),
                    "created_at": format_time(rejection.created_at),
                    "reason": rejection.reason,
                    "detail": rejection.detail,
                    "event_source": rejection.event_source,
                    "event_id": rejection.event_id,
                    "event_type": rejection.event_type,
                    "topic": rejection.topic,
                    "partition": rejection.partition,
                    "offset": rejection.offset,
                }
                for rejection in detail.dead_letters
            ],
            "cut": list(detail.cut),
        }


async def release_report(tables: StatusTables, named: str, component: UUID | None) -> ReleaseReport:
    """The release with this id, or with this name and component.

    Raises:
        ConfigurationError: there is no such release, or the name is that of several.
        Unavailable: as the tables do.
    """
    release_id = await _release_id(tables, named, component)
    detail = await tables.release(release_id)
    if detail is None:
        raise ConfigurationError(f"there is no release {named}; `status releases` lists those that there are")
    activities = tuple(sorted(detail.activities, key=_order_in_time))
    events, edited = _derived(activities)
    return ReleaseReport(detail=detail, activities=activities, status_events=events, edited=edited)


async def _release_id(tables: StatusTables, named: str, component: UUID | None) -> UUID:
    match = _NAME.fullmatch(named)
    if match is None:
        try:
            return UUID(named)
        except ValueError:
            raise ConfigurationError(f"{named} is neither the id of a release nor a name like 20260301-7") from None
    try:
        day = date.fromisoformat(f"{match['date'][:4]}-{match['date'][4:6]}-{match['date'][6:]}")
    except ValueError:
        raise ConfigurationError(f"{named} begins with no date; a name is like 20260301-7") from None
    found = await tables.named(day, int(match["number"]), component, _SAME_NAME_MAX + 1)
    if not found:
        of_component = "" if component is None else f" of component {component}"
        raise ConfigurationError(f"there is no release {named}{of_component}; `status releases` lists those there are")
    if len(found) > 1:
        listed = ", ".join(
            f"{one.release_id} (component {one.component_id}, track {one.deployment_track_id})"
            for one in found[:_SAME_NAME_MAX]
        )
        more = ", …" if len(found) > _SAME_NAME_MAX else ""
        raise ConfigurationError(f"several releases are named {named}: {listed}{more}; use --component or the id")
    return found[0].release_id


def _order_in_time(activity: Activity) -> tuple[datetime, int, int]:
    """By time, and at one time by the release's version and by the position in the event."""
    payload = payload_of(activity)
    version, event = payload.get("release_version"), payload.get("event")
    source, event_id = (event.get("source"), event.get("id")) if isinstance(event, dict) else (None, None)
    position = 0
    if isinstance(source, str) and isinstance(event_id, str):
        ids = (activity_id(source=source, event_id=event_id, position=number) for number in range(_POSITIONS_MAX))
        position = next((number for number, id_ in enumerate(ids) if id_ == activity.id), _POSITIONS_MAX)
    return activity.created_at, version if isinstance(version, int) else -1, position


def _derived(activities: Iterable[Activity]) -> tuple[tuple[StatusEvent, ...], tuple[UUID, ...]]:
    events: list[StatusEvent] = []
    edited: list[UUID] = []
    for activity in activities:
        try:
            events += status_events([activity])
        except (ValueError, KeyError, TypeError, AttributeError):
            edited.append(activity.id)
    return tuple(events), tuple(edited)


def page_as_json(page: ReleasePage) -> dict[str, Any]:
    return {
        "count": page.count.number,
        "count_capped": page.count.capped,
        "releases": [summary_as_json(release) for release in page.releases],
        "next": None if page.next is None else str(page.next),
    }


def summary_as_json(release: ReleaseSummary) -> dict[str, Any]:
    return {
        "release_id": str(release.release_id),
        "release": release.name,
        "status": release.status,
        "organization_id": release.organization_id,
        "project_id": str(release.project_id),
        "component_id": str(release.component_id),
        "deployment_track_id": release.deployment_track_id,
        "created_at": _text(release.created_at),
        "created_by": release.created_by,
        "updated_at": _text(release.updated_at),
        "commit_hash": release.commit_hash,
        "image_tag": release.image_tag,
    }


def payload_of(activity: Activity) -> dict[str, Any]:
    """The activity's JSON object; an empty one if it was edited into something else."""
    try:
        value = parse((activity.activity_data or "").encode(), depth_max=DEPTH_MAX + 1)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _attempt_as_json(found: EnvironmentAttempt) -> dict[str, Any]:
    attempt = found.attempt
    return {
        "environment_id": found.environment_id,
        "config_revision": attempt.config_revision,
        "attempt": attempt.attempt,
        "deployment_id": str(attempt.deployment_id),
        "deployment": attempt.name,
        "status": attempt.status,
        "created_at": _text(attempt.created_at),
        "updated_at": _text(attempt.updated_at),
        "deployed_at": _text(attempt.deployed_at),
        "deployed_by": attempt.deployed_by,
        "comment": found.comment,
    }


def _activity_as_json(activity: Activity) -> dict[str, Any]:
    return {
        "id": str(activity.id),
        "created_at": format_time(activity.created_at),
        "activity_type": activity.activity_type,
        "status": activity.status,
        "environment_id": activity.environment_id,
        "deployment_id": None if activity.deployment_id is None else str(activity.deployment_id),
        "activity_data": payload_of(activity),
    }


def _text(time: datetime | None) -> str | None:
    return None if time is None else format_time(time)
