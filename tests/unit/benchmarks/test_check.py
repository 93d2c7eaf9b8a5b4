"""What a lap is held against, and how rows get there."""

from datetime import date, datetime
from itertools import islice
from typing import Any
from uuid import UUID

import pytest

from benchmarks.check import Published, expectation
from benchmarks.rows import as_text
from benchmarks.stream import Traffic, records
from worker.demo.record import TopicRecord


def _record(offset: int, *, timestamp_ms: int = 0, topic: str = "events") -> TopicRecord:
    return TopicRecord(
        topic=topic, partition=0, offset=offset, key=None, value=b"", headers=(), timestamp_ms=timestamp_ms
    )


def test_first_event_of_a_release_makes_three_status_events() -> None:
    """Created, its deployment requested, and deploying: the expectation counts what subscribers get."""
    [first] = islice(records(Traffic(releases_active=5)), 1)
    record = TopicRecord(
        topic="events",
        partition=0,
        offset=0,
        key=first.key,
        value=first.value,
        headers=first.headers,
        timestamp_ms=first.timestamp_ms,
    )
    expected = expectation([record])
    assert (expected.events, expected.status_records) == (1, 3)


def test_append_times_come_from_both_topics_in_order() -> None:
    seen = Published(deployment_status=(_record(0, timestamp_ms=5), _record(1, timestamp_ms=9)))
    assert (seen + Published(release_status=(_record(0, timestamp_ms=7),))).append_times_ms == [5, 7, 9]


def test_published_records_of_earlier_runs_come_first() -> None:
    """The order of a release's status events is compared, and a lap goes on where its history ended."""
    history, lap = _record(7, topic="history"), _record(0, topic="lap")
    together = Published(deployment_status=(history,)) + Published(deployment_status=(lap,))
    assert together.deployment_status == (history, lap)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 3, 2, 8, 0, 0, 120), "2026-03-02 08:00:00.000120"),  # noqa: DTZ001 - as the driver gives it
        (date(2026, 3, 2), "2026-03-02"),
        (UUID("F81D4FAE-7DEC-41D0-A765-00A0C91E6BF6"), "f81d4fae-7dec-41d0-a765-00a0c91e6bf6"),
        (7, 7),
        (None, None),
    ],
)
def test_expected_values_match_the_sqlite_tables(value: Any, text: Any) -> None:
    assert as_text(value) == text
