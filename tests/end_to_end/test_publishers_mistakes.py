"""What publishers do without knowing it, on a real broker and database: none of it may cost another event."""

import json
import re
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.producers import ToSend, headers_of
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import PARTITIONS, System
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics


def with_headers(record: ToSend, **changed: str) -> ToSend:
    """In binary mode."""
    headers = tuple(
        (name, changed.get(name.removeprefix("ce_"), "").encode() or value) for name, value in record.headers
    )
    return replace(record, headers=headers)


ON_APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)


async def metric(worker: Any, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", (await worker.get("/metrics")).text, re.MULTILINE)
    assert found, name
    return float(found[1])


async def test_equal_seconds_tombstones_and_wrong_clocks_are_handled(system: System) -> None:
    """The start is overtaken by its success, an end has the start's id, a clock shows 2099, a topic was compacted."""
    builder, other = ReleaseRecords(), ReleaseRecords()
    succeeded, started = builder.deploy("succeeded"), builder.deploy("started")
    moment = dict(succeeded.headers)["ce_time"] or b""
    far_ahead = with_headers(builder.deploy("requested"), time="2099-01-01T00:00:00Z")
    begun = other.deploy("started")
    reusing = with_headers(other.deploy("succeeded"), id=(dict(begun.headers)["ce_id"] or b"").decode())
    tombstones = [ToSend(value=None, key=succeeded.key, partition=0)] * 60
    records = [
        *builder.approved(),
        *other.approved(),
        succeeded,
        with_headers(started, time=moment.decode()),
        far_ahead,
        *tombstones,
        begun,
        reusing,
        builder.deploy("rolled_back"),
    ]
    with system.worker(RUDDER_BREAKER_EVENTS="20") as worker:
        await system.send([replace(record, partition=0) for record in records])
        await system.caught_up(worker)
        assert await metric(worker, "rudder_tombstones_total") == len(tombstones)
        assert await metric(worker, "rudder_identity_reused_total") == 1
        assert await metric(worker, "rudder_breaker_open") == 0
        assert await worker.stop() == 0
    rows = await system.rows()
    statuses = {(row["release_mgt_id"], row["attempt"]): row["status"] for row in rows["release_deployments"]}
    assert statuses == {(builder.release_id, 1): "ROLLED_BACK", (other.release_id, 1): "IN_PROGRESS"}
    assert [row["reason"] for row in rows["release_event_rejections"]] == ["invalid_data"]
    letters = [dict(headers_of(letter)) for letter in await system.read(system.topics.dead_letters)]
    assert ["/time: is " in (letter["rudder-detail"] or b"").decode() for letter in letters] == [True]
    lines = [json.loads(line) for line in worker.stderr.splitlines()]
    reused = [line for line in lines if line["event"] == "identity.reused"]
    assert [(line["level"], line["first_type"], line["type"]) for line in reused] == [
        ("warning", "dev.rudder.deployment.started.v1", "dev.rudder.deployment.succeeded.v1")
    ]


@ON_APACHE
async def test_release_number_goes_to_the_first_claim(system: System) -> None:
    """Twenty pairs of releases, each of two tracks that some database takes for one; none depends on timing."""
    firsts, records = [], []
    for _ in range(20):
        first, second = ReleaseRecords(), ReleaseRecords()
        second.component_id = first.component_id
        collides = {**second.fields, "deployment_track_id": "Main \U0001fae8"}
        firsts.append(first.release_id)
        records += [first.deploy("started", release=first.fields), second.deploy("started", release=collides)]
    with system.worker() as worker:
        await system.send([replace(record, partition=0) for record in records])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    rows = await system.rows()
    assert {row["id"] for row in rows["releases"]} == set(firsts)
    assert [row["reason"] for row in rows["release_event_rejections"]] == ["release_conflict"] * 20


@ON_APACHE
async def test_bad_record_of_a_recreated_topic_is_another_record(system: System) -> None:
    """At the same place, with an id and a reason of its own."""
    with system.worker() as worker:
        await system.send([ToSend(value=b"{", partition=0, timestamp_ms=1_700_000_000_000)])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    delete_topics(system.bootstrap_servers, [system.topics.events])
    await create_topics(system.bootstrap_servers, {system.topics.events: PARTITIONS})
    again = replace(system, group_id=f"group.{uuid4().hex}")
    with again.worker() as worker:
        await again.send([ToSend(value=b"[]", partition=0, timestamp_ms=1_700_000_000_001)])
        await again.caught_up(worker)
        assert await worker.stop() == 0
    rows = (await system.rows())["release_event_rejections"]
    assert sorted((row["topic_offset"], row["reason"]) for row in rows) == [
        (0, "malformed_json"),
        (0, "not_a_cloudevent"),
    ]
    letters = [dict(headers_of(letter)) for letter in await system.read(system.topics.dead_letters)]
    assert {(letter["rudder-id"] or b"").decode() for letter in letters} == {str(row["id"]) for row in rows}
