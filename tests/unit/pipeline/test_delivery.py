"""A delivery retries transient failures without limit, its own failures a few times, and no lost lease."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import pytest
from structlog.testing import capture_logs

from schemas.event import Event
from schemas.record import Record
from tests.unit.pipeline.scripted import (
    ScriptedPublisher,
    ScriptedStore,
    SimulatedClock,
    created,
    garbage,
    make_delivery,
    probing,
    the_monitors,
)
from tests.unit.schemas.records import structured
from worker.pipeline.delivery import Delivery
from worker.pipeline.partition_state import PartitionState
from worker.pipeline.transaction import read
from worker.ports import OutgoingRecord, Partition
from worker.rules.errors import ConfigurationError, Conflict, LeaseLost, StaleRead, Unavailable, Unprocessable
from worker.rules.message import Message
from worker.rules.rows import Activity
from worker.rules.state import Applied, Duplicate, Outcome, Rejected, State
from worker.telemetry import LogEvent, Metrics


class Harness:
    """One message, and the scripted ports of its delivery."""

    def __init__(self, *store_faults: Exception | None, publisher_faults: tuple[Exception, ...] = ()) -> None:
        self.store = ScriptedStore(*store_faults)
        self.publisher = ScriptedPublisher(*publisher_faults)
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        self.lease = PartitionState(Partition("in", 0))
        self.message = read(created("r", offset=0), event_bytes_max=1_000_000)
        self.monitors = the_monitors(self.store, self.publisher, self.clock, self.metrics)
        self.delivery: Delivery = make_delivery(
            self.store, self.publisher, self.clock, monitors=self.monitors, metrics=self.metrics
        )

    async def deliver(self, message: Message | None = None) -> Outcome:
        async with probing(self.monitors):
            return await self.delivery.deliver(message or self.message, self.lease, asyncio.Semaphore(1))

    def reasons(self) -> list[str]:
        return [
            value.decode()
            for outgoing_record in self.publisher.published
            for name, value in outgoing_record.headers
            if name == "rudder-reason" and value is not None
        ]


async def test_event_is_written_and_published_once() -> None:
    harness = Harness()
    assert isinstance(await harness.deliver(), Applied)
    assert harness.store.begun == len(harness.store.written) == 1
    assert [outgoing_record.topic for outgoing_record in harness.publisher.published] == ["releases"]
    assert harness.clock.waits_seconds == []


@pytest.mark.parametrize("fault", [Unavailable("down"), ConfigurationError("the password was changed"), MemoryError()])
async def test_transient_failure_is_retried_without_limit(fault: Exception) -> None:
    """Only events that can never succeed become dead letters: an outage of an hour rejects no event."""
    harness = Harness(*[fault] * 200)
    assert isinstance(await harness.deliver(), Applied)
    assert harness.store.begun == 201
    assert harness.reasons() == []


async def test_retry_delay_grows_to_a_ceiling() -> None:
    harness = Harness(*[Unavailable("down")] * 6)
    await harness.deliver()
    assert harness.clock.waits_seconds == [0.75, 1.5, 3.0, 6.0, 6.0, 6.0]


async def test_outage_costs_no_attempt_and_no_backoff() -> None:
    """The dependency monitor logs the cause once; after the outage the message goes on without a further delay."""
    harness = Harness(*[Unavailable("a lock")] * 5)
    with capture_logs() as logs:
        delivering = asyncio.ensure_future(harness.deliver())
        while harness.store.begun < 5:
            await asyncio.sleep(0)
        harness.store.faults.clear()
        harness.store.down = Unavailable("connection refused")
        while harness.store.pings < 50:
            await asyncio.sleep(0)
        assert harness.store.begun == 5, "it found out, and tries no more"
        assert harness.lease.running == 0
        harness.store.down = None
        waited = len(harness.clock.waits_seconds)
        assert isinstance(await delivering, Applied)
    assert harness.store.begun == 6
    assert len(harness.clock.waits_seconds) <= waited + 1
    assert max(harness.clock.waits_seconds[-20:]) <= 1.0
    events = [log["event"] for log in logs if log["event"] != LogEvent.MESSAGE_COMPLETED]
    assert events == [LogEvent.MESSAGE_RETRIED, LogEvent.DEPENDENCY_UNAVAILABLE, LogEvent.DEPENDENCY_AVAILABLE]


async def deliver_all(harness: Harness, count: int) -> None:
    """Delivers `count` messages at the same time, each of a release of its own."""
    messages = [read(created(f"r{n}", offset=n), event_bytes_max=1_000_000) for n in range(count)]
    async with probing(harness.monitors):
        await asyncio.gather(*(harness.delivery.deliver(one, harness.lease, asyncio.Semaphore(1)) for one in messages))


async def test_failure_of_all_messages_is_logged_once() -> None:
    """A database with a full disk responds with errors: the failures of all messages are one line and a count."""
    harness = Harness()
    harness.store.faults.extend([Unavailable("disk full")] * 1000)
    with capture_logs() as logs:
        await deliver_all(harness, 500)
    sent = [log for log in logs if log["event"] == LogEvent.MESSAGE_RETRIED]
    assert sent[0]["lines_left_out"] is None
    waited_seconds = harness.clock.now_seconds - 1000.0
    assert 1 <= len(sent) <= 1 + waited_seconds / 10
    assert all(log["event"] in {LogEvent.MESSAGE_RETRIED, LogEvent.MESSAGE_COMPLETED} for log in logs)


async def test_reused_identity_is_counted_and_logged_at_intervals() -> None:
    """The line names type and release of both events; a publisher that always reuses ids does not flood the log."""
    harness = Harness()
    first = read(created("first", offset=0), event_bytes_max=1_000_000)
    assert isinstance(first.content, Event)
    entry_of_first = await harness.deliver(first)
    assert isinstance(entry_of_first, Applied)
    harness.store.state = State(activities=entry_of_first.changes.activities)
    other = created("other", offset=1)
    headers = tuple((name, first.content.id.encode() if name == "ce_id" else value) for name, value in other.headers)
    reusing = read(replace(other, headers=headers), event_bytes_max=1_000_000)
    with capture_logs() as logs:
        for _ in range(3):
            assert isinstance(await harness.deliver(reusing), Duplicate)
        assert isinstance(await harness.deliver(first), Duplicate)
    lines = [log for log in logs if log["event"] == LogEvent.IDENTITY_REUSED]
    assert [line["log_level"] for line in lines] == ["warning"]
    assert (lines[0]["first_type"], lines[0]["type"]) == ("dev.rudder.release.created.v1",) * 2
    assert (lines[0]["first_release_id"], lines[0]["release_id"]) == (str(first.release_id), str(reusing.release_id))
    assert harness.metrics.registry.get_sample_value("rudder_identity_reused_total") == 3


async def test_one_failure_does_not_hide_another() -> None:
    """A failure of all messages is logged for one of them; another failure of a single message is logged too."""
    harness = Harness()
    harness.store.faults.extend([Unavailable("disk full")] * 1000)
    harness.publisher.faults.extend([Unavailable("topic dead-letters: not authorized")] * 4)
    with capture_logs() as logs:
        await deliver_all(harness, 500)
    causes = {log["cause"] for log in logs if log["event"] == LogEvent.MESSAGE_RETRIED}
    assert causes == {"Unavailable: disk full", "Unavailable: topic dead-letters: not authorized"}


async def test_unavailable_dependency_prevents_new_work() -> None:
    """No message begins while the database or the broker is unavailable: its change could not be published."""
    for name in ("database", "broker"):
        harness = Harness()
        getattr(harness.monitors, name).suspect()
        harness.store.down = harness.publisher.down = Unavailable("away")
        delivering = asyncio.ensure_future(harness.deliver())
        while harness.store.pings + harness.publisher.pings < 20:
            await asyncio.sleep(0)
        assert (harness.store.begun, harness.lease.running) == (0, 0)
        harness.store.down = harness.publisher.down = None
        assert isinstance(await delivering, Applied)


async def test_broker_outage_delays_the_next_publish_attempt() -> None:
    harness = Harness(publisher_faults=(Unavailable("no broker"),))
    harness.publisher.down = Unavailable("no broker")
    delivering = asyncio.ensure_future(harness.deliver())
    while harness.publisher.pings < 20:
        await asyncio.sleep(0)
    assert (harness.store.begun, harness.publisher.published) == (1, [])
    harness.publisher.down = None
    assert isinstance(await delivering, Applied)
    assert harness.store.begun == 1


async def test_wait_for_a_dependency_ends_with_the_partition() -> None:
    harness = Harness()
    harness.store.down = Unavailable("down")
    delivering = asyncio.ensure_future(harness.deliver())
    while harness.store.pings < 10:
        await asyncio.sleep(0)
    harness.lease.ended.set()
    with pytest.raises(LeaseLost):
        await delivering
    assert harness.lease.running == 0


async def test_unexpected_error_is_retried_then_rejected() -> None:
    """A poison message is not retried for ever, and its dead letter has the error."""
    harness = Harness(*[LookupError("a fault")] * 3)
    outcome = await harness.deliver()
    assert isinstance(outcome, Rejected)
    assert outcome.rejection.reason == "processing_error"
    assert "LookupError: a fault" in outcome.rejection.detail
    assert harness.reasons() == ["processing_error"]
    attempts = [value for name, value in harness.publisher.published[0].headers if name == "rudder-attempts"]
    assert attempts == [b"4"]


async def test_outage_does_not_use_up_the_attempts() -> None:
    harness = Harness(LookupError(), Unavailable("down"), LookupError(), Unavailable("down"), None)
    assert isinstance(await harness.deliver(), Applied)


async def test_values_that_the_database_refuses_are_rejected() -> None:
    harness = Harness(Unprocessable("out of range"))
    outcome = await harness.deliver()
    assert isinstance(outcome, Rejected)
    assert outcome.rejection.reason == "processing_error"
    assert harness.store.begun == 2


async def test_database_error_quoting_the_event_is_bounded() -> None:
    """A driver's message may quote the value: the detail has no control characters or surrogates, and is bounded."""
    harness = Harness(Unprocessable('refused: "a\0b\x1b[2J\r\nrudder-reason: \u202e\ud800' + "x" * 2_000))
    outcome = await harness.deliver()
    assert isinstance(outcome, Rejected)
    detail = outcome.rejection.detail
    assert detail.startswith('Unprocessable: refused: "a\\u0000b\\u001b[2J rudder-reason: \\u202e\\ud800x')
    assert len(detail) == 500
    assert detail.isprintable()
    assert ("rudder-detail", detail.encode()) in harness.publisher.published[0].headers


