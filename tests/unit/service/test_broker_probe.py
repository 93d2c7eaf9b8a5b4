"""The watch finds out that the broker is away although nobody sends anything, and waits with those who do."""

import asyncio

from structlog.testing import capture_logs

from tests.unit.pipeline.scripted import ImpatientClock
from tests.unit.service.test_health import Parts
from worker.rules.errors import Unavailable
from worker.service.broker_probe import BrokerProbe
from worker.telemetry import LogEvent


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_idle_worker_notices_an_outage_and_its_end() -> None:
    parts, stop = Parts(), asyncio.Event()
    parts.consumer.beat_seconds = 0.0
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            group.create_task(BrokerProbe(parts.monitors.broker, consumer=parts.consumer, clock=parts.clock).run(stop))
            await turns(50)
            assert parts.publisher.pings > 5
            parts.publisher.down = Unavailable("nobody listens")
            await turns(200)
            assert parts.monitors.broker.in_outage
            parts.publisher.down = None
            await turns(50)
            assert not parts.monitors.broker.blocked
            stop.set()
    assert [(log["event"], log["dependency"]) for log in logs] == [
        (LogEvent.DEPENDENCY_UNAVAILABLE, "broker"),
        (LogEvent.DEPENDENCY_AVAILABLE, "broker"),
    ]
    assert logs[1]["messages"] == 0


async def test_probe_stops_during_an_outage() -> None:
    parts, stop = Parts(), asyncio.Event()
    parts.consumer.beat_seconds = 0.0
    parts.publisher.down = Unavailable("nobody listens")
    async with asyncio.TaskGroup() as group:
        group.create_task(BrokerProbe(parts.monitors.broker, consumer=parts.consumer, clock=parts.clock).run(stop))
        await turns(100)
        stop.set()
    assert parts.monitors.broker.in_outage


async def test_probe_begins_after_the_consumer() -> None:
    """Whoever starts the worker waits for the broker, and says so."""
    parts, stop = Parts(), asyncio.Event()
    assert isinstance(parts.clock, ImpatientClock)
    async with asyncio.TaskGroup() as group:
        group.create_task(BrokerProbe(parts.monitors.broker, consumer=parts.consumer, clock=parts.clock).run(stop))
        await turns(100)
        stop.set()
    assert parts.publisher.pings == 0
