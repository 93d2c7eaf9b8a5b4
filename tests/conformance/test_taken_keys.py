"""A primary key that another row already has, on every database: the event is rejected, and the others go on."""

import asyncio

from tests.conformance.release_messages import SOURCE, ReleaseMessages, minute
from tests.conformance.stores import migrate, opened
from tests.conformance.table_contents import insert_rows, row, rows
from tests.unit.pipeline.scripted import ScriptedPublisher, ScriptedSource, SimulatedClock, make_delivery, the_monitors
from worker.pipeline.breaker import Breaker
from worker.pipeline.consumer import Bounds, Consumer
from worker.ports import Partition
from worker.rules.identity import activity_id
from worker.telemetry import Metrics

BOUNDS = Bounds(
    concurrency=1,
    in_flight_records_max=100,
    in_flight_bytes_max=1_000_000,
    event_bytes_max=1_000_000,
    event_ahead_max_seconds=86_400,
    commit_interval_seconds=0.0,
    poll_timeout_seconds=0.25,
    drain_timeout_seconds=5.0,
    commit_lag_records_max=100,
    keep_alive_seconds=5.0,
)


async def test_taken_primary_key_blocks_no_partition(database_url: str) -> None:
    """Seen in trusted systems. An entry already has the id that the event's second entry needs: after a bounded number
    of attempts the event has a rejection and a dead letter, and the records behind it are handled.
    """
    await migrate(database_url)
    release, other = ReleaseMessages(), ReleaseMessages()
    before = release.approved()
    frozen = release.deploy("succeeded")
    behind = [release.deploy("failed"), *other.approved()]
    taken = activity_id(source=SOURCE, event_id=f"{release.release_id}/{release.count - 1}", position=1)
    clock, publisher, metrics, stop = SimulatedClock(), ScriptedPublisher(), Metrics(), asyncio.Event()
    source = ScriptedSource([message.record for message in before])
    partition = Partition(frozen.record.topic, frozen.record.partition)
    async with opened(database_url) as store, asyncio.TaskGroup() as group:
        monitors, breaker = the_monitors(store, publisher, clock, metrics), Breaker(events=0, rejected_share_max=0.5)
        consumer = Consumer(
            client=source,
            delivery=make_delivery(store, publisher, clock, monitors=monitors, breaker=breaker, metrics=metrics),
            monitors=monitors,
            breaker=breaker,
            bounds=BOUNDS,
            clock=clock,
            metrics=metrics,
        )
        await consumer.join()
        group.create_task(consumer.run(stop))
        await committed(source, partition, before[-1].record.offset + 1)
        squatter = {"id": taken, "created_at": minute(0), "updated_at": minute(0), "activity_type": "NOTE"}
        await insert_rows(
            database_url,
            "release_activity_logs",
            [{**squatter, "release_mgt_id": release.release_id, "activity_data": "{}", "status": "APPROVED"}],
        )
        source.records += [message.record for message in (frozen, *behind)]
        await committed(source, partition, behind[-1].record.offset + 1)
        stop.set()
    rejected = await row(database_url, "release_event_rejections")
    assert (rejected["reason"], rejected["topic_offset"]) == ("processing_error", frozen.record.offset)
    assert len([one for one in publisher.published if one.topic == "dead-letters"]) == 1
    assert [one["status"] for one in await rows(database_url, "release_deployments")] == ["FAILED"]
    assert len(await rows(database_url, "releases")) == 2


async def committed(source: ScriptedSource, partition: Partition, offset: int) -> None:
    """Returns once the offset is committed; the test's own timeout bounds the wait."""
    while source.committed.get(partition) != offset:
        await asyncio.sleep(0)
