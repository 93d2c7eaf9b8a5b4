"""The rows of each kind of event, cell by cell: what other systems read is what the contract says."""

import json
from collections.abc import AsyncIterator
from datetime import date
from typing import Any
from uuid import UUID, uuid5

import pytest

from schemas.derived_ids import NAMESPACE
from tests.conformance.release_messages import COMPONENT, ORGANIZATION, PROJECT, SOURCE, TOPIC, ReleaseMessages, minute
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import contents, row, rows
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.message import Message
from worker.rules.state import Applied, Stale

DEPLOYMENT_STEPS = {
    "requested": "PENDING",
    "started": "IN_PROGRESS",
    "succeeded": "SUCCESS",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    await migrate(database_url)
    async with opened(database_url) as store:
        yield store


def activity_id(message: Message, position: int = 0) -> UUID:
    """As the contract derives it."""
    further = f"\n{position}" if position else ""
    return uuid5(NAMESPACE, f"{SOURCE}\n{message.content.id}{further}")


def said_of(message: Message) -> dict[str, Any]:
    """What every entry of the event says of it and of its record."""
    return {
        "event": {
            "source": SOURCE,
            "id": message.content.id,
            "type": str(message.content.type),
            "time": f"{message.at:%Y-%m-%dT%H:%M:%S.%fZ}",
        },
        "record": {"topic": TOPIC, "partition": 0, "offset": message.record.offset},
    }


def without_data(activity: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in activity.items() if name != "activity_data"}


async def test_created_release_has_every_field(store: SqlStore, database_url: str) -> None:
    """Times are the event's, JSON is compact with its keys in order and its characters as they are."""
    builder = ReleaseMessages(number=42)
    revision = {"endpoint_name": "Größe", "api_id": "a", "revision_id": "r", "access_mode": "public"}
    created = builder.created(
        description="修正: 在庫",
        commit_hash="c0ffee",
        image_tag="registry.example/x:42",
        metadata={"z": 1, "área": ["倉庫", None], "a": {"y": 1.5, "b": False}},
        apim_base_revisions=[revision, revision],
        actor="somebody",
        comment="first",
        unknown="ignored",
    )
    assert isinstance(await process(created, store), Applied)
    assert await row(database_url, "releases") == {
        "id": builder.release_id,
        "created_at": minute(1),
        "updated_at": minute(1),
        "release_date": date(2026, 3, 17),
        "release_number": 42,
        "project_id": PROJECT,
        "description": "修正: 在庫",
        "status": "DRAFT",
        "organization_id": ORGANIZATION,
        "created_by": "amara.okafor@example.com",
        "metadata": '{"z":1,"área":["倉庫",null],"a":{"y":1.5,"b":false}}',
        "component_id": COMPONENT,
        "deployment_track_id": "main",
        "commit_hash": "c0ffee",
        "image_tag": "registry.example/x:42",
    }
    base_revision = {"release_mgt_id": builder.release_id, **revision}
    assert await rows(database_url, "release_apim_base_revisions") == [base_revision, base_revision]
    activity = await row(database_url, "release_activity_logs")
    assert without_data(activity) == {
        "id": activity_id(created),
        "created_at": minute(1),
        "updated_at": minute(1),
        "release_deployment_id": None,
        "release_mgt_id": builder.release_id,
        "environment_id": None,
        "activity_type": "RELEASE_CREATED",
        "status": "DRAFT",
    }
    content = json.loads(activity["activity_data"])
    assert activity["activity_data"] == json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    assert said_of(created).items() <= content.items()
    assert content["change"] == {"from": None, "to": "DRAFT"}


async def test_release_moves_through_its_review(store: SqlStore, database_url: str) -> None:
    """Each event moves the status and the time of the last change, and appends one entry that says from where."""
    builder = ReleaseMessages()
    await process(builder.created(), store)
    expected = ["DRAFT"]
    for kind, status in (
        ("submitted", "IN_REVIEW"),
        ("rejected", "REJECTED"),
        ("reopened", "DRAFT"),
        ("submitted", "IN_REVIEW"),
        ("approved", "APPROVED"),
    ):
        moved = builder.event(f"release.{kind}")
        assert isinstance(await process(moved, store), Applied)
        release = await row(database_url, "releases")
        assert (release["status"], release["updated_at"], release["created_at"]) == (status, moved.at, minute(1))
        [activity] = [e for e in await rows(database_url, "release_activity_logs") if e["id"] == activity_id(moved)]
        assert (activity["activity_type"], activity["status"]) == ("RELEASE_STATUS_CHANGED", status)
        assert json.loads(activity["activity_data"])["change"] == {"from": expected[-1], "to": status}
        expected.append(status)
    assert len(await rows(database_url, "release_activity_logs")) == len(expected)


@pytest.mark.parametrize("step", DEPLOYMENT_STEPS)
async def test_each_deployment_event_can_open_an_attempt(store: SqlStore, database_url: str, step: str) -> None:
    """Every cell of the deployment, and an entry each for it and for the release that follows it."""
    builder = ReleaseMessages()
    await process_all(builder.approved(), store)
    settings: dict[str, Any] = {
        "config_mapping_revision": 3,
        "schema_based_config_revision": 4,
        "api_settings": {"b": "é", "a": []},
    }
    opened = builder.deploy(step, config_revision=2, actor="zoë", comment="los", **settings)
    assert isinstance(await process(opened, store), Applied)
    status, deployed = DEPLOYMENT_STEPS[step], step == "succeeded"
    deployment_id = uuid5(NAMESPACE, f"{builder.release_id}/production/2/1")
    assert await row(database_url, "release_deployments") == {
        "id": deployment_id,
        "created_at": minute(4),
        "updated_at": minute(4),
        "release_mgt_id": builder.release_id,
        "environment_id": "production",
        "attempt": 1,
        "config_revision": 2,
        "status": status,
        "comment": "los",
        "deployed_at": minute(4) if deployed else None,
        "deployed_by": "zoë" if deployed else None,
        "config_mapping_revision": 3,
        "schema_based_config_revision": 4,
        "api_settings": '{"b":"é","a":[]}',
    }
    activities = {activity["id"]: activity for activity in await rows(database_url, "release_activity_logs")}
    activity = activities[activity_id(opened)]
    assert without_data(activity) == {
        "id": activity_id(opened),
        "created_at": minute(4),
        "updated_at": minute(4),
        "release_deployment_id": deployment_id,
        "release_mgt_id": builder.release_id,
        "environment_id": "production",
        "activity_type": "DEPLOYMENT_STATUS_CHANGED",
        "status": status,
    }
    content = json.loads(activity["activity_data"])
    assert content["change"] == {"from": None, "to": status}
    assert (content["attempt"], said_of(opened).items() <= content.items()) == (1, True)
    rolled_up = {"PENDING": "DEPLOYING", "IN_PROGRESS": "DEPLOYING", "SUCCESS": "DEPLOYED", "FAILED": "FAILED"}
    release = await row(database_url, "releases")
    if status == "CANCELLED":
        assert (release["status"], len(activities)) == ("APPROVED", 4)
    else:
        assert activities[activity_id(opened, 1)]["activity_type"] == "RELEASE_STATUS_CHANGED"
        assert (release["status"], release["updated_at"]) == (rolled_up[status], minute(4))


async def test_attempt_passes_from_request_to_rollback(store: SqlStore, database_url: str) -> None:
    """One row takes every status in turn; what an event does not say stays as it was."""
    builder = ReleaseMessages()
    await process_all(builder.approved(), store)
    await process(builder.deploy("requested", comment="geplant", api_settings={"k": 1}, actor="a"), store)
    for step in ("started", "succeeded", "rolled_back"):
        assert isinstance(await process(builder.deploy(step, actor="b"), store), Applied)
    found = await row(database_url, "release_deployments")
    assert (found["status"], found["attempt"]) == ("ROLLED_BACK", 1)
    assert (found["created_at"], found["updated_at"]) == (minute(4), minute(7))
    assert (found["comment"], found["api_settings"]) == ("geplant", '{"k":1}')
    assert (found["deployed_at"], found["deployed_by"]) == (minute(6), "b")
    assert (await row(database_url, "releases"))["status"] == "ROLLED_BACK"


async def test_release_block_creates_the_release_and_deployment(store: SqlStore, database_url: str) -> None:
    """A pipeline without a release step: one event, one transaction, an entry for each of the three changes."""
    builder = ReleaseMessages(number=7)
    block = {**builder.fields, "metadata": {"ticket": "OPS-1"}}
    event = builder.deploy("succeeded", release=block, attempt=1)
    assert isinstance(await process(event, store), Applied)
    release = await row(database_url, "releases")
    assert (release["status"], release["release_number"], release["metadata"]) == ("DEPLOYED", 7, '{"ticket":"OPS-1"}')
    activities = {
        activity["id"]: activity["activity_type"] for activity in await rows(database_url, "release_activity_logs")
    }
    assert activities == {
        activity_id(event): "RELEASE_CREATED",
        activity_id(event, 1): "DEPLOYMENT_STATUS_CHANGED",
        activity_id(event, 2): "RELEASE_STATUS_CHANGED",
    }


async def test_new_attempt_cancels_the_active_one(store: SqlStore, database_url: str) -> None:
    """Both in one transaction, the older with an entry of its own at the event's time."""
    builder = ReleaseMessages()
    await process_all(builder.approved(), store)
    await process_all([builder.deploy("started"), builder.deploy("requested")], store)
    found = {d["attempt"]: (d["status"], d["updated_at"]) for d in await rows(database_url, "release_deployments")}
    assert found == {1: ("CANCELLED", minute(5)), 2: ("PENDING", minute(5))}
    changes = [
        (content["attempt"], content["change"]["from"], content["change"]["to"])
        for activity in await rows(database_url, "release_activity_logs")
        if activity["created_at"] == minute(5)
        for content in [json.loads(activity["activity_data"])]
    ]
    assert sorted(changes) == [(1, "IN_PROGRESS", "CANCELLED"), (2, None, "PENDING")]


async def test_recorded_activity_changes_nothing_else(store: SqlStore, database_url: str) -> None:
    """With the publisher's type and data, beside the deployment it names."""
    builder = ReleaseMessages()
    await process_all([*builder.approved(), builder.deploy("started")], store)
    before = await contents(database_url, "releases", "release_deployments")
    custom = {"url": "https://scan.example/4", "Ergebnis": ["ok", None]}
    recorded_activity = builder.event(
        "activity.recorded",
        {"activity_type": "SCAN", "activity_data": custom, "environment_id": "production", "attempt": 1},
    )
    assert isinstance(await process(recorded_activity, store), Applied)
    assert await contents(database_url, "releases", "release_deployments") == before
    [activity] = [
        e for e in await rows(database_url, "release_activity_logs") if e["id"] == activity_id(recorded_activity)
    ]
    assert without_data(activity) == {
        "id": activity_id(recorded_activity),
        "created_at": minute(5),
        "updated_at": minute(5),
        "release_deployment_id": uuid5(NAMESPACE, f"{builder.release_id}/production/1/1"),
        "release_mgt_id": builder.release_id,
        "environment_id": "production",
        "activity_type": "SCAN",
        "status": "IN_PROGRESS",
    }
    assert '{"url":"https://scan.example/4","Ergebnis":["ok",null]}' in activity["activity_data"]


async def test_stale_event_is_logged_without_a_change(store: SqlStore, database_url: str) -> None:
    """Stale: logged, and no status moves."""
    builder = ReleaseMessages()
    await process_all([*builder.approved(), builder.deploy("succeeded", at=minute(9))], store)
    before = await contents(database_url, "releases", "release_deployments")
    late = builder.deploy("failed", at=minute(8))
    assert isinstance(await process(late, store), Stale)
    assert await contents(database_url, "releases", "release_deployments") == before
    [activity] = [e for e in await rows(database_url, "release_activity_logs") if e["id"] == activity_id(late)]
    assert (activity["activity_type"], activity["created_at"], activity["status"]) == (
        "EVENT_STALE",
        minute(8),
        "SUCCESS",
    )
