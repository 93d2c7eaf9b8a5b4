"""`rudder-worker verify` of topics that were deleted and created again: the rows of the earlier log are no faults, and
what is wrong with the records of the new one is found.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from tests.conformance.producers import ToSend
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import PARTITIONS, System
from tests.end_to_end.test_verify import ON_SQLITE
from tests.end_to_end.test_verify_past import work
from tests.end_to_end.verify_reports import LOG, REJECTIONS, verify_report
from tests.testkit.topic_creation import create_topics
from tests.testkit.topics import delete_topics

ON_APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
BAD = (ToSend(value=b"{"), ToSend(value=b"[]"))


def deployed(builder: ReleaseRecords) -> list[ToSend]:
    return [*builder.approved(), *(builder.deploy(step) for step in ("requested", "started", "succeeded"))]


def in_one_partition(records: Sequence[ToSend]) -> list[ToSend]:
    return [replace(record, partition=0) for record in records]


async def recreate(system: System, *topics: str, partitions: int = PARTITIONS) -> None:
    delete_topics(system.bootstrap_servers, list(topics))
    await create_topics(system.bootstrap_servers, dict.fromkeys(topics, partitions))


def regrouped(system: System) -> System:
    """By a group without commits, as after the deletion of the topic."""
    return replace(system, group_id=f"group.{uuid4().hex}")


def change(system: System, statement: str) -> None:
    with closing(sqlite3.connect(str(make_url(system.database_url).database))) as database, database:
        database.execute(statement)
        assert database.total_changes, statement


def handled(report: dict[str, Any]) -> list[tuple[str, str | None, int | None]]:
    return [(one["kind"], one["table"], one["offset"]) for one in report["findings"]]


@ON_APACHE
@pytest.mark.parametrize("outputs_too", [False, True], ids=["input", "every topic"])
async def test_rows_of_an_earlier_log_are_counted_and_no_finding(system: System, outputs_too: bool) -> None:
    """Before and after: a release, a rejected change, records that are no events; one release has events in both."""
    old, both, new = ReleaseRecords(), ReleaseRecords(), ReleaseRecords()
    await system.send(
        in_one_partition(
            [*BAD, *deployed(old), old.record("release.rejected"), *both.approved(), old.deploy("started")]
        )
    )
    await work(system)
    names = system.topics
    outputs = (names.deployment_status, names.release_status, names.dead_letters) if outputs_too else ()
    await recreate(system, names.events, *outputs)
    assert (await verify_report(system))["findings"] == []
    await system.send(in_one_partition([BAD[1], both.deploy("started"), *deployed(new), BAD[0]]))
    assert (await verify_report(system))["findings"] == []
    await work(system)
    report = await verify_report(system)
    assert report["findings"] == []
    assert report["counts"]["recreated"] == 13 + (0 if outputs_too else 3)
    assert report["counts"]["rejections"] == 5


@ON_SQLITE
async def test_faults_of_the_new_log_are_found_beside_earlier_rows(system: System) -> None:
    old, new = ReleaseRecords(), ReleaseRecords()
    await system.send(in_one_partition([*BAD, *deployed(old)]))
    await work(system)
    await recreate(system, system.topics.events)
    again = regrouped(system)
    await again.send(in_one_partition([*deployed(new), new.record("release.rejected"), BAD[0]]))
    await work(again)
    assert (await verify_report(again))["findings"] == []
    change(again, f"DELETE FROM {REJECTIONS} WHERE topic_offset = 7")
    assert handled(await verify_report(again))[0] == ("lost", REJECTIONS, 7)
    change(again, f"UPDATE {REJECTIONS} SET reason = 'attempt_gap' WHERE topic_offset = 6")
    found = handled(await verify_report(again))
    assert ("contradictory", REJECTIONS, 6) in found
    change(again, f"DELETE FROM {LOG} WHERE release_mgt_id = '{new.release_id}' AND activity_type LIKE 'DEPLOYMENT%'")
    found = handled(await verify_report(again))
    assert {("lost", LOG, offset) for offset in (3, 4, 5)} <= set(found)


@ON_SQLITE
async def test_events_republished_in_another_order_are_no_finding(system: System) -> None:
    """The new log is filled from elsewhere, in fewer partitions; each event is a duplicate at another place."""
    builder, other = ReleaseRecords(), ReleaseRecords()
    records = [BAD[0], *deployed(builder), builder.record("release.rejected")]
    await system.send([replace(record, partition=2) for record in records])
    await work(system)
    await recreate(system, system.topics.events, partitions=1)
    again = regrouped(system)
    await again.send(in_one_partition([*deployed(other), *records]))
    await work(again)
    report = await verify_report(again)
    assert report["findings"] == []
    assert report["counts"]["recreated"] > 0


@ON_SQLITE
async def test_tombstone_in_place_of_a_rejected_record_is_no_finding(system: System) -> None:
    await system.send(in_one_partition(BAD[:1]))
    await work(system)
    await recreate(system, system.topics.events)
    again = regrouped(system)
    await again.send(in_one_partition([ToSend(value=None, key=b"k"), *ReleaseRecords().approved()]))
    await work(again)
    report = await verify_report(again)
    assert (report["findings"], report["counts"]["tombstones"]) == ([], 1)


@ON_SQLITE
async def test_event_corrected_at_the_same_position_is_no_finding(system: System) -> None:
    """A duplicate of what was rejected in the earlier log; its dead letter is published again."""
    builder = ReleaseRecords()
    right = builder.record("release.created", builder.fields)
    wrong = replace(right, value=b"{}")
    await system.send(in_one_partition([replace(wrong, timestamp_ms=1_700_000_000_000)]))
    await work(system)
    await recreate(system, system.topics.events)
    again = regrouped(system)
    await again.send(in_one_partition([right]))
    await work(again)
    assert (await verify_report(again))["findings"] == []
