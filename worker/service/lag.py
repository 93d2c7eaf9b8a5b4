"""How far each assigned partition is behind its end, and whether it advances: measured, not derived from what is done.

While the breaker is open, a record blocks its partition or a transaction at the broker is open, nothing is completed
that a metric could be derived from. So the broker is asked, every few seconds, and whether or not anything is fetched.
"""

import asyncio
from dataclasses import dataclass

import structlog

from worker.pipeline.breaker import Breaker
from worker.pipeline.consumer import Consumer
from worker.pipeline.dependency_monitor import DependencyMonitors
from worker.ports import Clock, LogEnd, LogEnds, Partition
from worker.rules.errors import Unavailable
from worker.telemetry import (
    PARTITION_LAG_RECORDS,
    PARTITION_OPEN_TRANSACTION_RECORDS,
    PARTITION_STALLED_SECONDS,
    LogEvent,
    Metrics,
)

_INTERVAL_SECONDS = 5.0

_STALLED_AFTER_SECONDS = 60.0
"""A producer's transaction may be open for a minute by default; then the broker ends it."""

_BREAKER = "the breaker is open: see breaker.opened"
_TRANSACTION = (
    "a transaction at the broker is open, and nothing behind the last stable offset is delivered before it ends: see "
    "kafka-transactions.sh find-hanging, describe-producers and abort"
)
_UNKNOWN = "the broker delivers no records of the partition: see the Kafka client's own warnings"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.lag")


@dataclass(slots=True)
class _Progress:
    """`offset`: the first that is not completed, since when; `told`: whether it was logged that it does not advance."""

    offset: int
    since_seconds: float
    told: bool = False


class LagMonitor:
    """A service. Before the consumer has begun, and once it drains, there is nothing to measure."""

    def __init__(
        self,
        logs: LogEnds,
        *,
        consumer: Consumer,
        monitors: DependencyMonitors,
        breaker: Breaker,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._logs = logs
        self._consumer = consumer
        self._monitors = monitors
        self._breaker = breaker
        self._clock = clock
        self._metrics = metrics
        self._progress: dict[Partition, _Progress] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Measure every few seconds until `stop`."""
        async with asyncio.TaskGroup() as group:
            measuring = group.create_task(self._measure(stop), name="lag")
            await stop.wait()
            measuring.cancel()

    async def _measure(self, stop: asyncio.Event) -> None:
        while not await self._clock.wait(stop, timeout_seconds=_INTERVAL_SECONDS):
            await self.run_once()

    async def run_once(self) -> None:
        """Measure once. What cannot be measured now keeps the value that it had."""
        if self._consumer.beat_seconds is None:
            return
        try:
            ends = await self._logs.log_ends()
        except Unavailable:
            return  # an outage is logged by its monitor
        for partition in self._progress.keys() - ends.keys():
            del self._progress[partition]
            for metric in (PARTITION_LAG_RECORDS, PARTITION_OPEN_TRANSACTION_RECORDS, PARTITION_STALLED_SECONDS):
                self._metrics.remove(metric, partition.topic, str(partition.partition))
        for partition, end in ends.items():
            self._note(partition, end)

    def _note(self, partition: Partition, end: LogEnd) -> None:
        now_seconds = self._clock.monotonic_seconds()
        unfinished = self._consumer.first_incomplete(partition)
        offset = end.position if unfinished is None else unfinished
        lag = max(0, end.end - offset)
        progress = self._progress.get(partition)
        if progress is None or progress.offset != offset or not lag:
            if progress is not None and progress.told:
                _log.warning(LogEvent.PARTITION_RESUMED, **partition._asdict(), offset=offset)  # as loud as the other
            progress = self._progress[partition] = _Progress(offset, now_seconds)
        stalled_seconds = now_seconds - progress.since_seconds if lag else 0.0
        labels = partition.topic, str(partition.partition)
        self._metrics.set(PARTITION_LAG_RECORDS, lag, *labels)
        self._metrics.set(PARTITION_OPEN_TRANSACTION_RECORDS, max(0, end.end - end.stable), *labels)
        self._metrics.set(PARTITION_STALLED_SECONDS, stalled_seconds, *labels)
        cause = self._cause(end, unfinished)
        if stalled_seconds >= _STALLED_AFTER_SECONDS and not progress.told and cause is not None:
            progress.told = True
            _log.warning(
                LogEvent.PARTITION_STALLED,
                **partition._asdict(),
                offset=offset,
                last_stable_offset=end.stable,
                log_end=end.end,
                stalled_seconds=round(stalled_seconds, 1),
                cause=cause,
            )

    def _cause(self, end: LogEnd, unfinished: int | None) -> str | None:
        """Why it does not advance; None where another line says so: that of an outage, or of a record held back."""
        if self._breaker.tripped is not None:
            return _BREAKER
        if unfinished is not None or not self._monitors.available:
            return None
        return _TRANSACTION if end.position >= end.stable else _UNKNOWN
