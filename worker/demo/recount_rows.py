"""Compare the rows in the database with what the contract's model says must be there, value by value.

Table and column names are those of the given schema. Ids are derived under a namespace that the contract does not
tell, so rows are found by what they are about; that they refer to each other rightly is compared.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from worker.demo.contract_envelope import ACTIVITY, Identity, read
from worker.demo.contract_model import ContractModel
from worker.demo.contract_state import Activity, Deployment, DeploymentKey, Judged, Release
from worker.demo.record import TopicRecord

Row = dict[str, Any]
DeploymentIds = dict[tuple[str, DeploymentKey], str]


def compare_rows(model: ContractModel, connection: sqlite3.Connection) -> list[str]:
    """Return one line per difference; none means that every row is as the contract wants it."""
    deployments = _rows(connection, "release_deployments")
    ids = {(row["release_mgt_id"], _key(row)): row["id"] for row in deployments}
    return [
        *_compare_releases(model, _rows(connection, "releases")),
        *_compare_api_revisions(model, _rows(connection, "release_apim_base_revisions")),
        *_compare_deployments(model, deployments),
        *_compare_activity(model, _rows(connection, "release_activity_logs"), ids),
        *_compare_rejections(model, _rows(connection, "release_event_rejections")),
        *_compare_pointers(model, _rows(connection, "app_environments"), ids),
    ]


def stamp(moment: datetime | None) -> str | None:
    """Return a time as SQLite holds it: UTC, to the microsecond."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}" if moment else None


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _rows(connection: sqlite3.Connection, table: str) -> list[Row]:
    cursor = connection.execute(f"SELECT * FROM {table}")  # noqa: S608 - the names stand above
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in cursor]


def _differing(what: str, row: Row, expected: Row) -> Iterator[str]:
    for name, value in expected.items():
        if row.get(name) != value:
            yield f"{what}: {name} is {row.get(name)!r}, expected {value!r}"


def _unmatched(table: str, found: set[Any], expected: set[Any]) -> Iterator[str]:
    yield from (f"{table} {key}: missing" for key in sorted(expected - found, key=str))
    yield from (f"{table} {key}: not expected" for key in sorted(found - expected, key=str))


def _compare_releases(model: ContractModel, rows: list[Row]) -> Iterator[str]:
    found = {row["id"]: row for row in rows}
    yield from _unmatched("releases", set(found), set(model.releases))
    for identifier in found.keys() & model.releases.keys():
        yield from _differing(f"releases {identifier}", found[identifier], _release_row(model.releases[identifier]))


def _release_row(release: Release) -> Row:
    fields = release.fields
    row = {
        "created_at": stamp(release.created_at),
        "updated_at": stamp(release.updated_at),
        "project_id": fields["project_id"].lower(),
        "component_id": fields["component_id"].lower(),
        "status": release.status,
        "organization_id": release.organization_id,
    }
    for name in ("release_date", "release_number", "deployment_track_id", "created_by"):
        row[name] = fields[name]
    for name in ("description", "commit_hash", "image_tag"):
        row[name] = fields.get(name)
    if "metadata" in fields:
        row["metadata"] = compact(fields["metadata"])
    return row


def _compare_api_revisions(model: ContractModel, rows: list[Row]) -> Iterator[str]:
    names = ("endpoint_name", "api_id", "revision_id", "access_mode")
    found = Counter((row["release_mgt_id"], *(row[name] for name in names)) for row in rows)
    expected = Counter(
        (release.id, *(revision[name] for name in names))
        for release in model.releases.values()
        for revision in release.fields.get("apim_base_revisions") or ()
    )
    for key in sorted(found.keys() | expected.keys()):
        if found[key] != expected[key]:
            yield f"release_apim_base_revisions {key}: {found[key]} rows, expected {expected[key]}"


def _compare_deployments(model: ContractModel, rows: list[Row]) -> Iterator[str]:
    found = {(row["release_mgt_id"], _key(row)): row for row in rows}
    expected = {
        (release.id, key): deployment
        for release in model.releases.values()
        for key, deployment in release.deployments.items()
    }
    yield from _unmatched("release_deployments", set(found), set(expected))
    for key in found.keys() & expected.keys():
        yield from _differing(f"release_deployments {key}", found[key], _deployment_row(expected[key]))


def _key(row: Row) -> DeploymentKey:
    return row["environment_id"], row["config_revision"], row["attempt"]


def _deployment_row(deployment: Deployment) -> Row:
    row = {
        "created_at": stamp(deployment.created_at),
        "updated_at": stamp(deployment.updated_at),
        "status": deployment.status,
        "deployed_at": stamp(deployment.deployed_at),
        "deployed_by": deployment.deployed_by,
    }
    for name in ("config_mapping_revision", "schema_based_config_revision"):
        row[name] = deployment.settings[name]
    api_settings = deployment.settings["api_settings"]
    row["api_settings"] = None if api_settings is None else compact(api_settings)
    row["comment"] = deployment.comment
    return row


