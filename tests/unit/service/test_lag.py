"""The lag of a partition is measured even if no record completes, and a stalled partition is reported once."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.unit.pipeline.scripted import created, garbage
from tests.unit.pipeline.test_consumer import P0, P1, Harness, is_open, until
from worker.ports import LogEnd, Partition
from worker.rules.errors import Unavailable
from worker.service.lag import LagMonitor
from worker.telemetry import LogEvent


class ScriptedLogs:
    """Returns the log ends that the test sets, or raises `down`."""

    def __init__(self) -> None:
        self.ends: dict[Partition, LogEnd] = {}
        self.down: Unavailable | None = None

    async def log_ends(self) -> dict[Partition, LogEnd]:
        await asyncio.sleep(0)
        if self.down is not None:
            raise self.down
        return dict(self.ends)


class Measured:
    """A monitor over a consumer on scripted ports."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.logs = ScriptedLogs()
        self.lag_monitor = LagMonitor(
            self.logs,
            consumer=harness.consumer,
            monitors=harness.monitors,
            breaker=harness.breaker,
            clock=harness.clock,
            metrics=harness.metrics,
        )
        harness.consumer.beat_seconds = 0.0

    def value(self, name: str, partition: Partition = P0) -> float | None:
        labels = {"topic": partition.topic, "partition": str(partition.partition)}
        return self.harness.metrics.registry.get_sample_value(f"rudder_partition_{name}", labels)

    async def after(self, seconds: float) -> None:
        self.harness.clock.now_seconds += seconds
        await self.lag_monitor.run_once()


def end(position: int, log_end: int, *, stable: int | None = None) -> LogEnd:
    return LogEnd(position=position, stable=log_end if stable is None else stable, end=log_end)


async def test_lag_counts_records_behind_the_next_offset() -> None:
    measured = Measured(Harness())
    measured.logs.ends = {P0: end(3, 10), P1: end(5, 5)}
    await measured.after(0.0)
    assert [measured.value("lag_records", one) for one in (P0, P1)] == [7, 0]
    assert [measured.value("stalled_seconds", one) for one in (P0, P1)] == [0, 0]


async def test_unfinished_record_is_part_of_the_lag() -> None:
    harness = Harness(created("a", offset=3), created("b", offset=4))
    measured = Measured(harness)
    measured.logs.ends = {P0: end(5, 5), P1: end(0, 0)}
    harness.publisher.acknowledging.clear()
    async with harness.running():
        await until(lambda: len(harness.store.written) == 2)
        await measured.lag_monitor.run_once()
        assert measured.value("lag_records") == 2
        harness.publisher.acknowledging.set()
        await until(lambda: harness.source.committed == {P0: 5})
        await measured.lag_monitor.run_once()
        assert measured.value("lag_records") == 0


async def test_lag_is_measured_while_the_breaker_is_open() -> None:
    """Records that stay in the topic count, also if they were fetched or belong to partitions assigned later."""
    harness = Harness(*(garbage(offset=offset) for offset in range(50)), breaker_events=3)
    measured = Measured(harness)
    with capture_logs() as logs:
        async with harness.running():
            await until(lambda: is_open(harness) and harness.source.committed.get(P0, 0) >= 3)
            polled = len(harness.source.polls)
            await until(lambda: len(harness.source.polls) > polled + 2)
            measured.logs.ends = {P0: end(50, 1000), P1: end(0, 7)}
            await measured.after(0.0)
            assert measured.value("lag_records") == 1000 - harness.source.committed[P0]
            assert measured.value("lag_records", P1) == 7
            await measured.after(60.0)
            assert measured.value("stalled_seconds", P1) == 60
    stalled = [log for log in logs if log["event"] == LogEvent.PARTITION_STALLED]
    assert {log["partition"]: log["cause"] for log in stalled} == dict.fromkeys(
        (0, 1), "the breaker is open; see rudder-worker breaker status"
    )


async def test_open_transaction_is_reported_once_and_so_is_its_end() -> None:
    measured = Measured(Harness())
    with capture_logs() as logs:
        measured.logs.ends = {P0: end(10, 10)}
        await measured.after(0.0)
        await measured.after(1000.0)  # idle, which is no stall
        for log_end in range(100, 120):
            measured.logs.ends = {P0: end(10, log_end, stable=10)}
            await measured.after(5.0)
        assert (measured.value("lag_records"), measured.value("open_transaction_records")) == (109, 109)
        assert measured.value("stalled_seconds") == 100
        measured.logs.ends = {P0: end(119, 119)}
        await measured.after(5.0)
    assert measured.value("open_transaction_records") == measured.value("stalled_seconds") == 0
    stalled, advances = logs
    assert (stalled["event"], stalled["log_level"]) == (LogEvent.PARTITION_STALLED, "warning")
    assert (stalled["topic"], stalled["partition"], stalled["offset"]) == ("in", 0, 10)
    assert (stalled["last_stable_offset"], stalled["log_end"], stalled["stalled_seconds"]) == (10, 111, 60)
    assert "transaction" in stalled["cause"]
    assert (advances["event"], advances["offset"]) == (LogEvent.PARTITION_RESUMED, 119)


async def test_stalled_partition_is_reported() -> None:
    measured = Measured(Harness())
    measured.logs.ends = {P0: end(10, 20)}
    with capture_logs() as logs:
        await measured.after(0.0)
        await measured.after(60.0)
    [stalled] = logs
    assert "delivers no records" in stalled["cause"]


@pytest.mark.parametrize("why", ["an outage", "a record that is held back"])
async def test_stall_with_another_report_is_only_measured(why: str) -> None:
    harness = Harness(created("a", offset=0))
    measured = Measured(harness)
    measured.logs.ends = {P0: end(1, 100), P1: end(0, 0)}
    harness.publisher.acknowledging.clear()
    with capture_logs() as logs:
        if why == "an outage":
            harness.monitors.database.suspect()
            await measured.after(0.0)
            await measured.after(60.0)
        else:
            async with harness.running():
                await until(lambda: len(harness.store.written) == 1)
                await measured.after(0.0)
                await measured.after(60.0)
                assert (measured.value("lag_records"), measured.value("stalled_seconds")) == (100, 60)
                harness.publisher.acknowledging.set()
    assert [log for log in logs if log["event"] == LogEvent.PARTITION_STALLED] == []


async def test_values_of_a_partition_end_with_its_assignment() -> None:
    measured = Measured(Harness())
    measured.logs.ends = {P0: end(3, 10), P1: end(0, 7)}
    await measured.after(0.0)
    measured.logs.ends = {P1: end(0, 7)}
    await measured.after(0.0)
    assert (measured.value("lag_records"), measured.value("lag_records", P1)) == (None, 7)
    assert measured.value("stalled_seconds") is measured.value("open_transaction_records") is None


async def test_unavailable_broker_keeps_the_last_values() -> None:
    measured = Measured(Harness())
    measured.logs.ends = {P0: end(3, 10)}
    await measured.after(0.0)
    measured.logs.down = Unavailable("down")
    await measured.after(5.0)
    assert measured.value("lag_records") == 7


async def test_monitor_measures_until_it_is_stopped() -> None:
    measured, stop = Measured(Harness()), asyncio.Event()
    measured.logs.ends = {P0: end(3, 10)}
    async with asyncio.TaskGroup() as group:
        group.create_task(measured.lag_monitor.run(stop))
        await until(lambda: measured.value("lag_records") == 7)
        stop.set()
