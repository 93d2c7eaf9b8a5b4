"""How much more may be fetched: the bound on records that are fetched and not done."""

import asyncio

from schemas.record import Record
from worker.telemetry import IN_FLIGHT_BYTES, IN_FLIGHT_RECORDS, Metrics


class Room:
    """Counts records and the bytes of their values. The bytes may overshoot by what one poll brings."""

    def __init__(self, *, records_max: int, bytes_max: int, metrics: Metrics) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._metrics = metrics
        self._records = 0
        self._bytes = 0
        self.event = asyncio.Event()
        """Set while there is room."""
        self.event.set()

    @property
    def records(self) -> int:
        """How many more records may be fetched now."""
        return self._records_max - self._records if self._bytes < self._bytes_max else 0

    def take(self, record: Record) -> None:
        self._change(1, len(record.value or b""))

    def give_back(self, record: Record) -> None:
        self._change(-1, -len(record.value or b""))

    def _change(self, records: int, size: int) -> None:
        self._records += records
        self._bytes += size
        self._metrics.set(IN_FLIGHT_RECORDS, self._records)
        self._metrics.set(IN_FLIGHT_BYTES, self._bytes)
        if self.records > 0:
            self.event.set()
        else:
            self.event.clear()
