"""What a faithful worker leaves behind, made from the contract's model: rows, status events and dead letters.

The recount's tests spoil it in one place each and expect that place to be named.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from worker.demo.contract_envelope import DEPLOYMENT_TARGETS, Event, read
from worker.demo.contract_model import ContractModel
from worker.demo.contract_state import Activity, Judged, Release
from worker.demo.record import RawRecord, TopicRecord
from worker.demo.recount_rows import compact, stamp
from worker.demo.recount_topics import DEAD_LETTER_HEADERS, STATUS_TYPES

TABLES = {
    "releases": "id, created_at, updated_at, release_date, release_number, project_id, description, status,"
    " organization_id, created_by, metadata, component_id, deployment_track_id, commit_hash, image_tag",
    "release_deployments": "id, created_at, updated_at, release_mgt_id, environment_id, attempt, config_revision,"
    " status, comment, deployed_at, deployed_by, config_mapping_revision, schema_based_config_revision, api_settings",
    "release_activity_logs": "id, created_at, updated_at, release_deployment_id, release_mgt_id, environment_id,"
    " activity_type, activity_data, status",
    "release_apim_base_revisions": "release_mgt_id, endpoint_name, api_id, revision_id, access_mode",
    "release_event_rejections": "id, created_at, reason, event_source, event_id, topic, topic_partition,"
    " topic_offset, resolved_at",
    "app_environments": "id, environment_id, component_id, deployment_track_id, created_at, updated_at,"
    " release_mgt_release_id, release_mgt_deployment_id, release_mgt_deployment_name",
}


def in_topic(records: Iterable[RawRecord], *, topic: str = "events", partitions: int = 4) -> list[TopicRecord]:
    """Place records as a keyed producer does; each partition's order is theirs."""
    offsets = [0] * partitions
    placed = []
    for record in records:
        partition = zlib.crc32(record.key or b"") % partitions
        placed.append(
            TopicRecord(
                topic=topic,
                partition=partition,
                offset=offsets[partition],
                key=record.key,
                value=record.value,
                headers=record.headers,
                timestamp_ms=record.timestamp_ms,
            )
        )
        offsets[partition] += 1
    return sorted(placed, key=lambda record: (record.partition, record.offset))


@dataclass
class Imitation:
    """The three out-topics and the database."""

    connection: sqlite3.Connection
    deployment_statuses: list[TopicRecord] = field(default_factory=list)
    release_statuses: list[TopicRecord] = field(default_factory=list)
    dead_letters: list[TopicRecord] = field(default_factory=list)


def imitate(events: Iterable[TopicRecord], *, connection: sqlite3.Connection) -> Imitation:
    """Do what a faithful worker does, duplicates published again included."""
    connection.row_factory = None
    for table, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {table} ({columns})")
    done = Imitation(connection)
    model = ContractModel()
    for record in events:
        prediction = model.apply(record)
        if prediction.judged.outcome == "rejected":
            _append(done.dead_letters, "dead-letters", _dead_letter(prediction.judged, record))
            continue
        for number, activity in enumerate(prediction.judged.activities):
            if activity.about != "neither":
                out = done.release_statuses if activity.about == "release" else done.deployment_statuses
                _append(out, f"{activity.about}-status", _status(prediction.judged, activity, number, model))
    for release in model.releases.values():
        _insert_release(connection, release)
    for judged in model.judged:
        _insert_judged(connection, judged)
    return done


