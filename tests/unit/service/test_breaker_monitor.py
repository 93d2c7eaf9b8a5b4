"""The breaker of a process and the row of its group: read, written once, and closed for all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from tests.unit.pipeline.scripted import ScriptedPublisher, ScriptedStore, SimulatedClock, probing, the_monitors
from tests.unit.pipeline.test_breaker import BAD, an_opening, expected
from worker.group_breaker import Opening
from worker.pipeline.breaker import Breaker
from worker.rules.errors import Unavailable
from worker.service.breaker_monitor import BreakerMonitor
from worker.telemetry import LogEvent, Metrics

CLOSED_AT = datetime(2026, 3, 1, 13, tzinfo=UTC)


class Rows:
    """`worker_breakers` in memory. `down`: the error of every call. `lost`: the next response is lost."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Opening] = {}
        self.down: Exception | None = None
        self.lost = False
        self.reads = 0

    async def current(self, group_id: str) -> Opening | None:
        self.reads += 1
        await self._call()
        return next((one for one in self.rows.values() if one.group_id == group_id and one.closed_at is None), None)

    async def find(self, id_: UUID) -> Opening | None:
        await self._call()
        return self.rows.get(id_)

    async def past(self, group_id: str, *, limit: int) -> Sequence[Opening]:
        raise NotImplementedError

    async def record(self, opening: Opening) -> Opening | None:
        await self._call()
        current = await self.current(opening.group_id)
        found = current or self.rows.setdefault(opening.id, opening)
        if self.lost:
            self.lost = False
            raise Unavailable("no response")
        return found

    async def close(self, id_: UUID, *, closed_at: datetime, closed_by: str, note: str) -> bool:
        self.rows[id_] = replace(self.rows[id_], closed_at=closed_at, closed_by=closed_by, note=note)
        return True

    async def _call(self) -> None:
        await asyncio.sleep(0)
        if self.down is not None:
            raise self.down

    @property
    def open(self) -> list[Opening]:
        return [one for one in self.rows.values() if one.closed_at is None]


class Process:
    """One worker process of the group."""

    def __init__(self, rows: Rows, name: str = "worker on host") -> None:
        self.breaker = Breaker(events=1, rejected_share_max=0.5)
        self.clock = SimulatedClock()
        self.store = ScriptedStore()
        self.monitors = the_monitors(self.store, ScriptedPublisher(), self.clock, Metrics())
        self.monitor = BreakerMonitor(
            self.breaker,
            rows,
            group_id="group",
            worker=name,
            database=self.monitors.database,
            clock=self.clock,
        )

    def trip(self) -> None:
        assert self.breaker.decided(expected(self.breaker, 0), BAD)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        async with probing(self.monitors):
            running = asyncio.ensure_future(self.monitor.run(stop))
            yield
            stop.set()
            await running


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def closed(rows: Rows) -> None:
    [opening] = rows.open
    await rows.close(opening.id, closed_at=CLOSED_AT, closed_by="maria", note="publisher corrected")


async def test_process_that_starts_follows_the_open_row() -> None:
    rows = Rows()
    opening = an_opening()
    rows.rows[opening.id] = opening
    process = Process(rows)
    await process.monitor.check()
    assert process.breaker.opening == opening


async def test_trip_stops_all_processes_with_one_row() -> None:
    """Two trip at once, a third only reads; closing the row closes all, and each logs it once."""
    rows = Rows()
    processes = [Process(rows, f"worker {number}") for number in range(3)]
    with capture_logs() as logs:
        for process in processes:
            await process.monitor.check()
        processes[0].trip()
        processes[1].trip()
        await asyncio.gather(*(process.monitor.check() for process in processes))
        await processes[2].monitor.check()
        [row] = rows.rows.values()
        assert row.opened_by in {"worker 0", "worker 1"}
        assert [process.breaker.opening for process in processes] == [row] * 3
        await closed(rows)
        for process in processes:
            await process.monitor.check()
    assert not any(process.breaker.is_open for process in processes)
    opened = [log for log in logs if log["event"] == LogEvent.BREAKER_OPENED]
    assert [(log["log_level"], log["opened_by"]) for log in opened] == [("error", row.opened_by)]
    over = [log for log in logs if log["event"] == LogEvent.BREAKER_CLOSED]
    assert [(log["closed_by"], log["note"]) for log in over] == [("maria", "publisher corrected")] * 3


async def test_trip_is_written_when_the_database_answers() -> None:
    """It stands by meanwhile; the row has the time of the trip."""
    rows = Rows()
    process = Process(rows)
    await process.monitor.check()
    async with process.running():
        rows.down = process.store.down = Unavailable("connection refused")
        process.trip()
        tripped_at_seconds = process.clock.now_seconds
        await until(lambda: process.monitors.database.in_outage and process.clock.now_seconds > 2_000)
        assert process.breaker.is_open
        assert process.breaker.cause is not None
        assert process.breaker.cause.endswith("not in the database yet")
        rows.down = process.store.down = None
        await until(lambda: process.breaker.opening is not None)
        [row] = rows.open
        assert row.opened_at.timestamp() <= tripped_at_seconds + 5
        await closed(rows)
        await until(lambda: not process.breaker.is_open)


@pytest.mark.parametrize("closes", [False, True])
async def test_lost_response_leaves_one_row(closes: bool) -> None:
    """Written, and perhaps closed before that is known: it is not opened again."""
    rows = Rows()
    process = Process(rows)
    process.trip()
    rows.lost = True
    with pytest.raises(Unavailable):
        await process.monitor.check()
    if closes:
        await closed(rows)
    await process.monitor.check()
    assert len(rows.rows) == 1
    assert process.breaker.is_open is not closes


async def test_outage_neither_opens_nor_closes_the_breaker() -> None:
    rows = Rows()
    opening = an_opening()
    closed_process, open_process = Process(rows), Process(rows)
    await closed_process.monitor.check()
    rows.rows[opening.id] = opening
    await open_process.monitor.check()
    rows.down = Unavailable("connection refused")
    for process in (closed_process, open_process):
        before = process.breaker.is_open
        process.store.down = rows.down
        async with process.running():
            await until(lambda one=process: one.monitors.database.in_outage)  # type: ignore[misc]
            reads = rows.reads
            end = process.clock.now_seconds + 1_000
            await until(lambda one=process, end=end: one.clock.now_seconds > end)  # type: ignore[misc]
            assert rows.reads <= reads + 1, "one probe asks, nothing else"
        assert process.breaker.is_open is before


async def test_row_that_is_gone_closes_the_breaker() -> None:
    """As after a restore of the database."""
    rows = Rows()
    opening = an_opening()
    rows.rows[opening.id] = opening
    process = Process(rows)
    await process.monitor.check()
    del rows.rows[opening.id]
    with capture_logs() as logs:
        await process.monitor.check()
    assert not process.breaker.is_open
    assert [log["closed_by"] for log in logs] == [None]


async def test_opening_at_the_end_is_written() -> None:
    """The next start would otherwise reject another window."""
    rows = Rows()
    process = Process(rows)
    await process.monitor.flush()
    assert rows.rows == {}
    process.trip()
    await process.monitor.flush()
    assert len(rows.open) == 1
    rows.down = Unavailable("connection refused")
    other = Process(rows)
    other.trip()
    await other.monitor.flush()
    assert other.breaker.is_open
