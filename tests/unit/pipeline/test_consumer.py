"""The consumer commits only finished records, gives up partitions in order, and polls at all times."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid5

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from schemas.record import Record
from tests.unit.pipeline.scripted import (
    NAMESPACE,
    ScriptedPublisher,
    ScriptedSource,
    ScriptedStore,
    SimulatedClock,
    created,
    garbage,
    make_delivery,
    the_monitors,
)
from tests.unit.pipeline.test_breaker import an_opening
from worker.pipeline.breaker import Breaker
from worker.pipeline.consumer import Bounds, Consumer
from worker.pipeline.linked_event import LinkedEvent
from worker.pipeline.state_order import StateOrder
from worker.ports import OutgoingRecord, Partition, PartitionsLost
from worker.rules.errors import FatalClientError, Unavailable
from worker.telemetry import LogEvent, Metrics

P0, P1 = Partition("in", 0), Partition("in", 1)


class Harness:
    """A consumer on scripted ports. `running` runs it for the duration of a block."""

    def __init__(
        self,
        *records: Record,
        records_max: int = 100,
        bytes_max: int = 1_000_000,
        commit_lag_records_max: int = 100_000,
        breaker_events: int = 0,
        holds_assigned: bool = False,
        drain_timeout_seconds: float = 5.0,
        state_order: StateOrder | None = None,
    ) -> None:
        self.source = ScriptedSource(records)
        self.store = ScriptedStore()
        self.publisher = ScriptedPublisher()
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        self.stop = asyncio.Event()
        self.monitors = the_monitors(self.store, self.publisher, self.clock, self.metrics)
        self.breaker = Breaker(events=breaker_events, rejected_share_max=0.5)
        self.consumer = Consumer(
            client=self.source,
            delivery=make_delivery(
                self.store,
                self.publisher,
                self.clock,
                monitors=self.monitors,
                breaker=self.breaker,
                metrics=self.metrics,
                state_order=state_order,
            ),
            monitors=self.monitors,
            breaker=self.breaker,
            bounds=Bounds(
                concurrency=8,
                in_flight_records_max=records_max,
                in_flight_bytes_max=bytes_max,
                event_bytes_max=1_000_000,
                event_ahead_max_seconds=86_400,
                commit_interval_seconds=0.0,
                poll_timeout_seconds=0.25,
                drain_timeout_seconds=drain_timeout_seconds,
                commit_lag_records_max=commit_lag_records_max,
                keep_alive_seconds=5.0,
            ),
            clock=self.clock,
            metrics=self.metrics,
            holds_assigned=holds_assigned,
            state_order=state_order,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.consumer.join()
        assert self.source.on_assigned is not None
        await self.source.on_assigned([P0, P1])
        async with asyncio.TaskGroup() as group:
            group.create_task(self.consumer.run(self.stop))
            yield
            self.stop.set()

    async def revoke(self, *partitions: Partition) -> None:
        assert self.source.on_revoked is not None
        await self.source.on_revoked(partitions)


async def until(condition: Callable[[], bool]) -> None:
    """Let the other tasks run until the condition holds; the test's own timeout bounds the wait."""
    while not condition():
        await asyncio.sleep(0)


async def test_completed_offsets_are_committed_before_leaving() -> None:
    harness = Harness(created("a", offset=0), created("b", offset=1), created("c", offset=7, partition=1))
    async with harness.running():
        await until(lambda: harness.source.committed == {P0: 2, P1: 8})
    assert harness.source.stopped
    assert len(harness.publisher.published) == 3


async def test_offset_waits_for_every_record_before_it() -> None:
    """Invariant 1; covers the known failure "a record skipped by commits out of order"."""
    harness = Harness(created("slow", offset=0), created("fast", offset=1), created("other", offset=5, partition=1))
    harness.store.faults.extend([Unavailable("down")] * 3)  # for the first attempts of all three
    async with harness.running():
        await until(lambda: bool(harness.source.commits))
        for commit in harness.source.commits:
            assert commit.get(P0) in {None, 1, 2}
        await until(lambda: harness.source.committed == {P0: 2, P1: 6})


async def test_offset_waits_for_the_acknowledged_publication() -> None:
    harness = Harness(created("a", offset=0))
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: bool(harness.store.written))
        polled = len(harness.source.polls)
        await until(lambda: len(harness.source.polls) > polled + 20)
        assert harness.source.commits == []
        harness.publisher.acknowledging.set()
        await until(lambda: harness.source.committed == {P0: 1})