def insert(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def _id(*parts: object) -> str:
    return str(uuid5(NAMESPACE_URL, "/".join(map(str, parts))))


def _append(records: list[TopicRecord], topic: str, raw: RawRecord) -> None:
    records.append(
        TopicRecord(
            topic=topic,
            partition=0,
            offset=len(records),
            key=raw.key,
            value=raw.value,
            headers=raw.headers,
            timestamp_ms=raw.timestamp_ms,
        )
    )


def _rejection_id(judged: Judged) -> str:
    return _id(*(judged.identity or (judged.record.place,)))


def _dead_letter(judged: Judged, record: TopicRecord) -> RawRecord:
    values = (
        *(_rejection_id(judged), judged.reason, "because", record.topic, record.partition, record.offset),
        *(record.timestamp_ms, 1, "imitation"),
    )
    added = tuple((name, str(value).encode()) for name, value in zip(DEAD_LETTER_HEADERS, values, strict=True))
    return RawRecord(
        key=record.key, value=record.value, headers=(*record.headers, *added), timestamp_ms=record.timestamp_ms
    )


def _status(judged: Judged, activity: Activity, number: int, model: ContractModel) -> RawRecord:
    event = read(judged.record)
    assert isinstance(event, Event)
    data: dict[str, object] = {
        "release_id": judged.release_id,
        "organization_id": model.releases[event.release_id].organization_id,
        "previous_status": activity.previous,
        "status": activity.status,
        "comment": event.data.get("comment"),
        "cause": {"source": event.identity[0], "id": event.identity[1]},
    }
    if activity.deployment:
        data |= dict(zip(("environment_id", "config_revision", "attempt"), activity.deployment, strict=True))
        if DEPLOYMENT_TARGETS[judged.kind] == "SUCCESS" and activity.status == "SUCCESS":
            data |= {"deployed_at": judged.time.isoformat(), "deployed_by": event.data.get("actor")}
    attributes = {"specversion": "1.0", "id": _id(*event.identity, number), "type": STATUS_TYPES[activity.about]}
    return RawRecord(
        key=event.release_id.encode(),
        value=compact(data).encode(),
        headers=tuple((f"ce_{name}", text.encode()) for name, text in attributes.items()),
        timestamp_ms=0,
    )


def _insert_release(connection: sqlite3.Connection, release: Release) -> None:
    fields = release.fields
    plain = ("release_date", "release_number", "deployment_track_id", "created_by")
    optional = ("description", "commit_hash", "image_tag")
    insert(
        connection,
        "releases",
        {
            "id": release.id,
            "created_at": stamp(release.created_at),
            "updated_at": stamp(release.updated_at),
            "status": release.status,
            "organization_id": release.organization_id,
            "metadata": compact(fields["metadata"]) if "metadata" in fields else None,
            **{name: fields[name].lower() for name in ("project_id", "component_id")},
            **{name: fields[name] for name in plain},
            **{name: fields.get(name) for name in optional},
        },
    )
    for revision in fields.get("apim_base_revisions", ()):
        insert(connection, "release_apim_base_revisions", {"release_mgt_id": release.id, **revision})
    for key, deployment in release.deployments.items():
        settings = deployment.settings
        insert(
            connection,
            "release_deployments",
            {
                "id": _id(release.id, *key),
                "release_mgt_id": release.id,
                **dict(zip(("environment_id", "config_revision", "attempt"), key, strict=True)),
                "created_at": stamp(deployment.created_at),
                "updated_at": stamp(deployment.updated_at),
                "status": deployment.status,
                "comment": deployment.comment,
                "deployed_at": stamp(deployment.deployed_at),
                "deployed_by": deployment.deployed_by,
                "config_mapping_revision": settings["config_mapping_revision"],
                "schema_based_config_revision": settings["schema_based_config_revision"],
                "api_settings": None if settings["api_settings"] is None else compact(settings["api_settings"]),
            },
        )
    for environment, key in release.pointed.items():
        day, number, component, track = release.number
        insert(
            connection,
            "app_environments",
            {
                "environment_id": environment,
                "component_id": component,
                "deployment_track_id": track,
                "release_mgt_release_id": release.id,
                "release_mgt_deployment_id": _id(release.id, *key),
                "release_mgt_deployment_name": f"{day.replace('-', '')}-{number}.{key[2]}",
            },
        )


def _insert_judged(connection: sqlite3.Connection, judged: Judged) -> None:
    record, (source, identifier) = judged.record, judged.identity or (None, None)
    if judged.outcome == "rejected":
        insert(
            connection,
            "release_event_rejections",
            {
                "id": _rejection_id(judged),
                "created_at": stamp(judged.time),
                "reason": judged.reason,
                "event_source": source,
                "event_id": identifier,
                "topic": record.topic,
                "topic_partition": record.partition,
                "topic_offset": record.offset,
                "resolved_at": stamp(datetime(2026, 3, 17, tzinfo=UTC)) if judged.resolved else None,
            },
        )
    event = read(record)
    for number, activity in enumerate(judged.activities):
        environment, config_revision, attempt = activity.deployment or (None, None, None)
        data = {
            "event": {"source": source, "id": identifier, "type": f"dev.rudder.{judged.kind}"},
            "record": {"topic": record.topic, "partition": record.partition, "offset": record.offset},
            "change": {"from": activity.previous, "to": activity.status},
            "attempt": attempt,
            "config_revision": config_revision,
            "custom": getattr(event, "data", {}).get("activity_data"),
        }
        insert(
            connection,
            "release_activity_logs",
            {
                "id": _id(source, identifier, number),
                "created_at": stamp(judged.time),
                "release_mgt_id": judged.release_id,
                "release_deployment_id": _id(judged.release_id, *activity.deployment) if activity.deployment else None,
                "environment_id": environment,
                "activity_type": activity.activity_type,
                "activity_data": json.dumps(data, ensure_ascii=False, separators=(",", ":")),
            },
        )
