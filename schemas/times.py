"""Times: strict RFC 3339 in, one UTC format out.

`datetime.fromisoformat` accepts more than RFC 3339 (week dates, no zone), and more with each Python version. So a
pattern is checked first: the validity of an event must not depend on the interpreter.
"""

import re
from datetime import UTC, datetime, timedelta

YEAR_MAX = 9998
"""One year less than the range, so that the zone of a database session cannot overflow it."""

RFC3339_PATTERN = (
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_RFC3339 = re.compile(RFC3339_PATTERN)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> datetime:
    """RFC 3339 text as an aware UTC time, cut to the microsecond.

    Raises ValueError for any other format, a leap second, and a UTC year outside 1..9998. The message contains nothing
    of the text.
    """
    if _RFC3339.fullmatch(text) is None:
        raise ValueError("is not an RFC 3339 time with a zone")
    try:
        time = datetime.fromisoformat(text.upper())
        if time.tzinfo is not UTC:
            time = time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a date of the calendar, or out of range") from None
    if time.year > YEAR_MAX:
        raise ValueError(f"is after the year {YEAR_MAX}, UTC")
    return time


_UTC_OFFSET = "+00:00"


def format_time(time: datetime) -> str:
    """An aware time as `2026-03-01T09:30:00.000000Z`: always UTC, always six digits, so that texts sort as times do."""
    if time.tzinfo is None:
        raise ValueError("a time without a zone cannot be written")
    utc = time if time.tzinfo is UTC else time.astimezone(UTC)
    return utc.isoformat(timespec="microseconds").removesuffix(_UTC_OFFSET) + "Z"


def seconds_after(time: datetime, timestamp_ms: int) -> float | None:
    """The seconds from a record's timestamp to an event's time; None: the record has no timestamp."""
    recorded_at = time_of_timestamp(timestamp_ms)
    return None if recorded_at is None else (time - recorded_at).total_seconds()


def time_of_timestamp(timestamp_ms: int) -> datetime | None:
    """A Kafka timestamp as an aware UTC time; None if there is none (-1) or it is out of range."""
    if timestamp_ms < 0:
        return None
    try:
        time = _EPOCH + timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return None
    return time if time.year <= YEAR_MAX else None