async def test_revocation_finishes_and_commits_begun_work_only() -> None:
    """The key's second record is not begun; the partition's next owner handles it."""
    harness = Harness(created("a", offset=0))
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: bool(harness.store.written))
        harness.source.records.append(created("a", offset=1))
        await until(lambda: not harness.source.records)
        revoking = asyncio.ensure_future(harness.revoke(P0, P1))
        polled = len(harness.source.polls)
        await until(lambda: len(harness.source.polls) > polled + 20)
        assert not revoking.done()
        harness.publisher.acknowledging.set()
        await revoking
        assert harness.source.committed == {P0: 1}
        assert len(harness.store.written) == 1


async def test_revocation_does_not_disturb_other_partitions() -> None:
    harness = Harness(created("goes", offset=0), created("stays", offset=0, partition=1))
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: len(harness.store.written) == 2)
        revoking = asyncio.ensure_future(harness.revoke(P0))
        harness.publisher.acknowledging.set()
        await revoking
        await until(lambda: harness.source.committed == {P0: 1, P1: 1})
        harness.source.records.append(created("more", offset=1, partition=1))
        await until(lambda: harness.source.committed[P1] == 2)


async def test_returning_partition_is_read_from_its_commit() -> None:
    harness = Harness(created("a", offset=0))
    async with harness.running():
        await until(lambda: harness.source.committed == {P0: 1})
        await harness.revoke(P0)
        assert harness.source.on_assigned is not None
        await harness.source.on_assigned([P0])
        harness.source.records.append(created("a", offset=0))  # as if the commit had been lost
        harness.source.commits.clear()
        await until(lambda: harness.source.committed == {P0: 1})


async def test_unfinished_work_is_dropped_and_not_committed() -> None:
    harness = Harness(created("a", offset=0))
    harness.publisher.acknowledging.clear()
    object.__setattr__(harness.consumer._bounds, "drain_timeout_seconds", 0.0)
    async with harness.running():
        await until(lambda: bool(harness.store.written))
        await harness.revoke(P0)
        harness.publisher.acknowledging.set()
        polled = len(harness.source.polls)
        await until(lambda: len(harness.source.polls) > polled + 20)
    assert harness.source.commits == []


async def test_failed_commit_is_repaired_by_the_next() -> None:
    """ "A consumer stuck after a failed commit": the next one carries what the failed one did not."""
    harness = Harness(created("a", offset=0))
    harness.source.commit_faults.extend([Unavailable("no coordinator"), PartitionsLost("rebalanced")])
    async with harness.running():
        await until(lambda: harness.source.committed == {P0: 1})
    assert harness.metrics.registry.get_sample_value("rudder_commits_total", {"result": "Unavailable"}) == 1
    assert harness.metrics.registry.get_sample_value("rudder_commits_total", {"result": "PartitionsLost"}) == 1


async def test_full_budget_stops_fetching_but_not_polling() -> None:
    """Back-pressure bounds the memory; a member that stops polling would be removed from its group."""
    records = [created(f"r{number}", offset=number // 2, partition=number % 2) for number in range(10)]
    harness = Harness(*records, records_max=3)
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: harness.source.polls.count(0) >= 3)
        fetched = 10 - len(harness.source.records)
        assert 1 <= fetched <= 3
        assert harness.metrics.registry.get_sample_value("rudder_in_flight_records") == fetched
        harness.publisher.acknowledging.set()
        await until(lambda: harness.source.committed == {P0: 5, P1: 5})
    assert max(harness.source.polls) <= 3
    assert harness.metrics.registry.get_sample_value("rudder_in_flight_records") == 0


async def test_bytes_limit_the_records_in_flight() -> None:
    size = len(created("r0", offset=0).value or b"")
    harness = Harness(*(created(f"r{offset}", offset=offset) for offset in range(10)), bytes_max=2 * size)
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: 0 in harness.source.polls)
        harness.publisher.acknowledging.set()
        await until(lambda: harness.source.committed == {P0: 10})


async def test_unavailable_broker_is_polled_again() -> None:
    harness = Harness(created("a", offset=0))
    harness.source.poll_faults.extend([Unavailable("away")] * 5)
    async with harness.running():
        await until(lambda: harness.source.committed == {P0: 1})


async def test_fatal_client_error_ends_the_worker() -> None:
    """Otherwise the worker would poll, report that it is alive, and handle no event."""
    harness = Harness()
    harness.source.poll_faults.append(FatalClientError("refused for good"))
    with pytest.raises(ExceptionGroup) as raised:
        async with harness.running():
            await asyncio.Event().wait()
    assert raised.group_contains(FatalClientError, match="refused for good")
    assert harness.source.stopped