def _compare_activity(model: ContractModel, rows: list[Row], ids: DeploymentIds) -> Iterator[str]:
    found: dict[Identity, list[Row]] = defaultdict(list)
    for row in rows:
        row["data"] = {"event": {}, "record": {}, **json.loads(row["activity_data"])}
        event = row["data"]["event"]
        found[str(event.get("source")), str(event.get("id"))].append(row)
    expected = {judged.identity: judged for judged in model.judged if judged.identity and judged.activities}
    keys = {identifier: key for (_, key), identifier in ids.items()}
    yield from _unmatched("release_activity_logs of event", set(found), set(expected))
    for identity in found.keys() & expected.keys():
        judged = expected[identity]
        what = f"{judged.record.place}: release_activity_logs"
        activities = Counter(_entry_seen(row, keys) for row in found[identity])
        wanted = Counter(map(_entry_wanted, judged.activities))
        if activities != wanted:
            yield f"{what}: {sorted(activities.elements(), key=str)}, expected {sorted(wanted.elements(), key=str)}"
        for row in found[identity]:
            yield from _differing(what, row, {"created_at": stamp(judged.time), "release_mgt_id": judged.release_id})
            yield from _differing(what, row["data"]["record"], _place_of(judged.record))
        if judged.kind == ACTIVITY:
            yield from _compare_custom(judged, found[identity][0], what)


def _place_of(record: TopicRecord) -> Row:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _entry_seen(row: Row, deployments: dict[str, DeploymentKey]) -> tuple[Any, ...]:
    change = row["data"].get("change") or {}
    match row["activity_type"]:
        case "RELEASE_CREATED" | "RELEASE_STATUS_CHANGED":
            return row["activity_type"], change.get("from"), change.get("to")
        case "DEPLOYMENT_STATUS_CHANGED":
            where = row["environment_id"], row["data"].get("attempt"), deployments.get(row["release_deployment_id"])
            return row["activity_type"], change.get("from"), change.get("to"), *where
        case _:
            return (row["activity_type"],)


def _entry_wanted(activity: Activity) -> tuple[Any, ...]:
    if activity.about == "neither":
        return (activity.activity_type,)
    where = (activity.deployment[0], activity.deployment[2], activity.deployment) if activity.deployment else ()
    return activity.activity_type, activity.previous, activity.status, *where


def _compare_custom(judged: Judged, row: Row, what: str) -> Iterator[str]:
    event = read(judged.record)
    custom = compact(getattr(event, "data", {}).get("activity_data"))
    if custom not in row["activity_data"]:
        yield f"{what}: the custom data {custom} is not in {row['activity_data']}"


def _compare_rejections(model: ContractModel, rows: list[Row]) -> Iterator[str]:
    found = {f"{row['topic']}/{row['topic_partition']}/{row['topic_offset']}": row for row in rows}
    expected = {judged.record.place: judged for judged in model.judged if judged.outcome == "rejected"}
    yield from _unmatched("release_event_rejections of", set(found), set(expected))
    for place in found.keys() & expected.keys():
        judged, row = expected[place], found[place]
        source, identifier = judged.identity or (None, None)
        wanted = {
            "reason": judged.reason,
            "event_source": source,
            "event_id": identifier,
            "created_at": stamp(judged.time),
        }
        yield from _differing(f"{place}: release_event_rejections", row, wanted)
        if (row["resolved_at"] is not None) != judged.resolved:
            yield f"{place}: release_event_rejections: resolved_at is {row['resolved_at']!r}"


def _compare_pointers(model: ContractModel, rows: list[Row], ids: DeploymentIds) -> Iterator[str]:
    """Releases of one component share a row; which of them speaks last, the contract leaves open."""
    candidates: dict[tuple[str, str, str], set[tuple[str | None, ...]]] = defaultdict(set)
    for release in model.releases.values():
        for environment, key in release.pointed.items():
            day, number, component, track = release.number
            name = f"{day.replace('-', '')}-{number}.{key[2]}"
            candidates[environment, component, track].add((release.id, ids.get((release.id, key)), name))
    for row in rows:
        where = row["environment_id"], row["component_id"], row["deployment_track_id"]
        pointer = tuple(row[f"release_mgt_{name}"] for name in ("release_id", "deployment_id", "deployment_name"))
        allowed = candidates.get(where, {(None, None, None)})
        if pointer not in allowed:
            yield f"app_environments {where}: points at {pointer}, expected one of {sorted(allowed, key=str)}"
