"""`rudder-worker verify` of a system whose settings were others, or whose records retention has deleted."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.conformance.producers import ToSend
from tests.end_to_end.events import MOMENT, Story
from tests.end_to_end.stage import Stage
from tests.end_to_end.test_verify import ON_SQLITE, delete_before
from tests.end_to_end.verifying import compared, verified

SMALL = {"RUDDER_EVENT_BYTES_MAX": "2000"}


def long_events(story: Story) -> list[ToSend]:
    """One event in each content mode whose value is longer than the small limit allows, and one that repeats."""
    comment = {"comment": "x" * 3_000}
    events = [story.tell("deployment.started", {"environment_id": "e", **comment}, voice="structured")]
    events.append(story.tell("deployment.succeeded", {"environment_id": "e", **comment}, voice="binary"))
    return [*events, events[0]]


async def work(stage: Stage, **settings: str) -> None:
    """Until all is committed."""
    with stage.worker(**settings) as worker:
        await stage.caught_up(worker)
        assert await worker.stop() == 0


async def report_of(stage: Stage, **settings: str) -> dict[str, Any]:
    return await compared(stage, settings=settings)


@ON_SQLITE
async def test_event_rejected_under_a_smaller_limit_is_no_finding(stage: Stage) -> None:
    """The rejection names its limit, and the record is longer than that."""
    story = Story()
    await stage.send([*story.approved(), *long_events(story)])
    await work(stage, **SMALL)
    for settings in ({}, SMALL, {"RUDDER_EVENT_BYTES_MAX": "3000"}):
        report = await report_of(stage, **settings)
        assert report["findings"] == [], settings
        assert report["counts"]["rejections"] > 0


@ON_SQLITE
async def test_event_accepted_under_a_larger_limit_is_no_finding(stage: Stage) -> None:
    story = Story()
    await stage.send([*story.approved(), *long_events(story)])
    await work(stage)
    for settings in ({}, SMALL):
        assert (await report_of(stage, **settings))["findings"] == [], settings


@ON_SQLITE
async def test_event_reread_under_a_larger_limit_is_no_finding(stage: Stage) -> None:
    """Its first reading left a rejection and a dead letter, its second an effect."""
    story = Story()
    await stage.send([*story.approved(), *long_events(story)])
    await work(stage, **SMALL)
    again = stage.over(stage.database_url)
    await work(again)
    for settings in ({}, SMALL):
        assert (await report_of(again, **settings))["findings"] == [], settings


@ON_SQLITE
async def test_rejection_within_its_own_limit_is_a_finding(stage: Stage) -> None:
    """A worker that rejects what is within the limit that it names is at fault."""
    story = Story()
    await stage.send([*story.approved(), *long_events(story)[:1]])
    await work(stage, **SMALL)
    with closing(sqlite3.connect(str(make_url(stage.database_url).database))) as database, database:
        database.execute("UPDATE release_event_rejections SET detail = replace(detail, '2000', '9000')")
    assert {finding["kind"] for finding in (await report_of(stage))["findings"]} == {"lost", "invented"}


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
async def test_records_deleted_unread_are_reported(stage: Stage) -> None:
    """What was deleted beyond the commit is lost; later, when the commit has passed it, the gap in the rows is told."""
    story = Story()
    await stage.send(story.approved())
    await work(stage)
    [partition] = [number for number, offset in enumerate(await stage.committed_offsets()) if offset]
    await stage.send([story.deploy(step) for step in ("requested", "started", "succeeded")])
    await delete_before(stage, {stage.topics.events: 5})
    report = await verified(stage, code=1)
    [finding] = [one for one in report["findings"] if "deleted" in one["found"]]
    assert (finding["kind"], finding["partition"], finding["offset"]) == ("lost", partition, 3)
    assert "offsets 3 to 4 are deleted and not committed (2)" in finding["found"]
    assert report["counts"]["expired"] == 2
    await work(stage)
    report = await compared(stage)
    gap = {"topic": stage.topics.events, "partition": partition, "from": 3, "to": 4, "count": 2}
    assert (report["expired"], report["counts"]["expired"]) == ([gap], 2)


@ON_SQLITE
async def test_tombstones_are_counted_and_no_finding(stage: Stage) -> None:
    story = Story()
    first = story.approved()
    await stage.send([*first, ToSend(value=None, key=first[0].key)])
    await work(stage)
    report = await report_of(stage)
    assert report["findings"] == []
    assert [report["counts"][name] for name in ("records", "tombstones", "rejections")] == [4, 1, 0]


@ON_SQLITE
@pytest.mark.parametrize(("then", "now"), [("1", "0"), ("0", "1")], ids=["rejected then", "accepted then"])
async def test_future_event_is_decided_by_the_limit_of_its_time(stage: Stage, then: str, now: str) -> None:
    """Its time is after the record's timestamp, by more than the one limit allows."""
    story, name = Story(), "RUDDER_EVENT_AHEAD_MAX_SECONDS"
    early = int(MOMENT.timestamp() * 1000) - 3_600_000
    ahead = replace(story.deploy("started"), timestamp_ms=early)
    await stage.send([*story.approved(), ahead, ahead])
    await work(stage, **{name: then})
    for settings in ({name: then}, {name: now}):
        assert (await report_of(stage, **settings))["findings"] == [], settings