async def test_stop_drains_and_commits() -> None:
    harness = Harness(created("done", offset=0), created("waiting", offset=1))
    async with harness.running():
        await until(lambda: harness.source.committed == {P0: 2})
        harness.store.faults.extend([Unavailable("down")] * 100_000)
        harness.source.records.append(created("waiting", offset=2))
        begun = harness.store.begun
        await until(lambda: harness.store.begun > begun + 3)
    assert harness.source.committed == {P0: 2}
    assert harness.source.stopped


async def test_record_before_the_assignment_callback_is_kept() -> None:
    """aiokafka assigns first and calls back later; records fetched in between have already moved the position."""
    harness = Harness()
    await harness.consumer.join()
    harness.source.records.append(created("early", offset=0))
    async with asyncio.TaskGroup() as group:
        group.create_task(harness.consumer.run(harness.stop))
        await until(lambda: bool(harness.store.written))
        assert harness.source.on_assigned is not None
        await harness.source.on_assigned([P0])
        await until(lambda: harness.source.committed == {P0: 1})
        harness.stop.set()


async def test_unexpected_error_ends_the_worker() -> None:
    """An unexpected error in a job must not leave a worker that polls and handles no event."""
    harness = Harness(created("a", offset=0))

    async def broken(*_: object) -> None:
        raise LookupError("a fault in the worker")

    harness.consumer._delivery.deliver = broken  # type: ignore[assignment,method-assign]
    with pytest.raises(ExceptionGroup) as raised:
        async with harness.running():
            await asyncio.Event().wait()
    assert raised.group_contains(LookupError)
    assert harness.source.stopped
    assert harness.source.commits == []


async def test_publisher_fault_ends_neither_worker_nor_partition() -> None:
    """A record that cannot be published becomes a dead letter, and the other releases go on."""
    harness = Harness(created("a", offset=0), created("b", offset=1), created("c", offset=2))
    publish = harness.publisher.publish
    broken = [str(uuid5(NAMESPACE, release)).encode() for release in ("a", "c")]

    async def broken_for_some(outgoing: Sequence[OutgoingRecord]) -> None:
        if any(one.topic == "releases" and one.key in broken for one in outgoing):
            raise LookupError("a fault in the publisher")
        await publish(outgoing)

    harness.publisher.publish = broken_for_some  # type: ignore[method-assign]
    with capture_logs():
        async with harness.running():
            await until(lambda: harness.source.committed == {P0: 3})
    assert [one.topic for one in harness.publisher.published].count("dead-letters") == 2
    assert harness.metrics.registry.get_sample_value("rudder_publish_failures_total") == 2


async def test_breaker_opens_for_events_that_cannot_be_published() -> None:
    """A fault of the worker's own must not turn a topic into dead letters."""
    harness = Harness(*(created(f"r{offset}", offset=offset) for offset in range(60)), breaker_events=10)
    publish = harness.publisher.publish

    async def broken(outgoing: Sequence[OutgoingRecord]) -> None:
        if any(one.topic == "releases" for one in outgoing):
            raise LookupError("a fault in the publisher")
        await publish(outgoing)

    harness.publisher.publish = broken  # type: ignore[method-assign]
    with capture_logs():
        async with harness.running():
            await until(lambda: is_open(harness))
    assert harness.breaker.tripped is not None
    assert harness.breaker.tripped.reasons == {"processing_error": harness.breaker.tripped.rejected}


async def test_records_with_one_identity_are_decided_in_offset_order() -> None:
    """They may name different releases and so have different keys; the offsets decide which one is the duplicate, not
    the faster job. Seen: a publisher that restarted its counter of ids.
    """
    first, other = created("first", offset=0), created("other", offset=1)
    blocking = created("first", offset=2)
    same_identity = Record(
        topic=other.topic,
        partition=other.partition,
        offset=3,
        timestamp_ms=other.timestamp_ms,
        key=None,
        value=other.value,
        headers=tuple((name, b"first in/0@2" if name == "ce_id" else value) for name, value in other.headers),
    )
    harness = Harness(first)
    harness.publisher.acknowledging.clear()  # holds the first of its key, and the second with the identity
    async with harness.running():
        await until(lambda: len(harness.store.written) == 1)
        harness.source.records.extend((blocking, same_identity))
        await until(lambda: not harness.source.records)
        polled = len(harness.source.polls)
        await until(lambda: len(harness.source.polls) > polled + 20)
        assert len(harness.store.written) == 1
        harness.publisher.acknowledging.set()
        await until(lambda: harness.source.committed == {P0: 4})
    assert harness.store.offsets == [0, 2, 3]


