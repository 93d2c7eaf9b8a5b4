"""Assigned partitions are admitted once their last committed record is known; otherwise held, or read again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from schemas.record import Record
from tests.unit.pipeline.scripted import ScriptedStore, created
from tests.unit.pipeline.test_consumer import P0, P1, Harness, until
from tests.unit.test_database_behind import Database, Topics, decoded, log
from worker.rules.errors import ConfigurationError, Unavailable
from worker.service.behind_monitor import BehindMonitor
from worker.telemetry import LogEvent


class Client(Topics):
    """`failure`: raised when it is started. `open`: how many are started and not stopped."""

    failure: Exception | None = None
    open = 0

    async def start(self) -> None:
        self.open += 1
        if self.failure is not None:
            raise self.failure

    async def stop(self) -> None:
        self.open -= 1


class Stored(Database):
    """A database that has what a store has written, too."""

    def __init__(self, records: Sequence[Record], store: ScriptedStore) -> None:
        super().__init__(records)
        self._store = store

    async def known(self, ids: Sequence[UUID]) -> set[UUID]:
        written = {changes.activities[0].id for changes in self._store.written}
        return (self.ids | written) & set(ids)


class Worker:
    """A consumer whose partitions are checked, over a log with `committed` records of partition 0."""

    def __init__(self, records: Sequence[Record], *, known: Sequence[Record], committed: int, rewinds: bool) -> None:
        self.harness = Harness(*records[committed:], holds_assigned=True)
        self.harness.source._log += records[:committed]
        self.client = Client(*records, committed={P0: committed})
        self.database = Stored(known, self.harness.store)
        self.monitor = BehindMonitor(
            self.harness.consumer,
            lambda: self.client,
            self.database,
            decoded,
            rewinds=rewinds,
            known_records_min=10,
            monitors=self.harness.monitors,
            clock=self.harness.clock,
            metrics=self.harness.metrics,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        async with self.harness.running():
            running = asyncio.ensure_future(self.monitor.run(stop))
            yield
            stop.set()
            await running
        assert self.client.open == 0

    @property
    def behind(self) -> float | None:
        return self.harness.metrics.registry.get_sample_value("rudder_partitions_behind")


async def test_known_partition_is_admitted() -> None:
    records = log(10)
    worker = Worker(records, known=records[:7], committed=7, rewinds=False)
    with capture_logs() as logs:
        async with worker.running():
            await until(lambda: worker.harness.source.committed == {P0: 10})
    assert worker.monitor.problem is None
    assert [line for line in logs if str(line["event"]).startswith("database.")] == []


async def test_stop_holds_the_partition_until_the_event_is_known() -> None:
    """Others continue. It is logged once, with what to do."""
    records = log(10)
    worker = Worker([*records, created("other", offset=0, partition=1)], known=records[:5], committed=7, rewinds=False)
    with capture_logs() as logs:
        async with worker.running():
            await until(lambda: worker.harness.source.committed == {P1: 1} and worker.behind == 1)
            now_seconds = worker.harness.clock.now_seconds
            await until(lambda: worker.harness.clock.now_seconds > now_seconds + 60)
            assert worker.harness.source.committed == {P1: 1}
            assert worker.monitor.problem is not None
            assert worker.monitor.problem.startswith(
                "in/0: the group has committed offset 7, but the event at offset 6"
            )
            assert "RUDDER_DATABASE_BEHIND=rewind" in worker.monitor.problem
            worker.database.ids |= Database(records[:7]).ids
            await until(lambda: worker.harness.source.committed.get(P0) == 10)
        assert worker.monitor.problem is None
        assert worker.behind == 0
    [behind] = [line for line in logs if line["event"] == LogEvent.DATABASE_BEHIND]
    assert (behind["log_level"], behind["partition"], behind["committed"], behind["offset"]) == ("error", 0, 7, 6)
    assert "rudder-worker replay" in behind["advice"]
    assert [line["partition"] for line in logs if line["event"] == LogEvent.DATABASE_CURRENT] == [0]


async def test_rewind_reads_from_the_oldest_unknown_event() -> None:
    records = log(40)
    worker = Worker(records, known=[*records[:20], records[25]], committed=37, rewinds=True)
    with capture_logs() as logs:
        async with worker.running():
            await until(lambda: worker.harness.source.committed == {P0: 40})
    assert worker.harness.source.commits[0] == {P0: 20}
    assert worker.harness.store.offsets == list(range(20, 40))
    [rewound] = [line for line in logs if line["event"] == LogEvent.DATABASE_REWOUND]
    assert (rewound["committed"], rewound["to_offset"], rewound["records_missing"]) == (37, 20, None)


@pytest.mark.parametrize("failure", [Unavailable("no broker"), ConfigurationError("no privilege on the topic")])
async def test_failed_check_holds_the_partition(failure: Exception) -> None:
    records = log(10)
    worker = Worker(records, known=records[:7], committed=7, rewinds=False)
    worker.client.failure = failure
    with capture_logs() as logs:
        async with worker.running():
            now_seconds = worker.harness.clock.now_seconds
            await until(lambda: worker.harness.clock.now_seconds > now_seconds + 60)
            assert worker.harness.source.committed == {}
            if isinstance(failure, ConfigurationError):
                assert worker.monitor.problem is not None
                assert worker.monitor.problem.endswith(str(failure))
            worker.client.failure = None
            await until(lambda: worker.harness.source.committed == {P0: 10})
        assert worker.monitor.problem is None
    failed = [line for line in logs if line["event"] == LogEvent.DATABASE_CHECK_FAILED]
    assert len(failed) == isinstance(failure, ConfigurationError)


async def test_replaced_database_is_noticed_under_a_running_worker() -> None:
    """The last completed events are compared every few seconds, and before an outage ends."""
    records = log(10)
    worker = Worker(records[:9], known=records[:5], committed=5, rewinds=True)
    async with worker.running():
        await until(lambda: worker.harness.source.committed == {P0: 9})
        worker.client._committed = {P0: 9}
        worker.harness.store.written.clear()  # yesterday's copy
        await until(lambda: {P0: 5} in worker.harness.source.commits)
        await until(lambda: worker.harness.source.commits[-1] == {P0: 9})
    assert worker.harness.store.offsets == list(range(5, 9))
