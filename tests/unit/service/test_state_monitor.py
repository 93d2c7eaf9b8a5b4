"""Current states are published again through outages, beside later publications, and until the stop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID, uuid4

from structlog.testing import capture_logs

from schemas.types import EventType as E
from tests.unit.pipeline.scripted import ScriptedPublisher, ScriptedStore, SimulatedClock, probing, the_monitors
from tests.unit.pipeline.test_consumer import until
from tests.unit.rules.release_scenario import release_id
from tests.unit.test_state_repair import System, deployed
from tests.unit.verify.handled_events import WITH_STATES
from worker.pipeline.state_order import StateOrder
from worker.ports import OutgoingRecord
from worker.rules.errors import Unavailable
from worker.service.state_monitor import StateMonitor
from worker.stored_rows import ReleaseRows
from worker.telemetry import LogEvent, Metrics


class Edges:
    """The rows and the topic of `system`. `unsettled`: releases that change during every attempt to read them."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.down: Exception | None = None
        self.refused: set[bytes] = set()
        self.unsettled: set[UUID] = set()
        self.edited: set[UUID] = set()

    async def rows_of(self, release_ids: Sequence[UUID]) -> Sequence[ReleaseRows]:
        await asyncio.sleep(0)
        if self.down is not None:
            raise self.down
        return [self._rows(rows) for rows in await self.system.rows_of(release_ids)]

    def _rows(self, rows: ReleaseRows) -> ReleaseRows:
        broken = tuple({**row, "status": "GONE"} for row in rows.deployments)
        id_ = rows.release["id"]
        return replace(
            rows, settled=id_ not in self.unsettled, deployments=broken if id_ in self.edited else rows.deployments
        )

    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        await asyncio.sleep(0)
        if self.refused & {one.key for one in outgoing}:
            raise Unavailable("the record is too large")
        await self.system.publish(outgoing)

    async def ping(self) -> None:
        if self.down is not None:
            raise self.down