def on_track(track: str, record: Record) -> Record:
    data = json.loads(record.value or b"")
    return replace(record, value=json.dumps(data | {"deployment_track_id": track}).encode())


async def test_records_with_one_release_number_are_decided_in_offset_order() -> None:
    """The second release waits while the first is under way, though their keys differ: only one of them can have the
    number. Confusable tracks make the same claim.
    """
    tracks = {"first": "main", "second": "Main ", "third": "other", "fourth": "ma\u00efn"}
    records = [on_track(track, created(name, offset=offset)) for offset, (name, track) in enumerate(tracks.items())]
    harness = Harness(*records)
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: len(harness.store.written) == 2)
        polled = len(harness.source.polls)
        await until(lambda: len(harness.source.polls) > polled + 20)
        assert harness.store.offsets == [0, 2]
        harness.publisher.acknowledging.set()
        await until(lambda: harness.source.committed == {P0: 4})
    assert harness.store.offsets == [0, 2, 1, 3]


async def test_tombstones_are_skipped_and_counted() -> None:
    """Holds for all headers; an empty value is no tombstone. A tombstone takes no transaction or in-flight budget."""
    event = created("a", offset=1)
    records = [
        replace(event, offset=0, value=None, headers=()),
        event,
        replace(event, offset=2, value=None),
        replace(event, offset=3, value=b"", headers=()),
        replace(event, offset=4, value=None, key=b"k", headers=(("rudder-redrive", b""),)),
    ]
    harness = Harness(*records, breaker_events=2)
    async with harness.running():
        await until(lambda: harness.source.committed == {P0: 5})
    assert harness.store.offsets == [1, 3]
    assert [outgoing_record.topic for outgoing_record in harness.publisher.published] == ["releases", "dead-letters"]
    assert harness.metrics.registry.get_sample_value("rudder_tombstones_total") == 3
    assert harness.metrics.registry.get_sample_value("rudder_in_flight_records") == 0
    assert harness.breaker.tripped is None


async def test_unfinished_record_limits_the_records_behind_it() -> None:
    """The finished offsets behind it take memory, so a setting limits how many records are fetched."""
    harness = Harness(commit_lag_records_max=4)
    harness.publisher.acknowledging.clear()
    harness.source.records.extend(created(f"r{offset}", offset=offset) for offset in range(4))
    async with harness.running():
        await until(lambda: not harness.source.records)
        harness.source.records.extend(created(f"r{offset}", offset=offset) for offset in range(4, 8))
        await until(lambda: harness.source.paused.count(frozenset({P0})) >= 3)
        assert len(harness.source.records) == 4
        harness.publisher.acknowledging.set()
        await until(lambda: harness.source.committed == {P0: 8})


async def test_lower_offsets_of_a_new_log_are_followed() -> None:
    """A topic that was truncated or created again restarts at a lower offset; that is a new log, not a fault."""
    harness = Harness(created("a", offset=7))
    async with harness.running():
        await until(lambda: harness.source.committed == {P0: 8})
        harness.source.records.append(created("b", offset=0))
        await until(lambda: harness.source.commits[-1] == {P0: 1})


async def test_partition_is_resumed_during_a_poll() -> None:
    """A poll lasts until its timeout where the other partitions have no records: it must not delay this one."""
    harness = Harness(created("other", offset=0, partition=1), records_max=8)
    harness.source.records.extend(created(f"r{offset}", offset=offset) for offset in range(6))
    harness.publisher.acknowledging.clear()
    resumed = asyncio.Event()
    poll = harness.source.poll

    async def poll_until_resumed(**arguments: Any) -> Sequence[Record]:
        if P0 in arguments["paused"]:
            harness.publisher.acknowledging.set()
            await resumed.wait()
            resumed.clear()
        return await poll(**arguments)

    def resume(partitions: Iterable[Partition]) -> None:
        assert set(partitions) == {P0}
        resumed.set()

    harness.source.poll = poll_until_resumed  # type: ignore[method-assign]
    harness.source.resume = resume  # type: ignore[method-assign]
    async with harness.running():
        await until(lambda: harness.source.committed == {P0: 6, P1: 1})