async def test_conflict_is_decided_afresh() -> None:
    harness = Harness(Conflict("somebody was first"), Conflict("again"))
    assert isinstance(await harness.deliver(), Applied)
    assert harness.store.begun == 3
    assert max(harness.clock.waits_seconds) < 0.1


async def test_endless_conflict_is_rejected() -> None:
    """Seen in trusted systems: a duplicate key that blocks a partition for ever."""
    harness = Harness(*[Conflict("the same key for ever")] * 4)
    outcome = await harness.deliver()
    assert isinstance(outcome, Rejected)
    assert outcome.rejection.detail.startswith("Conflict: the same key for ever")


async def test_stale_reads_are_retried_without_limit() -> None:
    """Another worker that changes the release often must not cause a rejection: the event is valid."""
    harness = Harness(*[StaleRead("the release is no longer as it was read")] * 200)
    assert isinstance(await harness.deliver(), Applied)
    assert harness.store.begun == 201


async def test_failed_rejection_is_retried() -> None:
    """The database may fail during the rejection of a message; the rejection is then retried."""
    harness = Harness(Unprocessable("out of range"), Unavailable("down"), Conflict("somebody was first"), None)
    assert isinstance(await harness.deliver(), Rejected)
    assert len(harness.store.written) == 1


async def test_publishing_is_repeated_without_writing_again() -> None:
    harness = Harness(publisher_faults=(Unavailable("no broker"), Unavailable("no broker")))
    assert isinstance(await harness.deliver(), Applied)
    assert harness.store.begun == 1
    assert len(harness.publisher.published) == 1


