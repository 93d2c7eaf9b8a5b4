"""Time as the contract writes it: strict RFC 3339 in, one constant UTC form out.

`datetime.fromisoformat` reads far more than RFC 3339 (week dates, no zone, and what newer Pythons add), so the text's
shape is settled by a pattern first: which events are valid must not depend on the interpreter.
"""

import re
from datetime import UTC, datetime, timedelta

YEAR_MAX = 9998
"""A year of room on either side, so that no zone a database session uses can push a time out of its range."""

RFC3339_PATTERN = (
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_RFC3339 = re.compile(RFC3339_PATTERN)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> datetime:
    """RFC 3339 text as an aware UTC time, cut to the microsecond.

    Raises ValueError, whose message holds none of the text, for any other shape, a leap second, and a UTC year outside
    1..9998.
    """
    if _RFC3339.fullmatch(text) is None:
        raise ValueError("is no RFC 3339 time with a zone")
    try:
        time = datetime.fromisoformat(text.upper())
        if time.tzinfo is not UTC:
            time = time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no day of the calendar, or out of range") from None
    if time.year > YEAR_MAX:
        raise ValueError(f"is past the year {YEAR_MAX}, UTC")
    return time


def format_time(time: datetime) -> str:
    """An aware time as `2026-03-01T09:30:00.000000Z`: always UTC, always six digits, so that texts sort as times do."""
    if time.tzinfo is None:
        raise ValueError("a time without a zone cannot be written")
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def seconds_after(time: datetime, timestamp_ms: int) -> float | None:
    """How long after a record's timestamp an event's time is, in seconds; None where the record has no timestamp."""
    recorded_at = time_of_timestamp(timestamp_ms)
    return None if recorded_at is None else (time - recorded_at).total_seconds()


def time_of_timestamp(timestamp_ms: int) -> datetime | None:
    """A Kafka timestamp as an aware UTC time; None where it holds none (Kafka says -1) or is out of range."""
    if timestamp_ms < 0:
        return None
    try:
        time = _EPOCH + timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return None
    return time if time.year <= YEAR_MAX else None