async def test_blocked_release_stops_only_its_own_partition() -> None:
    """Later records of its partition wait in the topic; its share of the in-flight budget is bounded."""
    harness = Harness(records_max=8)
    stuck = [created("stuck", offset=offset) for offset in range(20)]
    harness.source.records.extend(stuck)
    held = asyncio.Event()
    publish = harness.publisher.publish

    async def publish_all_but_one(outgoing: Sequence[OutgoingRecord]) -> None:
        if any(outgoing_record.key == str(uuid5(NAMESPACE, "stuck")).encode() for outgoing_record in outgoing):
            await held.wait()
        await publish(outgoing)

    harness.publisher.publish = publish_all_but_one  # type: ignore[method-assign]
    async with harness.running():
        await until(lambda: any(P0 in paused for paused in harness.source.paused))
        harness.source.records.extend(created(f"r{offset}", offset=offset, partition=1) for offset in range(40))
        await until(lambda: harness.source.committed.get(P1) == 40)
        assert P0 not in harness.source.committed
        assert sum(record.partition == 0 for record in harness.source.records) >= 20 - 8
        held.set()
        await until(lambda: harness.source.committed == {P0: 20, P1: 40})


async def test_head_of_line_blocking_is_logged_once_and_measured() -> None:
    """The log names the blocking record, and the end of the blocking."""
    harness = Harness(created("a", offset=5), created("b", offset=6), created("c", offset=7))
    held = asyncio.Event()
    publish = harness.publisher.publish

    async def publish_all_but_one(outgoing: Sequence[OutgoingRecord]) -> None:
        if any(outgoing_record.key == str(uuid5(NAMESPACE, "a")).encode() for outgoing_record in outgoing):
            await held.wait()
        await publish(outgoing)

    harness.publisher.publish = publish_all_but_one  # type: ignore[method-assign]
    with capture_logs() as logs:
        async with harness.running():
            await until(lambda: len(harness.store.written) == 3)
            harness.clock.now_seconds += 1.0
            polled = len(harness.source.polls)
            await until(lambda: len(harness.source.polls) > polled + 2)
            harness.clock.now_seconds += 60.0
            polled = len(harness.source.polls)
            await until(lambda: len(harness.source.polls) > polled + 5)
            shown = generate_latest(harness.metrics.registry).decode()
            assert "rudder_commit_lag_records 3.0" in shown
            assert float(re.findall(r"^rudder_commit_blocked_seconds (\S+)$", shown, re.MULTILINE)[0]) >= 60.0
            held.set()
            await until(lambda: harness.source.committed == {P0: 8})
            polled = len(harness.source.polls)
            await until(lambda: len(harness.source.polls) > polled + 2)
            assert "rudder_commit_blocked_seconds 0.0" in generate_latest(harness.metrics.registry).decode()
    [sent] = [line for line in logs if line["event"] == LogEvent.COMMIT_BLOCKED]
    assert (sent["topic"], sent["partition"], sent["offset"], sent["records_behind"]) == ("in", 0, 5, 2)
    [over] = [line for line in logs if line["event"] == LogEvent.COMMIT_UNBLOCKED]
    assert (over["partition"], over["offset"]) == (0, 5)


def is_open(harness: Harness) -> bool:
    return harness.metrics.registry.get_sample_value("rudder_breaker_open") == 1


async def test_open_breaker_begins_nothing_and_stays_in_the_group() -> None:
    """Records under way are finished and committed; the others stay in the topic, in later partitions too."""
    good = [created(f"r{offset}", offset=offset) for offset in range(4)]
    bad = [garbage(offset=offset) for offset in range(4, 100)]
    harness = Harness(*good, *bad, created("other", offset=0, partition=1), breaker_events=10)
    with capture_logs() as logs:
        async with harness.running():
            await until(lambda: is_open(harness) and harness.source.committed.get(P0, 0) >= 10)
            polled = len(harness.source.polls)
            await until(lambda: len(harness.source.polls) > polled + 20)
            assert set(harness.source.polls[-20:]) == {0}, "it shows that it lives, and fetches nothing"
            assert not harness.source.stopped
            assert harness.metrics.registry.get_sample_value("rudder_in_flight_records") == 0
            written = len(harness.store.written)
            assert written <= 10 + 8, "the window, and what was in a transaction"
            assert harness.source.on_assigned is not None
            await harness.revoke(P0, P1)
            harness.source.records.append(created("later", offset=7, partition=1))
            await harness.source.on_assigned([P1])
            polled = len(harness.source.polls)
            await until(lambda: len(harness.source.polls) > polled + 20)
            assert len(harness.store.written) == written
    assert harness.source.stopped, "and it stops in order"
    done = [log["offset"] for log in logs if log["event"] == LogEvent.MESSAGE_COMPLETED and log["partition"] == 0]
    assert harness.source.committed[P0] == max(done) + 1 == len(done)
    assert P1 not in harness.source.committed or harness.source.committed[P1] == 1
    [opened] = [log for log in logs if log["event"] == LogEvent.BREAKER_OPENED]
    assert (opened["log_level"], opened["rejected"], opened["events"]) == ("error", 6, 10)
    assert opened["reasons"] == {"malformed_json": 6}
    assert (opened["topic"], opened["partition"]) == ("in", 0)
    assert "release_event_rejections" in opened["advice"]