async def test_duplicate_is_published_again_from_its_activities() -> None:
    first = Harness()
    outcome = await first.deliver()
    assert isinstance(outcome, Applied)
    again = Harness()
    again.store.state = State(activities=outcome.changes.activities)
    assert isinstance(await again.deliver(), Duplicate)
    assert again.store.written == []
    assert again.publisher.published == first.publisher.published


def header(outgoing_record: OutgoingRecord, name: str) -> str | None:
    """The last header of that name: a dead letter's own headers follow those of its record."""
    values = [value for key, value in outgoing_record.headers if key == name]
    return None if not values or values[-1] is None else values[-1].decode()


class FaultyPublisher(ScriptedPublisher):
    """Raises an error of its own for the records that `refuses` selects."""

    def __init__(self, refuses: Callable[[OutgoingRecord], bool]) -> None:
        super().__init__()
        self.refuses = refuses
        self.refused: list[OutgoingRecord] = []

    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        for outgoing_record in outgoing:
            if self.refuses(outgoing_record):
                self.refused.append(outgoing_record)
                raise LookupError("a fault in the publisher")
        await super().publish(outgoing)


def over(publisher: ScriptedPublisher) -> Harness:
    harness = Harness()
    harness.publisher = publisher
    harness.delivery = make_delivery(
        harness.store, publisher, harness.clock, monitors=harness.monitors, metrics=harness.metrics
    )
    return harness


