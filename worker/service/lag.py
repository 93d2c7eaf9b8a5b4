"""The lag of each assigned partition, and whether it completes records: measured at the broker.

While the breaker is open, a record blocks its partition, or a producer's transaction is open, no record is completed
from which a metric could be derived. So log ends are read every few seconds, also while nothing is fetched.
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
"""The default timeout of a producer's transaction, after which the broker aborts it."""

_BREAKER = "the breaker is open; see rudder-worker breaker status"
_TRANSACTION = (
    "a producer's transaction is open, so records behind the last stable offset are not delivered; find and abort it "
    "with kafka-transactions.sh find-hanging, describe-producers and abort"
)
_UNKNOWN = "the broker delivers no records of the partition; see the warnings of the Kafka client"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.lag")


@dataclass(slots=True)
class _Progress:
    """`offset`: the first incomplete one, since `since_seconds`. `logged`: whether the stall was logged."""

    offset: int
    since_seconds: float
    logged: bool = False


class LagMonitor:
    """A service. It measures from the consumer's first iteration until the drain."""

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
        """Measure once. Without a measurement, metrics keep their values."""
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
            self._measure_partition(partition, end)

    def _measure_partition(self, partition: Partition, end: LogEnd) -> None:
        now_seconds = self._clock.monotonic_seconds()
        incomplete = self._consumer.first_incomplete(partition)
        offset = end.position if incomplete is None else incomplete
        lag = max(0, end.end - offset)
        progress = self._progress.get(partition)
        if progress is None or progress.offset != offset or not lag:
            if progress is not None and progress.logged:
                _log.warning(
                    LogEvent.PARTITION_RESUMED, **partition._asdict(), offset=offset
                )  # the level of partition.stalled
            progress = self._progress[partition] = _Progress(offset, now_seconds)
        stalled_seconds = now_seconds - progress.since_seconds if lag else 0.0
        labels = partition.topic, str(partition.partition)
        self._metrics.set(PARTITION_LAG_RECORDS, lag, *labels)
        self._metrics.set(PARTITION_OPEN_TRANSACTION_RECORDS, max(0, end.end - end.stable), *labels)
        self._metrics.set(PARTITION_STALLED_SECONDS, stalled_seconds, *labels)
        cause = self._cause(end, incomplete)
        if stalled_seconds >= _STALLED_AFTER_SECONDS and not progress.logged and cause is not None:
            progress.logged = True
            _log.warning(
                LogEvent.PARTITION_STALLED,
                **partition._asdict(),
                offset=offset,
                last_stable_offset=end.stable,
                log_end=end.end,
                stalled_seconds=round(stalled_seconds, 1),
                cause=cause,
            )

    def _cause(self, end: LogEnd, incomplete: int | None) -> str | None:
        """Why no record is completed; None if another log event reports it: an outage, or a blocked commit."""
        if self._breaker.is_open:
            return _BREAKER
        if incomplete is not None or not self._monitors.available:
            return None
        return _TRANSACTION if end.position >= end.stable else _UNKNOWN
