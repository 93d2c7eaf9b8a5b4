"""Room is what bounds memory: records and bytes that are fetched and not done."""

import pytest
from prometheus_client import generate_latest

from schemas.record import Record
from worker.pipeline.in_flight_budget import InFlightBudget, Usage
from worker.telemetry import Metrics


def a_record(size_bytes: int) -> Record:
    return Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=None, value=b"x" * size_bytes)


def taken(budget: InFlightBudget, usage: Usage, number: int, *, size_bytes: int = 1) -> None:
    for _ in range(number):
        budget.acquire(a_record(size_bytes), usage)


def test_records_limit_the_budget() -> None:
    budget, usage = InFlightBudget(records_max=3, bytes_max=100, metrics=Metrics()), Usage()
    taken(budget, usage, 3)
    assert budget.records(partitions=1) == 0
    budget.release(a_record(1), usage)
    assert budget.records(partitions=1) == 1


def test_bytes_limit_the_budget() -> None:
    """A few large records leave no room, however few they are; when they go, it comes back."""
    budget, usage = InFlightBudget(records_max=1000, bytes_max=100, metrics=Metrics()), Usage()
    budget.acquire(a_record(99), usage)
    assert budget.records(partitions=1) == 999
    budget.acquire(a_record(50), usage)
    assert budget.records(partitions=1) == 0
    assert not budget.below_low_watermark
    budget.release(a_record(99), usage)
    assert budget.records(partitions=1) == 999
    assert budget.below_low_watermark


def test_full_budget_wakes_the_consumer_at_the_low_watermark() -> None:
    """A full room wakes the consumer when a quarter is free, not once for each record that is done."""
    budget, usage = InFlightBudget(records_max=100, bytes_max=10_000, metrics=Metrics()), Usage()
    taken(budget, usage, 100)
    woken = []
    for done in range(1, 101):
        budget.freed.clear()
        budget.release(a_record(1), usage)
        if budget.freed.is_set():
            woken.append(done)
    assert woken[0] == 25


def test_partition_gets_a_quarter_of_a_shared_budget() -> None:
    """And is full until it has sunk to an eighth; alone, it may have it all."""
    budget, usage = InFlightBudget(records_max=80, bytes_max=10_000, metrics=Metrics()), Usage()
    taken(budget, usage, 19)
    assert not budget.over_quota(usage, partitions=2)
    taken(budget, usage, 1)
    assert not budget.over_quota(usage, partitions=1)
    assert budget.over_quota(usage, partitions=2)
    for _ in range(10):
        budget.release(a_record(1), usage)
        assert budget.over_quota(usage, partitions=2)
    budget.release(a_record(1), usage)
    assert not budget.over_quota(usage, partitions=2)


def test_freed_quota_is_reported_once() -> None:
    """When the partition falls to an eighth, if the whole budget is below its low watermark."""
    freed: list[str] = []
    budget = InFlightBudget(
        records_max=80, bytes_max=10_000, metrics=Metrics(), on_quota_freed=lambda: freed.append("quota")
    )
    usage, other = Usage(), Usage()
    taken(budget, usage, 20)
    assert budget.over_quota(usage, partitions=2)
    for _ in range(10):
        budget.release(a_record(1), usage)
    assert freed == []
    for _ in range(5):
        budget.release(a_record(1), usage)
    assert freed == ["quota"]
    taken(budget, other, 3)
    budget.release(a_record(1), other)
    assert freed == ["quota"]


def test_poll_gets_an_eighth_of_a_shared_budget() -> None:
    """It may be all of one partition, which is then not full yet. Two that are stuck leave a quarter to the rest."""
    budget, usage, other = InFlightBudget(records_max=80, bytes_max=10_000, metrics=Metrics()), Usage(), Usage()
    assert (budget.records(partitions=1), budget.records(partitions=2)) == (80, 10)
    for stuck in (usage, other):
        while not budget.over_quota(stuck, partitions=3):
            taken(budget, stuck, budget.records(partitions=3))
    assert budget.records(partitions=3) == 10
    assert budget.below_low_watermark
    taken(budget, Usage(), 75 - 40)
    assert budget.records(partitions=3) == 5
    assert InFlightBudget(records_max=1, bytes_max=1, metrics=Metrics()).records(partitions=2) == 1


def test_quarter_of_the_bytes_counts_as_a_quarter() -> None:
    budget, usage = InFlightBudget(records_max=100, bytes_max=10_000, metrics=Metrics()), Usage()
    taken(budget, usage, 3, size_bytes=1_000)
    assert budget.over_quota(usage, partitions=2)


@pytest.mark.parametrize(
    ("record", "size_bytes"),
    [
        (Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=b"key", value=None), 3),
        (Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=None, value=b"value"), 5),
        (
            Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=None, value=None, headers=(("n", b"12"),)),
            3,
        ),
    ],
)
def test_usage_includes_key_value_and_headers(record: Record, size_bytes: int) -> None:
    """A record may be nothing but headers, and they may be large."""
    metrics = Metrics()
    budget, usage = InFlightBudget(records_max=2, bytes_max=1_000, metrics=metrics), Usage()
    budget.acquire(record, usage)
    assert usage == Usage(records=1, bytes=size_bytes)
    assert f"rudder_in_flight_bytes {float(size_bytes)}".encode() in generate_latest(metrics.registry)
    budget.release(record, usage)
    assert usage == Usage()
