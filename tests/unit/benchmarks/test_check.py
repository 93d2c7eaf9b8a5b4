"""What a lap is compared with."""

from itertools import islice

from benchmarks.check import Published, expectation
from benchmarks.stream import Traffic, records
from tests.oracle.records import Record


def _record(offset: int, *, timestamp_ms: int = 0, topic: str = "events") -> Record:
    return Record(topic=topic, partition=0, offset=offset, key=None, value=b"", headers=(), timestamp_ms=timestamp_ms)


def test_first_event_of_a_release_makes_three_status_events() -> None:
    """Created, its deployment requested, and deploying: the expectation counts what subscribers get."""
    [first] = islice(records(Traffic(releases_active=5)), 1)
    record = Record("events", 0, 0, first.timestamp_ms, first.value, first.headers, first.key)
    expected = expectation([record])
    assert (expected.events, expected.status_records) == (1, 3)


def test_append_times_come_from_both_topics_in_order() -> None:
    seen = Published(deployment_status=(_record(0, timestamp_ms=5), _record(1, timestamp_ms=9)))
    assert (seen + Published(release_status=(_record(0, timestamp_ms=7),))).append_times_ms == [5, 7, 9]


def test_published_records_of_earlier_runs_come_first() -> None:
    """The order of a release's status events is compared, and a lap goes on where its history ended."""
    history, run = _record(7, topic="history"), _record(0, topic="lap")
    together = Published(deployment_status=(history,)) + Published(deployment_status=(run,))
    assert together.deployment_status == (history, run)
