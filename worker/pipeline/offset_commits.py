"""Commits of completed offsets, and the partitions whose commit is blocked by an incomplete record."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import nullcontext

import structlog

from worker.pipeline.dependency_monitor import DependencyMonitor, DependencyMonitors
from worker.pipeline.partition_state import PartitionState
from worker.pipeline.state_order import StateOrder
from worker.ports import Clock, ConsumerClient, Partition, PartitionsLost
from worker.rules.errors import Unavailable
from worker.telemetry import COMMIT_BLOCKED_SECONDS, COMMITS, LogEvent, Metrics

_BLOCKED_SECONDS_MAX = 30.0
"""Longer than a busy database takes for a message."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.consumer")


class OffsetCommits:
    """Of one consumer. `state_order`: None: no states are published."""

    def __init__(
        self, client: ConsumerClient, *, broker: DependencyMonitor, metrics: Metrics, state_order: StateOrder | None
    ) -> None:
        self._client = client
        self._broker = broker
        self._metrics = metrics
        self._state_order = state_order
        self._failure: tuple[type, type] | None = None
        self.lock = asyncio.Lock()
        """Held by every commit: no older one may be in flight when a partition is released."""

    async def commit(self, partition_states: Iterable[PartitionState]) -> None:
        """Commit completed offsets. Callers hold `lock`. A failure is logged: the next commit includes these offsets,
        or another member reads the records again.
        """
        ready = [
            (partition_state, offset)
            for partition_state in partition_states
            if (offset := partition_state.to_commit()) is not None
        ]
        if not ready:
            return
        try:
            with nullcontext() if self._state_order is None else self._state_order.commit():
                await self._client.commit({partition_state.partition: offset for partition_state, offset in ready})
        except (Unavailable, PartitionsLost) as error:
            # Records of lost partitions are delivered again, here or to another member, and are duplicates there.
            self._metrics.count(COMMITS, type(error).__name__)
            failure = type(error), type(error.__cause__)
            if failure != self._failure:
                _log.warning(LogEvent.COMMIT_FAILED, cause=str(error), partitions=len(ready))
            self._failure = failure
            if isinstance(error, Unavailable):
                self._broker.suspect()
            return
        self._failure = None
        self._metrics.count(COMMITS, "ok")
        for partition_state, offset in ready:
            partition_state.committed(offset)


class BlockedCommits:
    """Reports partitions whose commit an incomplete record blocks for long, and when it no longer does."""

    def __init__(self, monitors: DependencyMonitors, *, clock: Clock, metrics: Metrics) -> None:
        self._monitors = monitors
        self._clock = clock
        self._metrics = metrics
        self._logged_offsets: dict[Partition, int] = {}
        self._unavailable_at_seconds = float("-inf")

    def check(self, partition_states: Mapping[Partition, PartitionState]) -> None:
        now_seconds = self._clock.monotonic_seconds()
        if not self._monitors.available:
            self._unavailable_at_seconds = now_seconds
        # An outage is logged by itself; messages need some time after it.
        explained = now_seconds - self._unavailable_at_seconds < _BLOCKED_SECONDS_MAX
        blocked_seconds = {one.partition: one.blocked_seconds(now_seconds) for one in partition_states.values()}
        self._metrics.set(COMMIT_BLOCKED_SECONDS, max(blocked_seconds.values(), default=0.0))
        for partition, partition_state in partition_states.items():
            offset = partition_state.first_incomplete
            logged_offset = self._logged_offsets.get(partition)
            if logged_offset is not None and logged_offset != offset:
                del self._logged_offsets[partition]
                _log.info(LogEvent.COMMIT_UNBLOCKED, **partition._asdict(), offset=logged_offset)
            late = blocked_seconds[partition] >= _BLOCKED_SECONDS_MAX
            if offset is not None and logged_offset != offset and late and not explained:
                self._logged_offsets[partition] = offset
                _log.warning(
                    LogEvent.COMMIT_BLOCKED,
                    **partition._asdict(),
                    offset=offset,
                    records_behind=partition_state.commit_lag - 1,
                    blocked_seconds=round(blocked_seconds[partition], 1),
                )

    def drop(self, partition: Partition) -> None:
        """The partition was released."""
        self._logged_offsets.pop(partition, None)
