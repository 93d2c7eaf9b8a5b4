"""Back-pressure: the budget of records and bytes that are fetched and not completed.

With several partitions, one that uses a quarter of the budget is paused, until it uses an eighth: a blocked partition
must not stop the others. All records of a poll may be of one partition, so a poll fetches at most an eighth of the
budget. Two blocked partitions leave a quarter of it to the others.

Fetching resumes at a low watermark: fetching at each completed record would cost a poll per record.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from schemas.record import Record
from worker.telemetry import IN_FLIGHT_BYTES, IN_FLIGHT_RECORDS, Metrics


@dataclass(slots=True)
class Usage:
    """The records and bytes of one partition in flight. `full`: from a quarter of the budget down to an eighth."""

    records: int = 0
    bytes: int = 0
    full: bool = False


class InFlightBudget:
    """Counts records and their bytes: keys, values, headers. One poll may exceed the bytes."""

    def __init__(
        self,
        *,
        records_max: int,
        bytes_max: int,
        metrics: Metrics,
        on_quota_freed: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_quota_freed`: called when a partition that was paused may be fetched again."""
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._on_quota_freed = on_quota_freed
        self._records = 0
        self._bytes = 0
        self.freed = asyncio.Event()
        """Set below the low watermark. Clear it before waiting for it."""
        metrics.read_at_scrape(IN_FLIGHT_RECORDS, lambda: self._records)
        metrics.read_at_scrape(IN_FLIGHT_BYTES, lambda: self._bytes)

    def records(self, *, partitions: int) -> int:
        """The number of records that one poll may fetch, with this number of partitions."""
        free = self._records_max - self._records if self._bytes < self._bytes_max else 0
        return free if partitions == 1 else min(free, max(1, self._records_max // 8))

    @property
    def below_low_watermark(self) -> bool:
        """Whether a quarter of the budget is free, so that a poll fetches more than a few records."""
        return self._records * 4 <= self._records_max * 3 and self._bytes < self._bytes_max

    def over_quota(self, usage: Usage, *, partitions: int) -> bool:
        """Whether a partition is paused, with this number of partitions."""
        if partitions == 1:
            return False
        mark = 8 if usage.full else 4
        usage.full = usage.records * mark >= self._records_max or usage.bytes * mark >= self._bytes_max
        return usage.full

    def acquire(self, record: Record, usage: Usage) -> None:
        self._change(1, _size(record), usage)

    def release(self, record: Record, usage: Usage) -> None:
        self._change(-1, -_size(record), usage)
        was_full = usage.full
        if self.below_low_watermark and not (was_full and self.over_quota(usage, partitions=2)):
            self.freed.set()
            if was_full:
                self._on_quota_freed()

    def _change(self, records: int, size: int, usage: Usage) -> None:
        self._records += records
        self._bytes += size
        usage.records += records
        usage.bytes += size


def _size(record: Record) -> int:
    size = len(record.value or b"") + len(record.key or b"")
    for name, value in record.headers:
        size += len(name) + len(value or b"")
    return size
