"""What a record says, by the contract's words alone: an event, or the reason why it is none.

Written a second time, by hand and without the worker's schemas, so that the demo's recount is a second opinion.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from worker.demo.record import RawRecord

Identity = tuple[str, str]
"""(`source`, `id`)"""

EVENT_BYTES_MAX: Final = 1_048_576
EVENT_AHEAD_MAX: Final = timedelta(seconds=86_400)
ID_CHARACTERS_MAX: Final = 255
SOURCE_CHARACTERS_MAX: Final = 1_024

PREFIX: Final = "dev.rudder."
CREATED: Final = "release.created.v1"
ACTIVITY: Final = "activity.recorded.v1"
RELEASE_TARGETS: Final = {
    "release.submitted.v1": "IN_REVIEW",
    "release.approved.v1": "APPROVED",
    "release.rejected.v1": "REJECTED",
    "release.reopened.v1": "DRAFT",
}
DEPLOYMENT_TARGETS: Final = {
    "deployment.requested.v1": "PENDING",
    "deployment.started.v1": "IN_PROGRESS",
    "deployment.succeeded.v1": "SUCCESS",
    "deployment.failed.v1": "FAILED",
    "deployment.cancelled.v1": "CANCELLED",
    "deployment.rolled_back.v1": "ROLLED_BACK",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A valid event; `kind` is its type without the common prefix."""

    identity: Identity
    kind: str
    time: datetime
    release_id: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A record that can never become an event. `identity` is set where the record states one that can be read."""

    reason: str
    identity: Identity | None
    time: datetime


def read(record: RawRecord, *, event_bytes_max: int = EVENT_BYTES_MAX) -> Event | Refusal:
    """Return what the record says; it never raises, whatever the bytes."""
    recorded_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=record.timestamp_ms)
    headers = {name.lower(): value.decode("utf-8", "replace") for name, value in record.headers}
    content_type = headers.get("content-type", "").lower()
    structured = content_type.startswith("application/cloudevents")
    binary = not structured and any(name.startswith("ce_") for name in headers)
    stated = {name[3:]: text for name, text in headers.items() if name.startswith("ce_")} if binary else {}

    def refused(reason: str) -> Refusal:
        return Refusal(reason=reason, identity=_identity(stated), time=_time(stated) or recorded_at)

    if len(record.value) > event_bytes_max:
        return refused("too_large")
    if content_type.startswith("application/cloudevents-batch"):
        return refused("not_a_cloudevent")
    if binary and not _is_cloudevent(stated):
        return refused("not_a_cloudevent")
    body = _parsed(record.value)
    if body is _BROKEN:
        return refused("malformed_json")
    if not binary:
        stated = body if isinstance(body, dict) else {}
        if not _is_cloudevent(stated):
            return refused("not_a_cloudevent")
        body = stated.get("data")
    identity = _identity(stated)
    time = _time(stated) or recorded_at
    kind = stated["type"].removeprefix(PREFIX) if stated["type"].startswith(PREFIX) else ""
    fields = _fields_of(kind)
    if fields is None:
        return refused("unsupported_type")
    if identity is None or not _satisfies(body, fields):
        return refused("invalid_data")
    if record.timestamp_ms >= 0 and time - recorded_at > EVENT_AHEAD_MAX:
        return refused("invalid_data")
    return Event(identity=identity, kind=kind, time=time, release_id=body["release_id"].lower(), data=body)


_BROKEN: Final = object()
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

Check = Callable[[Any], bool]


def _parsed(value: bytes) -> Any:
    try:
        return json.loads(value.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _BROKEN


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's idea of JSON, not JSON's


def _is_cloudevent(stated: dict[str, Any]) -> bool:
    texts = all(isinstance(stated.get(name), str) and stated[name] for name in ("id", "source", "type"))
    return texts and stated.get("specversion") == "1.0"


def _identity(stated: dict[str, Any]) -> Identity | None:
    source, identifier = stated.get("source"), stated.get("id")
    if not (isinstance(source, str) and isinstance(identifier, str) and source and identifier):
        return None
    if len(identifier) > ID_CHARACTERS_MAX or len(source) > SOURCE_CHARACTERS_MAX:
        return None
    return source, identifier


def _time(stated: dict[str, Any]) -> datetime | None:
    """Return the event's time in UTC, finer digits than microseconds cut."""
    text = stated.get("time")
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _text_255(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 255


def _uuid(value: Any) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _from_one(value: Any) -> bool:
    return _number(value) and value >= 1


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _api_revisions(value: Any) -> bool:
    names = ("endpoint_name", "api_id", "revision_id", "access_mode")
    return isinstance(value, list) and all(_satisfies(row, dict.fromkeys(names, (True, _text_255))) for row in value)


def _release_block(value: Any) -> bool:
    return _satisfies(value, RELEASE_FIELDS)


def _satisfies(body: Any, fields: dict[str, tuple[bool, Check]]) -> bool:
    """Say whether every required field is there and every known one is well; unknown ones are ignored."""
    if not isinstance(body, dict):
        return False
    return all(
        check(body[name]) if body.get(name) is not None else not required for name, (required, check) in fields.items()
    )


def _fields_of(kind: str) -> dict[str, tuple[bool, Check]] | None:
    if kind == CREATED:
        return COMMON_FIELDS | RELEASE_FIELDS
    if kind in RELEASE_TARGETS:
        return COMMON_FIELDS
    if kind in DEPLOYMENT_TARGETS:
        return COMMON_FIELDS | DEPLOYMENT_FIELDS
    return COMMON_FIELDS | ACTIVITY_FIELDS if kind == ACTIVITY else None


# Name → (required, check), straight from the contract's table of event types and the columns' widths.
COMMON_FIELDS: Final[dict[str, tuple[bool, Check]]] = {
    "release_id": (True, _uuid),
    "organization_id": (True, _text_255),
    "actor": (False, _text_255),
    "comment": (False, _text),
}
RELEASE_FIELDS: Final[dict[str, tuple[bool, Check]]] = {
    "project_id": (True, _uuid),
    "component_id": (True, _uuid),
    "deployment_track_id": (True, _text_255),
    "release_date": (True, _date),
    "release_number": (True, _from_one),
    "created_by": (True, _text_255),
    "description": (False, _text),
    "commit_hash": (False, _text_255),
    "image_tag": (False, _text_255),
    "metadata": (False, _object),
    "apim_base_revisions": (False, _api_revisions),
}
DEPLOYMENT_FIELDS: Final[dict[str, tuple[bool, Check]]] = {
    "environment_id": (True, _text_255),
    "config_revision": (False, _number),
    "attempt": (False, _from_one),
    "config_mapping_revision": (False, _number),
    "schema_based_config_revision": (False, _number),
    "api_settings": (False, _object),
    "release": (False, _release_block),
}
ACTIVITY_FIELDS: Final[dict[str, tuple[bool, Check]]] = {
    "activity_type": (True, _text_255),
    "activity_data": (True, _object),
    "environment_id": (False, _text_255),
    "config_revision": (False, _number),
    "attempt": (False, _from_one),
}