async def test_unpublishable_status_event_becomes_a_dead_letter() -> None:
    """It does so after as many attempts as a transaction has. The event stays in the log and has no rejection."""
    publisher = FaultyPublisher(lambda outgoing_record: outgoing_record.topic == "releases")
    harness = over(publisher)
    with capture_logs() as logs:
        assert isinstance(await harness.deliver(), Applied)
    assert len(publisher.refused) == 3
    assert harness.store.begun == len(harness.store.written) == 1
    [letter] = publisher.published
    assert (letter.topic, letter.value) == ("dead-letters", harness.message.record.value)
    assert header(letter, "rudder-id") == str(harness.message.id)
    assert header(letter, "rudder-reason") == "processing_error"
    assert header(letter, "rudder-attempts") == "4"
    detail = header(letter, "rudder-detail") or ""
    assert "status events cannot be published: LookupError: a fault in the publisher" in detail
    [reported] = [log for log in logs if log["event"] == LogEvent.MESSAGE_PUBLISH_FAILED]
    assert (reported["log_level"], reported["topic"], reported["offset"]) == ("error", "in", 0)
    assert "rudder-redrive" in reported["action"]
    assert harness.metrics.registry.get_sample_value("rudder_publish_failures_total") == 1
    assert harness.metrics.registry.get_sample_value("rudder_rejections_total", {"reason": "processing_error"}) is None


async def test_temporary_fault_is_retried_without_a_dead_letter() -> None:
    harness = Harness(publisher_faults=(LookupError("once"), LookupError("twice")))
    assert isinstance(await harness.deliver(), Applied)
    assert [outgoing_record.topic for outgoing_record in harness.publisher.published] == ["releases"]