async def test_half_rejected_events_do_not_open_the_breaker() -> None:
    records = [
        (garbage if offset % 2 else lambda offset: created(f"r{offset}", offset=offset))(offset=offset)
        for offset in range(60)
    ]
    harness = Harness(*records, breaker_events=10)
    async with harness.running():
        await until(lambda: harness.source.committed.get(P0) == len(records))
        assert not is_open(harness)


async def test_opening_breaker_drains_first() -> None:
    """As on a revocation, written events are published before their offsets are committed."""
    harness = Harness(*(garbage(offset=offset) for offset in range(20)), breaker_events=3)
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: is_open(harness))
        polled = len(harness.source.polls)
        await until(lambda: len(harness.source.polls) > polled + 20)  # the consumer loop keeps running
        assert harness.source.commits == []
        harness.publisher.acknowledging.set()
        await until(lambda: bool(harness.source.commits))
        assert harness.source.committed[P0] == len(harness.store.written) == len(harness.publisher.published)


async def test_open_breaker_clears_the_blocking_gauges() -> None:
    """Without the reset an alert on the gauges would never end."""
    harness = Harness(garbage(offset=0), breaker_events=3)
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: len(harness.source.polls) > 3)
        harness.clock.now_seconds += 60.0
        polled = len(harness.source.polls)
        await until(lambda: len(harness.source.polls) > polled + 3)
        assert harness.metrics.registry.get_sample_value("rudder_commit_blocked_seconds") == 60.0
        harness.source.records += [garbage(offset=offset) for offset in range(1, 20)]
        await until(lambda: is_open(harness))
        harness.publisher.acknowledging.set()
        await until(lambda: bool(harness.source.commits))
        polled = len(harness.source.polls)
        await until(lambda: len(harness.source.polls) > polled + 2)
        assert harness.metrics.registry.get_sample_value("rudder_commit_blocked_seconds") == 0


async def test_different_commit_failure_is_logged_again() -> None:
    harness = Harness(created("r", offset=0))

    def failure(cause: Exception) -> Unavailable:
        error = Unavailable(f"offsets cannot be committed: {cause!r}")
        error.__cause__ = cause
        return error

    causes = [TimeoutError(), TimeoutError(), PermissionError(), PermissionError(), TimeoutError()]
    harness.source.commit_faults.extend(map(failure, causes))
    with capture_logs() as logs:
        async with harness.running():
            await until(lambda: harness.source.committed == {P0: 1})
    sent = [log["cause"] for log in logs if log["event"] == LogEvent.COMMIT_FAILED]
    assert [cause.rpartition(" ")[2] for cause in sent] == ["TimeoutError()", "PermissionError()", "TimeoutError()"]


async def test_outage_and_its_blocked_records_are_logged_once() -> None:
    """Only the outage is logged; the blocked records of each partition add no line, also not at its end."""
    harness = Harness(created("r", offset=0))
    harness.store.down = Unavailable("connection refused")
    with capture_logs() as logs:
        async with harness.running():
            await until(lambda: harness.clock.now_seconds > 1000.0 + 3600.0)
            harness.store.down = None
            await until(lambda: harness.source.committed == {P0: 1})
    assert [log for log in logs if log["event"] == LogEvent.COMMIT_BLOCKED] == []


