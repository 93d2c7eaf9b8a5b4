"""How much more may be fetched: the bound on records that are fetched and not done.

What is not done is counted for each partition as well. Where there are several, one that has a quarter of the room gets
no more: a release that cannot be finished, and all that comes after it, stops its own partition and not the others. A
single poll may be all of one partition, so it gets no more than an eighth; two partitions that are stuck thus leave a
quarter of the room to the rest.

Fetching a record each time that one is done would cost a poll for each; so there is a low mark as well, and what is
full counts as full until it has sunk to that.
"""

import asyncio
from dataclasses import dataclass

from schemas.record import Record
from worker.telemetry import IN_FLIGHT_BYTES, IN_FLIGHT_RECORDS, Metrics


@dataclass(slots=True)
class Usage:
    """What one partition has in flight; `full` from a quarter of the room down to an eighth."""

    records: int = 0
    bytes: int = 0
    full: bool = False


class InFlightBudget:
    """Counts records and their bytes: keys, values, headers. The bytes may overshoot by what one poll brings."""

    def __init__(self, *, records_max: int, bytes_max: int, metrics: Metrics) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._records = 0
        self._bytes = 0
        self.event = asyncio.Event()
        """Set when it is worth while to fetch again; whoever waits for it clears it first."""
        metrics.read_at_scrape(IN_FLIGHT_RECORDS, lambda: self._records)
        metrics.read_at_scrape(IN_FLIGHT_BYTES, lambda: self._bytes)

    def records(self, *, partitions: int) -> int:
        """How many more records may be fetched by one poll of so many partitions."""
        free = self._records_max - self._records if self._bytes < self._bytes_max else 0
        return free if partitions == 1 else min(free, max(1, self._records_max // 8))

    @property
    def below_low_watermark(self) -> bool:
        """Whether a quarter of the room is free, and so a poll brings more than a few records."""
        return self._records * 4 <= self._records_max * 3 and self._bytes < self._bytes_max

    def over_quota(self, usage: Usage, *, partitions: int) -> bool:
        """Whether no more may be fetched of a partition, one of so many."""
        if partitions == 1:
            return False
        mark = 8 if usage.full else 4
        usage.full = usage.records * mark >= self._records_max or usage.bytes * mark >= self._bytes_max
        return usage.full

    def take(self, record: Record, usage: Usage) -> None:
        self._change(1, _size(record), usage)

    def give_back(self, record: Record, usage: Usage) -> None:
        self._change(-1, -_size(record), usage)
        if self.below_low_watermark and not (usage.full and self.over_quota(usage, partitions=2)):
            self.event.set()

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
