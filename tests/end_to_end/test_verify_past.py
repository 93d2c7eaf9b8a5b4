"""`rudder-worker verify` after a change of settings, or after retention has deleted records."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.conformance.producers import ToSend
from tests.end_to_end.release_records import MOMENT, ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.test_verify import ON_SQLITE, delete_before
from tests.end_to_end.verify_reports import run_verify, verify_report

SMALL = {"RUDDER_EVENT_BYTES_MAX": "2000"}


def long_events(builder: ReleaseRecords) -> list[ToSend]:
    """One event in each content mode whose value exceeds the small limit, and a repeat of one."""
    comment = {"comment": "x" * 3_000}
    events = [builder.record("deployment.started", {"environment_id": "e", **comment}, form="structured")]
    events.append(builder.record("deployment.succeeded", {"environment_id": "e", **comment}, form="binary"))
    return [*events, events[0]]


async def work(system: System, **settings: str) -> None:
    """Runs a worker until all is committed."""
    with system.worker(**settings) as worker:
        await system.caught_up(worker)
        assert await worker.stop() == 0


async def report_of(system: System, **settings: str) -> dict[str, Any]:
    return await verify_report(system, settings=settings)


@ON_SQLITE
async def test_event_rejected_under_a_smaller_limit_is_no_finding(system: System) -> None:
    """The rejection names its limit, and the record is longer than that."""
    builder = ReleaseRecords()
    await system.send([*builder.approved(), *long_events(builder)])
    await work(system, **SMALL)
    for settings in ({}, SMALL, {"RUDDER_EVENT_BYTES_MAX": "3000"}):
        report = await report_of(system, **settings)
        assert report["findings"] == [], settings
        assert report["counts"]["rejections"] > 0


@ON_SQLITE
async def test_event_accepted_under_a_larger_limit_is_no_finding(system: System) -> None:
    builder = ReleaseRecords()
    await system.send([*builder.approved(), *long_events(builder)])
    await work(system)
    for settings in ({}, SMALL):
        assert (await report_of(system, **settings))["findings"] == [], settings


@ON_SQLITE
async def test_event_reread_under_a_larger_limit_is_no_finding(system: System) -> None:
    """The first decision left a rejection and a dead letter; the second one applied the event."""
    builder = ReleaseRecords()
    await system.send([*builder.approved(), *long_events(builder)])
    await work(system, **SMALL)
    again = system.with_database(system.database_url)
    await work(again)
    for settings in ({}, SMALL):
        assert (await report_of(again, **settings))["findings"] == [], settings


@ON_SQLITE
async def test_rejection_within_its_own_limit_is_a_finding(system: System) -> None:
    """A rejection of a record within the limit that the rejection names is a fault of the worker."""
    builder = ReleaseRecords()
    await system.send([*builder.approved(), *long_events(builder)[:1]])
    await work(system, **SMALL)
    with closing(sqlite3.connect(str(make_url(system.database_url).database))) as database, database:
        database.execute("UPDATE release_event_rejections SET detail = replace(detail, '2000', '9000')")
    assert {finding["kind"] for finding in (await report_of(system))["findings"]} == {"lost", "invented"}


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
async def test_records_deleted_unread_are_reported(system: System) -> None:
    """Records deleted after the committed offset are lost; once the commit passes them, `verify` counts the gap."""
    builder = ReleaseRecords()
    await system.send(builder.approved())
    await work(system)
    [partition] = [number for number, offset in enumerate(await system.committed_offsets()) if offset]
    await system.send([builder.deploy(step) for step in ("requested", "started", "succeeded")])
    await delete_before(system, {system.topics.events: 5})
    report = await run_verify(system, code=1)
    [finding] = [one for one in report["findings"] if "deleted" in one["found"]]
    assert (finding["kind"], finding["partition"], finding["offset"]) == ("lost", partition, 3)
    assert "offsets 3 to 4 (2) deleted by retention" in finding["found"]
    assert report["counts"]["expired"] == 2
    await work(system)
    report = await verify_report(system)
    gap = {"topic": system.topics.events, "partition": partition, "from": 3, "to": 4, "count": 2}
    assert (report["expired"], report["counts"]["expired"]) == ([gap], 2)


@ON_SQLITE
async def test_tombstones_are_counted_and_no_finding(system: System) -> None:
    builder = ReleaseRecords()
    first = builder.approved()
    await system.send([*first, ToSend(value=None, key=first[0].key)])
    await work(system)
    report = await report_of(system)
    assert report["findings"] == []
    assert [report["counts"][name] for name in ("records", "tombstones", "rejections")] == [4, 1, 0]


@ON_SQLITE
@pytest.mark.parametrize(("then", "now"), [("1", "0"), ("0", "1")], ids=["rejected then", "accepted then"])
async def test_future_event_is_decided_by_the_limit_of_its_time(system: System, then: str, now: str) -> None:
    """The event's time is after the record's timestamp by more than one of the two limits."""
    builder, name = ReleaseRecords(), "RUDDER_EVENT_AHEAD_MAX_SECONDS"
    early = int(MOMENT.timestamp() * 1000) - 3_600_000
    ahead = replace(builder.deploy("started"), timestamp_ms=early)
    await system.send([*builder.approved(), ahead, ahead])
    await work(system, **{name: then})
    for settings in ({name: then}, {name: now}):
        assert (await report_of(system, **settings))["findings"] == [], settings