@pytest.mark.parametrize("how", ["revocation", "stop"])
async def test_final_commit_is_attempted_during_an_outage(how: str) -> None:
    """The monitor may report an outage that has ended, so the last commit is always attempted, within its timeout."""
    harness = Harness(created("a", offset=0))
    harness.source.commit_faults.extend([Unavailable("no coordinator")] * 10_000)  # and so the broker is suspected
    harness.publisher.down = Unavailable("no broker")
    async with harness.running():
        await until(lambda: bool(harness.publisher.published) and len(harness.source.commit_faults) < 10_000)
        waiting = asyncio.ensure_future(harness.monitors.broker.wait_until_available(LinkedEvent()))
        await until(lambda: harness.monitors.broker.in_outage)
        harness.source.commit_faults.clear()
        if how == "revocation":
            await harness.revoke(P0, P1)
            assert harness.source.committed == {P0: 1}
        harness.publisher.down = None
        await waiting
    assert harness.source.committed == {P0: 1}


async def test_revocation_waits_for_the_commit_in_progress() -> None:
    """A commit that arrives after the revocation would reset the offsets of the next member."""
    harness = Harness(created("a", offset=0))
    answering, asked = asyncio.Event(), asyncio.Event()
    commit = harness.source.commit

    async def slow(offsets: Mapping[Partition, int]) -> None:
        asked.set()
        await answering.wait()
        await commit(offsets)

    harness.source.commit = slow  # type: ignore[method-assign]
    async with harness.running():
        await asked.wait()
        revoking = asyncio.ensure_future(harness.revoke(P0, P1))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not revoking.done()
        answering.set()
        await revoking
        assert harness.source.commits == [{P0: 1}]


async def test_open_breaker_keeps_a_partition_until_its_commit() -> None:
    """A failed commit is repeated; otherwise finished records would be handled again after the restart."""
    harness = Harness(*(garbage(offset=offset) for offset in range(20)), breaker_events=3)
    harness.source.commit_faults.extend([Unavailable("no coordinator")] * 3)
    async with harness.running():
        await until(lambda: is_open(harness) and not harness.source.commit_faults and bool(harness.source.commits))
        assert harness.source.committed[P0] == len(harness.store.written)


async def test_closed_breaker_resumes_at_the_first_incomplete() -> None:
    """Every record is decided; those decided behind the first incomplete one are read again, as duplicates."""
    records = [garbage(offset=offset) for offset in range(60)]
    harness = Harness(*records, created("other", offset=5, partition=1), breaker_events=10)
    with capture_logs():
        async with harness.running():
            while harness.source.committed != {P0: 60, P1: 6}:
                await asyncio.sleep(0)
                if not harness.breaker.is_open:
                    continue
                written, polled = len(harness.store.written), len(harness.source.polls)
                await until(lambda before=polled: len(harness.source.polls) > before + 5)  # type: ignore[misc]
                assert len(harness.store.written) <= written + 8, "what was in a transaction"
                committed, resumed = harness.source.committed.get(P0, 0), len(harness.source.sought)
                harness.breaker.follow(None)
                await until(lambda before=resumed: len(harness.source.sought) > before)  # type: ignore[misc]
                assert harness.source.sought[-1].get(P0, committed) == committed
    assert harness.breaker.openings >= 3
    assert set(harness.store.offsets) == {*range(60)} | {5}


async def test_breaker_that_opens_and_closes_at_once_loses_no_record() -> None:
    """Messages were dropped for it, although the loop never saw it open."""
    harness = Harness(created("a", offset=0), created("b", offset=1))
    harness.store.faults.extend([Unavailable("down")] * 2)
    async with harness.running():
        await until(lambda: harness.store.begun == 2)
        harness.breaker.follow(an_opening())
        harness.breaker.follow(None)
        await until(lambda: harness.source.committed == {P0: 2})
    assert harness.store.offsets == [0, 1]


async def test_resume_waits_for_messages_under_way() -> None:
    """A record that is fetched again must not overtake its own earlier delivery."""
    harness = Harness(created("a", offset=0))
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: bool(harness.store.written))
        harness.source.records.append(created("a", offset=1))
        await until(lambda: not harness.source.records)
        harness.breaker.follow(an_opening())
        polled = len(harness.source.polls)
        await until(lambda: len(harness.source.polls) > polled + 3)
        harness.breaker.follow(None)
        polled = len(harness.source.polls)
        await until(lambda: len(harness.source.polls) > polled + 3)
        assert harness.source.sought == []
        harness.publisher.acknowledging.set()
        await until(lambda: harness.source.committed == {P0: 2})
    assert harness.store.offsets == [0, 1]
    assert harness.source.sought == [{P0: 1}]