@pytest.mark.parametrize("rejected", [True, False])
async def test_unpublishable_dead_letter_is_sent_without_the_record(rejected: bool) -> None:
    """The shorter dead letter contains no part of the record, since any part may cause the failure."""
    publisher = FaultyPublisher(
        lambda outgoing_record: outgoing_record.topic == "releases" or outgoing_record.value is not None
    )
    harness = over(publisher)
    if rejected:
        harness.message = read(garbage(offset=0), event_bytes_max=1_000_000)
    with capture_logs() as logs:
        await harness.deliver()
    [letter] = publisher.published
    value = harness.message.record.value or b""
    assert letter.key == str(harness.message.id).encode()
    assert header(letter, "rudder-reason") == ("malformed_json" if rejected else "processing_error")
    assert header(letter, "rudder-value-omitted") == str(len(value))
    assert header(letter, "rudder-value-sha256") == sha256(value).hexdigest()
    assert all(name.startswith("rudder-") for name, _ in letter.headers)
    assert len(publisher.refused) == (3 if rejected else 6)
    actions = [log["action"] for log in logs if log["event"] == LogEvent.MESSAGE_PUBLISH_FAILED]
    assert len(actions) == (1 if rejected else 2)
    assert "without key, value and headers" in actions[-1]


async def test_publisher_that_always_fails_is_waited_for() -> None:
    """Such a fault is not the record's, and skipping would lose every record: it is logged, and the offset stays."""
    publisher = FaultyPublisher(lambda _: True)
    harness = over(publisher)
    with capture_logs() as logs:
        delivering = asyncio.ensure_future(harness.deliver())
        while len(publisher.refused) < 12:
            await asyncio.sleep(0)
        assert not delivering.done()
        assert "offset stays" in [log for log in logs if log["event"] == LogEvent.MESSAGE_PUBLISH_FAILED][2]["action"]
        publisher.refuses = lambda _: False
        assert isinstance(await delivering, Applied)
    assert [header(letter, "rudder-reason") for letter in publisher.published] == ["processing_error"]


async def test_wait_for_a_faulty_publisher_ends_with_the_partition() -> None:
    publisher = FaultyPublisher(lambda _: True)
    harness = over(publisher)
    delivering = asyncio.ensure_future(harness.deliver())
    while len(publisher.refused) < 12:
        await asyncio.sleep(0)
    harness.lease.ended.set()
    with pytest.raises(LeaseLost):
        await delivering
    assert harness.lease.running == 0


@pytest.mark.parametrize(("offset", "advised"), [(7, True), (0, False)])
async def test_repeated_rejected_event_is_logged_with_advice(offset: int, advised: bool) -> None:
    """The event is a duplicate and changes nothing; the line states the next step. A redelivery of the record itself
    after a restart has no advice.
    """
    first = Harness()
    first.message = read(submitted(offset=0), event_bytes_max=1_000_000)
    outcome = await first.deliver()
    assert isinstance(outcome, Rejected)
    again = Harness()
    again.store.state = State(rejection=outcome.rejection)
    again.message = read(submitted(offset=offset), event_bytes_max=1_000_000)
    with capture_logs() as logs:
        assert isinstance(await again.deliver(), Duplicate)
    lines = [log for log in logs if log["event"] == LogEvent.MESSAGE_COMPLETED and log["log_level"] == "warning"]
    assert [(log["outcome"], log["reason"]) for log in lines] == [("duplicate", "release_not_found")] * advised
    assert all("rudder-redrive" in log["action"] for log in lines)


def submitted(*, offset: int) -> Record:
    """An event that is rejected, since its release is unknown."""
    return replace(structured(), topic="in", offset=offset)


