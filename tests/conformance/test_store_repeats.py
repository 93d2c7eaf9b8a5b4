"""Known events and refused ones: what was decided once stays decided, until an operator asks again."""

from collections.abc import AsyncIterator
from uuid import uuid5

import pytest

from schemas.derived_ids import NAMESPACE
from tests.conformance.release_messages import SOURCE, TOPIC, ReleaseMessages, message, minute, redriven
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import WORKERS_TABLES, contents, row, rows
from worker.db.store import SqlStore
from worker.pipeline.transaction import give_up, process
from worker.rules.state import Applied, Duplicate, Rejected, Stale


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    await migrate(database_url)
    async with opened(database_url) as store:
        yield store


async def test_duplicate_changes_nothing(store: SqlStore, database_url: str) -> None:
    """For ever: each kind of event again, after all that followed it."""
    builder = ReleaseMessages()
    messages = [*builder.approved(), builder.deploy("started"), builder.deploy("failed"), builder.deploy("started")]
    messages += [builder.event("release.approved"), builder.event("release.approved", {"organization_id": 7})]
    first = await process_all(messages, store)
    before = await contents(database_url)
    again = await process_all(messages, store)
    assert await contents(database_url) == before
    assert {type(outcome) for outcome in again} == {Duplicate}
    for then, now in zip(first, again, strict=True):
        assert isinstance(now, Duplicate)
        if isinstance(then, Rejected):
            assert now.rejection == then.rejection
        else:
            assert isinstance(then, Applied | Stale)
            assert now.activities == then.changes.activities


async def test_record_without_identity_is_known_by_its_position(store: SqlStore, database_url: str) -> None:
    """And by nothing else: its row is derived from topic, partition, offset and timestamp, its time is the record's."""
    nameless = message(b"\xff no event")
    assert isinstance(await process(nameless, store), Rejected)
    found = await row(database_url, "release_event_rejections")
    assert found.pop("detail")
    assert found == {
        "id": uuid5(NAMESPACE, f"{TOPIC}/0/{nameless.record.offset}/{nameless.record.timestamp_ms}"),
        "created_at": nameless.recorded_at,
        "reason": "malformed_json",
        "event_source": None,
        "event_id": None,
        "event_type": None,
        "release_mgt_id": None,
        "topic": TOPIC,
        "topic_partition": 0,
        "topic_offset": nameless.record.offset,
        "resolved_at": None,
    }
    assert isinstance(await process(nameless, store), Duplicate)
    assert sum(map(len, (await contents(database_url, *WORKERS_TABLES)).values())) == 1


async def test_rejected_event_writes_only_its_rejection(store: SqlStore, database_url: str) -> None:
    """With its identity and its place; not even the release that its block would have made is there."""
    builder = ReleaseMessages()
    gap = builder.deploy("started", attempt=3, release=builder.fields)
    assert isinstance(await process(gap, store), Rejected)
    found = await row(database_url, "release_event_rejections")
    assert found.pop("detail")
    assert found == {
        "id": uuid5(NAMESPACE, f"{SOURCE}\n{gap.content.id}"),
        "created_at": minute(1),
        "reason": "attempt_gap",
        "event_source": SOURCE,
        "event_id": gap.content.id,
        "event_type": "dev.rudder.deployment.started.v1",
        "release_mgt_id": builder.release_id,
        "topic": TOPIC,
        "topic_partition": 0,
        "topic_offset": gap.record.offset,
        "resolved_at": None,
    }
    assert sum(map(len, (await contents(database_url, *WORKERS_TABLES)).values())) == 1


async def test_successful_redrive_resolves_its_rejection(store: SqlStore, database_url: str) -> None:
    """At the time of the record that brought it back; without the header it stays what it was."""
    builder = ReleaseMessages()
    early = builder.deploy("requested", at=minute(9))
    assert isinstance(await process(early, store), Rejected)
    await process_all(builder.approved(), store)
    assert isinstance(await process(early, store), Duplicate)
    assert (await row(database_url, "release_event_rejections"))["resolved_at"] is None
    back = redriven(early)
    assert isinstance(await process(back, store), Applied)
    found = await row(database_url, "release_event_rejections")
    assert found["resolved_at"] == back.recorded_at
    assert (found["created_at"], found["reason"]) == (minute(9), "release_not_found")
    assert (await row(database_url, "release_deployments"))["status"] == "PENDING"
    before = await contents(database_url)
    assert isinstance(await process(redriven(early), store), Duplicate)
    assert isinstance(await process(early, store), Duplicate)
    assert await contents(database_url) == before


async def test_rejected_redrive_updates_its_rejection(store: SqlStore, database_url: str) -> None:
    """Still one row: the new reason, detail and place; its id, and its time, stay."""
    builder = ReleaseMessages()
    early = builder.deploy("requested", at=minute(9))
    await process(early, store)
    before = await row(database_url, "release_event_rejections")
    await process(builder.created(), store)
    back = redriven(early)
    outcome = await process(back, store)
    assert isinstance(outcome, Rejected)
    assert outcome.again
    found = await row(database_url, "release_event_rejections")
    assert found["detail"] != before["detail"]
    changed = {"reason": "release_not_deployable", "detail": found["detail"], "topic_offset": back.record.offset}
    assert found == before | changed
    assert await rows(database_url, "release_deployments") == []


@pytest.mark.parametrize("named", [True, False], ids=["another release", "no release"])
async def test_rejection_describes_the_last_decision(store: SqlStore, database_url: str, named: bool) -> None:
    """Redriven under its old id as another type, of another release or none that can be read: as why and where."""
    builder, other = ReleaseMessages(), ReleaseMessages()
    await process(builder.deploy("requested"), store)
    before = await row(database_url, "release_event_rejections")
    retyped = other.deploy("failed", release_id=str(other.release_id) if named else 7).record
    headers = tuple((name, before["event_id"].encode() if name == "ce_id" else raw) for name, raw in retyped.headers)
    outcome = await process(redriven(message(retyped.value, headers)), store)
    assert isinstance(outcome, Rejected)
    assert outcome.again
    found = await row(database_url, "release_event_rejections")
    assert (found["event_type"], before["event_type"]) == (
        "dev.rudder.deployment.failed.v1",
        "dev.rudder.deployment.requested.v1",
    )
    assert found["release_mgt_id"] == (other.release_id if named else None)
    assert [found[name] for name in ("id", "created_at")] == [before[name] for name in ("id", "created_at")]


async def test_abandoned_message_is_a_processing_error(store: SqlStore, database_url: str) -> None:
    """Unless an earlier try was written after all: then it is known, and stays what it is."""
    builder = ReleaseMessages()
    hopeless, written = builder.created(), builder.event("release.submitted")
    outcome = await give_up(hopeless, store, detail="TypeError: something of the worker's own")
    assert isinstance(outcome, Rejected)
    found = await row(database_url, "release_event_rejections")
    assert (found["reason"], found["detail"]) == ("processing_error", "TypeError: something of the worker's own")
    await process(redriven(hopeless), store)
    await process(written, store)
    before = await contents(database_url)
    assert isinstance(await give_up(written, store, detail="too late"), Duplicate)
    assert await contents(database_url) == before
