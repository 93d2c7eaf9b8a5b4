"""The shape of `data` for each event type, and its members once the defaults are filled in.

A checker takes a value and gives the JSON pointers, relative to that value, of all that is wrong with it: `[""]` is
the value itself. Tolerant reader: unknown fields in input data are ignored.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from tests.oracle import status_machines
from tests.oracle.formats import confusable_key, utf16_units

Checker = Callable[[Any], list[str]]

UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
DATE_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
INT_MAX = 2**31 - 1
BIGINT_MAX = 2**63 - 1
OWN_ACTIVITY_TYPES = {"RELEASE_CREATED", "RELEASE_STATUS_CHANGED", "DEPLOYMENT_STATUS_CHANGED", "EVENT_STALE"}


@dataclass(frozen=True)
class Member:
    """One member of an object. `null`: whether null is allowed, with the meaning of an omitted member."""

    check: Checker
    required: bool = False
    null: bool = True
    default: Any = None


def text(value: Any) -> list[str]:
    """Any text that a database can hold, that is, without NUL."""
    return [] if isinstance(value, str) and "\0" not in value else [""]


def name(value: Any) -> list[str]:
    """Text longer than its column is invalid, never cut; all short columns are `nvarchar(255)`."""
    return [] if text(value) == [] and 1 <= utf16_units(value) <= 255 else [""]


def uuid_text(value: Any) -> list[str]:
    return [] if isinstance(value, str) and UUID_TEXT.fullmatch(value) else [""]


def date_text(value: Any) -> list[str]:
    if not isinstance(value, str) or not DATE_TEXT.fullmatch(value) or value.startswith("9999"):
        return [""]
    try:
        date.fromisoformat(value)
    except ValueError:
        return [""]
    return []


def integer(low: int, high: int) -> Checker:
    def check(value: Any) -> list[str]:
        return [] if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else [""]

    return check


def json_object(value: Any) -> list[str]:
    """`{}`: an object with any members, but without text that a database cannot hold."""
    return _unstorable(value) if isinstance(value, dict) else [""]


def activity_type(value: Any) -> list[str]:
    """An event may not use an `activity_type` of the worker's own entries, nor a text that collides with one."""
    forged = isinstance(value, str) and confusable_key(value) in map(confusable_key, OWN_ACTIVITY_TYPES)
    return [""] if name(value) or forged else []


def list_of(members: dict[str, Member], *, items_max: int) -> Checker:
    def check(value: Any) -> list[str]:
        if not isinstance(value, list) or len(value) > items_max:
            return [""]
        return [f"/{i}{pointer}" for i, item in enumerate(value) for pointer in object_of(members)(item)]

    return check


def object_of(members: dict[str, Member]) -> Checker:
    def check(value: Any) -> list[str]:
        if not isinstance(value, dict):
            return [""]
        wrong = []
        for key, member in members.items():
            if key not in value:
                wrong += [f"/{key}"] if member.required else []
            elif value[key] is None:
                wrong += [] if member.null and not member.required else [f"/{key}"]
            else:
                wrong += [f"/{key}{pointer}" for pointer in member.check(value[key])]
        return wrong

    return check


# Every `data` has `release_id` (UUID), `organization_id` (must equal the release's) and optional `actor`, `comment`.
EVERY = {
    "release_id": Member(uuid_text, required=True),
    "organization_id": Member(name, required=True),
    "actor": Member(name),
    "comment": Member(text),
}
# `apim_base_revisions` [{`endpoint_name`, `api_id`, `revision_id`, `access_mode`}]
BASE_REVISION = {
    "endpoint_name": Member(name, required=True),
    "api_id": Member(name, required=True),
    "revision_id": Member(name, required=True),
    "access_mode": Member(name, required=True),
}
# `project_id`, `component_id` (UUIDs), `deployment_track_id`, `release_date`, `release_number` (≥ 1), `created_by`;
# optional `description`, `commit_hash`, `image_tag`, `metadata` {}, `apim_base_revisions`
RELEASE = {
    "project_id": Member(uuid_text, required=True),
    "component_id": Member(uuid_text, required=True),
    "deployment_track_id": Member(name, required=True),
    "release_date": Member(date_text, required=True),
    "release_number": Member(integer(1, INT_MAX), required=True),
    "created_by": Member(name, required=True),
    "description": Member(text),
    "commit_hash": Member(name),
    "image_tag": Member(name),
    "metadata": Member(json_object),
    "apim_base_revisions": Member(list_of(BASE_REVISION, items_max=1000), null=False, default=()),
}
# `environment_id`; optional `config_revision` (1), `attempt` (≥ 1), `config_mapping_revision` (0),
# `schema_based_config_revision` (0), `api_settings` {}, `release` (the fields of release.created)
DEPLOYMENT = {
    "environment_id": Member(name, required=True),
    "config_revision": Member(integer(1, INT_MAX), null=False, default=1),
    "attempt": Member(integer(1, BIGINT_MAX)),
    "config_mapping_revision": Member(integer(0, INT_MAX)),
    "schema_based_config_revision": Member(integer(0, INT_MAX)),
    "api_settings": Member(json_object),
    "release": Member(object_of(RELEASE)),
}
# `activity_type`, `activity_data` {}; optional `environment_id`, `config_revision`, `attempt`
ACTIVITY = {
    "activity_type": Member(activity_type, required=True),
    "activity_data": Member(json_object, required=True),
    "environment_id": Member(name),
    "config_revision": Member(integer(1, INT_MAX)),
    "attempt": Member(integer(1, BIGINT_MAX)),
}


def members_of(event_type: str) -> dict[str, Member]:
    if event_type == status_machines.RELEASE_CREATED:
        return EVERY | RELEASE
    if event_type in status_machines.DEPLOYMENT_EVENTS:
        return EVERY | DEPLOYMENT
    if event_type == status_machines.ACTIVITY_RECORDED:
        return EVERY | ACTIVITY
    return EVERY


def errors(event_type: str, data: Any) -> list[str]:
    """The pointers, from the root of the event, of all that is wrong with its data; empty where nothing is."""
    wrong = [f"/data{pointer}" for pointer in object_of(members_of(event_type))(data)]
    if wrong or event_type != status_machines.ACTIVITY_RECORDED or data.get("environment_id") is not None:
        return wrong
    # A revision or an attempt belongs to an environment and has no meaning without one.
    return [f"/data/{key}" for key in ("config_revision", "attempt") if data.get(key) is not None]


def filled(members: dict[str, Member], data: dict[str, Any]) -> dict[str, Any]:
    """The known members of `data`, ids lower-case, with the defaults of omitted members."""
    known = {key: data.get(key, member.default) for key, member in members.items()}
    for key in ("release_id", "project_id", "component_id"):
        if key in known:
            known[key] = known[key].lower()
    if "release_date" in known:
        known["release_date"] = date.fromisoformat(known["release_date"])
    if known.get("release") is not None:
        known["release"] = filled(RELEASE, known["release"])
    return known


def _unstorable(value: Any) -> list[str]:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        inside = [
            (key.replace("~", "~0").replace("/", "~1"), [*text(key), *_unstorable(item)]) for key, item in value.items()
        ]
        return [f"/{key}{pointer}" for key, pointers in inside for pointer in pointers]
    if isinstance(value, list):
        return [f"/{i}{pointer}" for i, item in enumerate(value) for pointer in _unstorable(item)]
    return []