async def test_unpublishable_activity_becomes_a_dead_letter() -> None:
    """An operator edited the log by hand: the record blocks no partition, and a redrive publishes the repaired row."""
    good = Harness()
    outcome = await good.deliver()
    assert isinstance(outcome, Applied)
    (activity,) = outcome.changes.activities
    broken = Harness()
    broken.store.state = State(activities=(_edited(activity),))
    assert isinstance(await broken.deliver(), Duplicate)
    assert broken.reasons() == ["processing_error"]
    mended = Harness()
    mended.store.state = State(activities=(activity,))
    assert isinstance(await mended.deliver(), Duplicate)
    assert mended.publisher.published == good.publisher.published


DAY_MS = 86_400_000
NOW_MS = 1_780_000_000_000


@pytest.mark.parametrize(
    ("timestamp_ms", "lag_seconds"),
    [
        (NOW_MS, 0.0),
        (NOW_MS - 1_500, 1.5),
        (NOW_MS - 365 * DAY_MS, 365 * 86_400.0),  # a replay
        (NOW_MS + 1_000, 0.0),  # another clock
        (NOW_MS + DAY_MS, 0.0),
        (NOW_MS + DAY_MS + 1, None),
        (-1, None),
        (0, None),
        (NOW_MS // 1000, None),  # seconds
        (NOW_MS * 1000, None),  # microseconds
        (-(2**63), None),
        (2**63 - 1, None),
    ],
)
async def test_lag_is_observed_for_plausible_timestamps_only(timestamp_ms: int, lag_seconds: float | None) -> None:
    """A record without a timestamp has -1, and a publisher may set any value."""
    harness = Harness()
    harness.clock.now_seconds = NOW_MS / 1000
    harness.message = read(replace(created("r", offset=0), timestamp_ms=timestamp_ms), event_bytes_max=1_000_000)
    await harness.deliver()
    observed = [
        harness.metrics.registry.get_sample_value(f"rudder_event_lag_seconds_{name}") for name in ("count", "sum")
    ]
    assert observed == ([0, 0] if lag_seconds is None else [1, pytest.approx(lag_seconds)])
    assert harness.metrics.registry.get_sample_value("rudder_processing_seconds_count") == 1


async def test_nothing_begins_after_the_partition_is_revoked() -> None:
    harness = Harness()
    harness.lease.ended.set()
    with pytest.raises(LeaseLost):
        await harness.deliver()
    assert harness.store.begun == 0


async def test_backoff_ends_with_the_partition() -> None:
    harness = Harness(*[Unavailable("down")] * 1000)
    delivering = asyncio.ensure_future(harness.deliver())
    while len(harness.clock.waits_seconds) < 3:
        await asyncio.sleep(0)
    harness.lease.ended.set()
    with pytest.raises(LeaseLost):
        await delivering
    assert harness.lease.running == 0


async def test_written_event_is_published_during_a_revocation() -> None:
    """A drain waits for the publication too; otherwise the partition's next owner would have to repeat it."""
    harness = Harness()
    harness.publisher.acknowledging.clear()
    delivering = asyncio.ensure_future(harness.deliver())
    while not harness.store.written:
        await asyncio.sleep(0)
    harness.lease.ended.set()
    assert harness.lease.running == 1
    harness.publisher.acknowledging.set()
    assert isinstance(await delivering, Applied)
    assert harness.lease.running == 0


async def test_backoff_does_not_delay_a_drain() -> None:
    harness = Harness(Unavailable("down"))
    running: list[int] = []
    wait = harness.clock.wait

    async def noting(event: asyncio.Event, *, timeout_seconds: float) -> bool:
        running.append(harness.lease.running)
        return await wait(event, timeout_seconds=timeout_seconds)

    harness.clock.wait = noting  # type: ignore[method-assign]
    await harness.deliver()
    assert running == [0]


def _edited(activity: Activity) -> Activity:
    return Activity(
        id=activity.id,
        created_at=activity.created_at,
        release_id=activity.release_id,
        deployment_id=None,
        environment_id=None,
        activity_type=activity.activity_type,
        activity_data="{}",
        status=activity.status,
    )