async def test_partition_assigned_during_standby_is_resumed() -> None:
    harness = Harness()
    harness.breaker.follow(an_opening())
    async with harness.running():
        await until(lambda: len(harness.source.polls) > 3)
        await harness.revoke(P0, P1)
        assert harness.source.on_assigned is not None
        await harness.source.on_assigned([P1])
        harness.source.records.append(created("a", offset=3, partition=1))
        harness.breaker.follow(None)
        await until(lambda: harness.source.committed == {P1: 4})
    assert set(harness.consumer._partition_states) == set()


def admit_all(harness: Harness) -> None:
    for partition, token in harness.consumer.unchecked.items():
        harness.consumer.admit(partition, token)


async def test_held_partition_begins_nothing_until_admitted() -> None:
    """Other partitions continue; records that were fetched before the callback are fetched again."""
    harness = Harness(holds_assigned=True)
    await harness.consumer.join()
    harness.source.records.append(created("early", offset=3))
    async with asyncio.TaskGroup() as group:
        group.create_task(harness.consumer.run(harness.stop))
        await until(lambda: not harness.source.records)
        assert harness.source.on_assigned is not None
        await harness.source.on_assigned([P0, P1])
        assert harness.consumer.unchecked_added.is_set()
        harness.source.records += [created("next", offset=4), created("other", offset=0, partition=1)]
        harness.consumer.admit(P1, harness.consumer.unchecked[P1])
        await until(lambda: harness.source.committed == {P1: 1})
        assert harness.store.offsets == [0]
        assert harness.consumer.first_incomplete(P0) == 3
        admit_all(harness)
        await until(lambda: harness.source.committed == {P0: 5, P1: 1})
        harness.stop.set()
    assert harness.store.offsets == [0, 3, 4]


async def test_admission_of_an_earlier_assignment_is_ignored() -> None:
    harness = Harness(created("a", offset=0), holds_assigned=True)
    async with harness.running():
        earlier = harness.consumer.unchecked[P0]
        await harness.revoke(P0)
        assert P0 not in harness.consumer.unchecked
        assert not await harness.consumer.rewind(P0, earlier, 0)
        assert harness.source.on_assigned is not None
        await harness.source.on_assigned([P0])
        harness.consumer.admit(P0, earlier)
        assert P0 in harness.consumer.unchecked
    assert (harness.source.commits, harness.store.begun) == ([], 0)


async def test_rewind_commits_the_earlier_offset_first() -> None:
    """A crash after it reads from there, too; with a failed commit the partition stays held."""
    harness = Harness(holds_assigned=True)
    harness.source.commit_faults.append(Unavailable("no coordinator"))
    async with harness.running():
        token = harness.consumer.unchecked[P0]
        with pytest.raises(Unavailable):
            await harness.consumer.rewind(P0, token, 5)
        assert (harness.source.sought, P0 in harness.consumer.unchecked) == ([], True)
        assert await harness.consumer.rewind(P0, token, 5)
        assert (harness.source.commits, harness.source.sought) == ([{P0: 5}], [{P0: 5}])
        harness.source.records.append(created("a", offset=5))
        await until(lambda: harness.source.committed == {P0: 6})


async def test_open_breaker_delays_an_admitted_rewind() -> None:
    harness = Harness(created("a", offset=7), holds_assigned=True)
    harness.breaker.follow(an_opening())
    async with harness.running():
        await until(lambda: len(harness.source.polls) > 3)
        assert await harness.consumer.rewind(P0, harness.consumer.unchecked[P0], 5)
        assert harness.source.sought == []
        harness.breaker.follow(None)
        await until(lambda: harness.source.sought == [{P0: 5}])


async def test_new_check_drops_and_holds_all_partitions() -> None:
    """The database was replaced: what waits for it is not begun, and is fetched again after the check."""
    harness = Harness(created("a", offset=0), created("b", offset=0, partition=1), holds_assigned=True)
    async with harness.running():
        admit_all(harness)
        await until(lambda: harness.source.committed == {P0: 1, P1: 1})
        assert set(harness.consumer.last_completed) == {P0, P1}
        harness.store.down = Unavailable("restarting")
        harness.source.records.append(created("c", offset=1))
        await until(lambda: harness.monitors.database.in_outage)
        begun = harness.store.begun
        harness.consumer.unchecked_added.clear()
        harness.consumer.check_again()
        harness.store.down = None
        await until(harness.consumer.unchecked_added.is_set)
        assert set(harness.consumer.unchecked) == {P0, P1}
        assert (harness.store.begun, dict(harness.consumer.last_completed)) == (begun, {})
        admit_all(harness)
        await until(lambda: harness.source.committed == {P0: 2, P1: 1})
    assert harness.store.offsets == [0, 0, 1]
