"""Liveness depends on the consumer loop alone; readiness names each unavailable part."""

import asyncio

import pytest

from tests.unit.pipeline.scripted import (
    ScriptedPublisher,
    ScriptedSource,
    ScriptedStore,
    SimulatedClock,
    make_delivery,
    the_monitors,
)
from tests.unit.pipeline.test_breaker import a_rejection, an_opening
from worker.pipeline.breaker import Breaker
from worker.pipeline.consumer import Bounds, Consumer
from worker.ports import Partition
from worker.rules.errors import ConfigurationError, Unavailable
from worker.rules.message import RecordPosition
from worker.service import health as health_module
from worker.service.health import WorkerHealth
from worker.telemetry import Metrics

BOUNDS = Bounds(
    concurrency=1,
    in_flight_records_max=10,
    in_flight_bytes_max=1000,
    event_bytes_max=1000,
    event_ahead_max_seconds=86_400,
    commit_interval_seconds=1.0,
    poll_timeout_seconds=0.1,
    drain_timeout_seconds=1.0,
    commit_lag_records_max=1,
    keep_alive_seconds=1.0,
)


class PingedStore(ScriptedStore):
    """Answers a ping, raises `ping_error`, or does not answer while `answering` is clear."""

    def __init__(self) -> None:
        super().__init__()
        self.ping_error: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    async def ping(self) -> None:
        self.pings += 1
        await self.answering.wait()
        if self.ping_error is not None:
            raise self.ping_error


class Parts:
    """A worker's health over parts that the test controls."""

    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.store = PingedStore()
        self.source = ScriptedSource()
        self.publisher = ScriptedPublisher()
        metrics = Metrics()
        self.monitors = the_monitors(self.store, self.publisher, self.clock, metrics)
        delivery = make_delivery(self.store, self.publisher, self.clock, monitors=self.monitors)
        self.breaker = Breaker(events=1, rejected_share_max=0.5)
        self.consumer = Consumer(
            client=self.source,
            delivery=delivery,
            monitors=self.monitors,
            breaker=self.breaker,
            bounds=BOUNDS,
            clock=self.clock,
            metrics=metrics,
        )
        self.health = WorkerHealth(
            monitors=self.monitors,
            breaker=self.breaker,
            consumer=self.consumer,
            membership=self.source,
            clock=self.clock,
        )

    async def be_assigned(self, *partitions: Partition) -> None:
        await self.consumer.join()
        assert self.source.on_assigned is not None
        await self.source.on_assigned(partitions)


@pytest.fixture
def parts() -> Parts:
    return Parts()


async def test_worker_waiting_for_its_database_is_alive(parts: Parts) -> None:
    """A restart would not help: the worker waits for the database, and its loop has not begun."""
    parts.clock.now_seconds += 100_000.0
    parts.store.ping_error = Unavailable("down")
    assert parts.health.alive()


async def test_only_a_blocked_event_loop_is_not_alive(parts: Parts) -> None:
    parts.consumer.beat_seconds = parts.clock.now_seconds
    parts.clock.now_seconds += 59.0
    assert parts.health.alive()
    parts.clock.now_seconds += 1.0
    assert not parts.health.alive()
    parts.consumer.beat_seconds = parts.clock.now_seconds
    assert parts.health.alive()


async def test_liveness_never_probes_a_dependency(parts: Parts) -> None:
    parts.consumer.beat_seconds = parts.clock.now_seconds
    parts.store.ping_error = Unavailable("down")
    assert parts.health.alive()
    assert parts.store.pings == 0


async def test_readiness_needs_database_and_assignment(parts: Parts) -> None:
    await parts.be_assigned(Partition("in", 0))
    assert await parts.health.unready() == {}


async def test_member_without_partitions_is_ready(parts: Parts) -> None:
    """A member without partitions is a reserve, not a fault."""
    await parts.be_assigned()
    assert await parts.health.unready() == {}


async def test_readiness_waits_for_the_first_join(parts: Parts) -> None:
    unready = await parts.health.unready()
    assert set(unready) == {"partitions"}
    assert "RUDDER_SESSION_TIMEOUT_SECONDS" in unready["partitions"]


async def test_rebalance_keeps_the_member_ready(parts: Parts) -> None:
    """A restart of one worker rebalances all of them: unready members would delay a rolling update."""
    await parts.be_assigned(Partition("in", 0))
    assert parts.source.on_revoked is not None
    await parts.source.on_revoked([Partition("in", 0)])
    assert await parts.health.unready() == {}


async def test_dropped_member_is_unready_until_it_rejoins(parts: Parts) -> None:
    await parts.be_assigned(Partition("in", 0))
    parts.source.dropped = True
    unready = await parts.health.unready()
    assert set(unready) == {"partitions"}
    assert "RUDDER_MAX_POLL_INTERVAL_SECONDS" in unready["partitions"]
    parts.source.dropped = False
    assert await parts.health.unready() == {}


@pytest.mark.parametrize("error", [Unavailable("connection refused"), ConfigurationError("run migrate first")])
async def test_unavailable_database_is_named_with_its_cause(parts: Parts, error: Exception) -> None:
    await parts.be_assigned()
    parts.store.ping_error = error
    assert await parts.health.unready() == {"database": str(error)}


async def test_unavailable_broker_is_named_with_its_cause(parts: Parts) -> None:
    await parts.be_assigned()
    parts.publisher.down = Unavailable("nobody listens")
    assert await parts.health.unready() == {"broker": "nobody listens"}


async def test_every_missing_dependency_is_reported_at_once(parts: Parts) -> None:
    parts.store.ping_error = parts.publisher.down = Unavailable("down")
    assert list(await parts.health.unready()) == ["database", "broker", "partitions"]


async def test_open_breaker_is_unready_with_its_cause_but_alive(parts: Parts) -> None:
    """The worker stays alive: an automatic restart without an operator's decision would go on rejecting events."""
    await parts.be_assigned()
    parts.consumer.beat_seconds = parts.clock.now_seconds
    parts.breaker.decided(parts.breaker.expect(RecordPosition("in", 0, 0)), a_rejection("invalid_data", "/ci"))
    why = "1 of the last 1 events were rejected: invalid_data 1; from /ci 1"
    assert await parts.health.unready() == {"breaker": f"{why}; not in the database yet"}
    assert parts.breaker.tripped is not None
    parts.breaker.follow(an_opening(parts.breaker.tripped))
    assert await parts.health.unready() == {
        "breaker": f"{why}; open since 2026-03-01T12:30:00Z, opened by worker on host; "
        "close it with rudder-worker breaker close --note TEXT"
    }
    assert parts.health.alive()


async def test_frequent_readiness_checks_share_one_probe(parts: Parts) -> None:
    """A probe's result is valid for a second: frequent readiness checks must not load the database and broker."""
    await parts.be_assigned()
    for _ in range(100):
        assert await parts.health.unready() == {}
    assert (parts.store.pings, parts.publisher.pings) == (1, 1)
    parts.clock.now_seconds += 1.0
    await asyncio.gather(*(parts.health.unready() for _ in range(100)))
    assert (parts.store.pings, parts.publisher.pings) == (2, 2)


async def test_hanging_database_does_not_delay_readiness(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """An orchestrator's probe has a short timeout, and a check without a response names no cause."""
    monkeypatch.setattr(health_module, "_ANSWER_TIMEOUT_SECONDS", 0.05)
    await parts.be_assigned()
    parts.store.answering.clear()
    assert await parts.health.unready() == {"database": "does not answer in time"}