class Worker:
    """The service, and the monitors' probes."""

    def __init__(self, system: System) -> None:
        self.edges = Edges(system)
        self.order = StateOrder(releases_max=30)
        self.clock, self.metrics = SimulatedClock(), Metrics()
        store = ScriptedStore()
        self.monitors = the_monitors(store, ScriptedPublisher(), self.clock, self.metrics)
        self.store = store
        self.monitor = StateMonitor(
            self.order,
            outgoing=WITH_STATES,
            publisher=self.edges,
            stored=self.edges,
            monitors=self.monitors,
            clock=self.clock,
            metrics=self.metrics,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        async with probing(self.monitors), asyncio.TaskGroup() as group:
            group.create_task(self.monitor.run(stop))
            yield
            stop.set()

    def count(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)


def with_late_state() -> System:
    """The last record of the topic is an earlier state."""
    system = deployed()
    system.topic.append(system.topic[0])
    return system


async def test_late_state_is_followed_by_the_current_one() -> None:
    system = with_late_state()
    current = system.topic[-2]
    worker = Worker(system)
    with capture_logs() as logs:
        async with worker.running():
            worker.order.published_late(release_id())
            await until(lambda: system.topic[-1] == current)
            await until(lambda: worker.count("rudder_states_repaired_total") == 1)
    assert [(line["event"], line["releases"], line["states"]) for line in logs] == [(LogEvent.STATES_REPAIRED, 1, 1)]
    assert worker.count("rudder_states_to_repair") == 0


async def test_state_that_changes_during_the_repair_stays_last() -> None:
    """The successor publishes between the read and the repair's publication."""
    system = with_late_state()
    system.meanwhile = [E.DEPLOYMENT_STARTED, E.DEPLOYMENT_SUCCEEDED]
    worker = Worker(system)
    async with worker.running():
        worker.order.published_late(release_id())
        await until(lambda: worker.count("rudder_states_repaired_total") == 1)
    assert await system.differences() == []
    assert not system.meanwhile


async def test_repair_waits_for_the_end_of_an_outage() -> None:
    system = with_late_state()
    worker = Worker(system)
    worker.edges.down = worker.store.down = Unavailable("down")
    async with worker.running():
        worker.order.published_late(release_id())
        await until(lambda: worker.monitors.database.in_outage)
        attempts = worker.clock.now_seconds
        await until(lambda: worker.clock.now_seconds > attempts + 100)
        assert worker.count("rudder_states_to_repair") == 1
        worker.edges.down = worker.store.down = None
        await until(lambda: worker.count("rudder_states_repaired_total") == 1)
    assert await system.differences() == []


async def test_refused_state_holds_up_no_other_release() -> None:
    """It is given up after some attempts, and an operator is told."""
    system = with_late_state()
    other = uuid4()
    worker = Worker(system)
    worker.edges.refused = {one.key for one in system.topic if one.key is not None}
    with capture_logs() as logs:
        async with worker.running():
            worker.order.published_late(release_id())
            worker.order.published_late(other)
            await until(lambda: worker.count("rudder_states_to_repair") == 0)
    lines = [line for line in logs if line["event"] == LogEvent.STATES_NOT_REPAIRED]
    assert [line["release_id"] for line in lines] == [str(release_id())]
    assert "rudder-worker state publish" in lines[0]["advice"]
    assert worker.count("rudder_states_repaired_total") == 1


async def test_edited_rows_are_reported() -> None:
    worker = Worker(with_late_state())
    worker.edges.edited = {release_id()}
    with capture_logs() as logs:
        async with worker.running():
            worker.order.published_late(release_id())
            await until(lambda: worker.count("rudder_states_repaired_total") == 1)
    assert [line["release_id"] for line in logs if line["event"] == LogEvent.STATES_NOT_REPAIRED] == [str(release_id())]


async def test_release_that_changes_during_reads_is_repaired_later() -> None:
    system = with_late_state()
    worker = Worker(system)
    worker.edges.unsettled = {release_id()}
    async with worker.running():
        worker.order.published_late(release_id())
        began = worker.clock.now_seconds
        await until(lambda: worker.clock.now_seconds > began)
        worker.edges.unsettled.clear()
        await until(lambda: worker.count("rudder_states_repaired_total") == 1)
    assert await system.differences() == []


async def test_releases_over_the_bound_are_reported() -> None:
    worker = Worker(deployed())
    with capture_logs() as logs:
        async with worker.running():
            for _ in range(35):
                worker.order.published_late(uuid4())
            await until(lambda: worker.count("rudder_states_repaired_total") == 30)
    assert [line["releases"] for line in logs if line["event"] == LogEvent.STATES_NOT_REPAIRED] == [5]


async def test_last_attempt_at_the_stop_repairs() -> None:
    system = with_late_state()
    worker = Worker(system)
    worker.order.published_late(release_id())
    await worker.monitor.flush()
    assert await system.differences() == []


async def test_stop_during_an_outage_reports_what_is_left() -> None:
    worker = Worker(with_late_state())
    worker.edges.down = Unavailable("down")
    worker.order.published_late(release_id())
    with capture_logs() as logs:
        await worker.monitor.flush()
        worker.monitors.database.suspect()
        await worker.monitor.flush()
    assert [(line["event"], line["releases"]) for line in logs] == [(LogEvent.STATES_NOT_REPAIRED, 1)] * 2


async def test_stop_interrupts_a_repair_and_loses_no_release() -> None:
    system = with_late_state()
    worker = Worker(system)
    reading = asyncio.Event()

    async def never(release_ids: Sequence[UUID]) -> Sequence[ReleaseRows]:
        del release_ids
        reading.set()
        await asyncio.Event().wait()
        return ()

    worker.edges.rows_of, rows_of = never, worker.edges.rows_of  # type: ignore[method-assign]
    async with worker.running():
        worker.order.published_late(release_id())
        await reading.wait()
    worker.edges.rows_of = rows_of  # type: ignore[method-assign]
    await worker.monitor.flush()
    assert await system.differences() == []
