"""Times are read strictly and written in one form."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from schemas.times import format_time, parse_time, time_of_timestamp


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T09:30:00Z", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01t09:30:00z", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01T09:30:00.5Z", datetime(2026, 3, 1, 9, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T09:30:00.1234569999Z", datetime(2026, 3, 1, 9, 30, 0, 123_456, tzinfo=UTC)),
        ("2026-03-01T09:30:00+05:30", datetime(2026, 3, 1, 4, 0, tzinfo=UTC)),
        ("2026-03-01T09:30:00-00:00", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9998-12-31T23:59:59.999999Z", datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("9999-01-01T00:30:00+01:00", datetime(9998, 12, 31, 23, 30, tzinfo=UTC)),
    ],
)
def test_rfc3339_time_is_converted_to_utc_microseconds(text: str, expected: datetime) -> None:
    """Any zone and any precision name one instant; digits past the sixth are cut, not rounded."""
    time = parse_time(text)
    assert time == expected
    assert time.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-01",
        "2026-03-01T09:30:00",
        "2026-03-01 09:30:00Z",
        "2026-03-01T09:30Z",
        "20260301T093000Z",
        "2026-W09-7T09:30:00Z",
        "2026-03-01T09:30:00,5Z",
        "2026-03-01T09:30:00.Z",
        "2026-03-01T09:30:00+0530",
        "2026-03-01T09:30:00+05",
        "2026-03-01T09:30:00+24:00",
        "2026-03-01T09:30:00+05:30:15",
        "2026-03-01T24:00:00Z",
        "2026-06-30T23:59:60Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-01-01T00:00:00Z",
        "9998-12-31T23:30:00-01:00",
        "9999-12-31T23:59:59-01:00",
        " 2026-03-01T09:30:00Z",
        "2026-03-01T09:30:00Z\n",
        "\uff12026-03-01T09:30:00Z",
    ],
)
def test_text_that_is_no_rfc3339_time_is_refused(text: str) -> None:
    """No zone, other ISO 8601 shapes, a leap second, a day of no calendar, a UTC year outside 1..9998."""
    with pytest.raises(ValueError, match=r"^is "):
        parse_time(text)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (datetime(2026, 3, 1, 9, 30, tzinfo=UTC), "2026-03-01T09:30:00.000000Z"),
        (datetime(2026, 3, 1, 9, 30, 0, 7, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T07:30:00.000007Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_times_are_written_in_utc_with_six_digits(time: datetime, expected: str) -> None:
    """One constant form, whatever the precision and the zone."""
    assert format_time(time) == expected
    assert parse_time(expected) == time


def test_time_without_a_zone_is_never_written() -> None:
    """A naive time would be read as some machine's local time."""
    with pytest.raises(ValueError, match="zone"):
        format_time(datetime(2026, 3, 1))  # noqa: DTZ001 - the point of it


@pytest.mark.parametrize(
    ("timestamp_ms", "expected"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_772_357_400_123, datetime(2026, 3, 1, 9, 30, 0, 123_000, tzinfo=UTC)),
        (-1, None),
        (253_370_764_800_000, None),
        (2**63 - 1, None),
    ],
)
def test_kafka_timestamp_is_milliseconds_and_minus_one_is_none(timestamp_ms: int, expected: datetime | None) -> None:
    """A timestamp that a record does not have, or that no database could hold, is none."""
    assert time_of_timestamp(timestamp_ms) == expected
