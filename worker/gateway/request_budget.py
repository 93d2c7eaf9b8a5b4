"""Back-pressure: the budget of requests and bytes that the gateway holds and Kafka has not acknowledged.

A request whose client has its answer still counts while the producer has its records: in an outage they wait there.
"""

from collections import Counter
from typing import Final

from worker.gateway.problems import Kind, Refusal
from worker.telemetry import IN_FLIGHT_BYTES, IN_FLIGHT_RECORDS, Metrics

KEY_PART: Final = 2
"""One key has at most half of the requests and of the bytes: one party's flood leaves the other half to the others."""

_FULL = "the gateway has as many requests in progress as it may"
_KEY_FULL = "this key has as many requests in progress as one key may"


class RequestBudget:
    """Counts requests with a complete body, as records in flight, and the bytes of all bodies."""

    def __init__(self, *, records_max: int, bytes_max: int, metrics: Metrics) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._records = 0
        self._bytes = 0
        self._records_of_key: Counter[str] = Counter()
        self._bytes_of_key: Counter[str] = Counter()
        metrics.read_at_scrape(IN_FLIGHT_RECORDS, lambda: self._records)
        metrics.read_at_scrape(IN_FLIGHT_BYTES, lambda: self._bytes)

    def usage(self) -> "RequestUsage":
        return RequestUsage(self)

    def require_free(self, key: str) -> None:
        """Raise Refusal if the key can get no record now, before its request costs more."""
        if self._records >= self._records_max:
            raise Refusal(Kind.TOO_MANY_REQUESTS, _FULL, key=key)
        if self._records_of_key[key] >= max(1, self._records_max // KEY_PART):
            raise Refusal(Kind.TOO_MANY_REQUESTS, _KEY_FULL, key=key)

    def _take_bytes(self, count: int) -> None:
        if self._bytes + count > self._bytes_max:
            raise Refusal(Kind.TOO_MANY_REQUESTS, _FULL)
        self._bytes += count

    def _take_records(self, count: int, size: int, key: str) -> None:
        if self._records and self._records + count > self._records_max:
            raise Refusal(Kind.TOO_MANY_REQUESTS, _FULL, key=key)
        records, bytes_ = self._records_of_key[key] + count, self._bytes_of_key[key] + size
        if (records > max(1, self._records_max // KEY_PART) and self._records_of_key[key]) or (
            bytes_ > self._bytes_max // KEY_PART and self._bytes_of_key[key]
        ):
            raise Refusal(Kind.TOO_MANY_REQUESTS, _KEY_FULL, key=key)
        self._records += count
        self._records_of_key[key] = records
        self._bytes_of_key[key] = bytes_

    def _give_back(self, records: int, size: int, key: str | None) -> None:
        self._records -= records
        self._bytes -= size
        if key is not None:
            for counter, count in ((self._records_of_key, records), (self._bytes_of_key, size)):
                counter[key] -= count
                if not counter[key]:
                    del counter[key]


class RequestUsage:
    """What one request holds of the budget. It is given back at the last `release`."""

    def __init__(self, budget: RequestBudget) -> None:
        self._budget = budget
        self._records = 0
        self._bytes = 0
        self._key: str | None = None
        self._holders = 1

    def add_bytes(self, count: int) -> None:
        """Raises Refusal: the budget is used up."""
        self._budget._take_bytes(count)  # noqa: SLF001 - one idea in two classes
        self._bytes += count

    def add_records(self, count: int, *, key: str) -> None:
        """Count the records of the authenticated request; once. Raises Refusal: the budget, or the key's part of it, is
        used up.
        """
        self._budget._take_records(count, self._bytes, key)  # noqa: SLF001
        self._records, self._key = count, key

    def hold(self) -> None:
        """Have the usage last until one more `release`."""
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        if not self._holders:
            self._budget._give_back(self._records, self._bytes, self._key)  # noqa: SLF001
