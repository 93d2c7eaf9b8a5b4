"""Times on the command line: RFC 3339 with a zone, or how long ago."""

import re
from datetime import UTC, datetime, timedelta

from schemas.times import parse_time
from worker.rules.errors import ConfigurationError

_AGO = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhdw])")
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def moment(text: str, *, option: str, now: datetime | None = None) -> datetime:
    """The time that an option names: `2026-03-01T09:30:00Z`, or `2h` for two hours before `now`.

    Raises:
        ConfigurationError: the text is neither.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return (now or datetime.now(UTC)) - int(ago["number"]) * _UNITS[ago["unit"]]
        return parse_time(text)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"--{option}: {text} is no time; use 2026-03-01T09:30:00Z, with a zone, or 30m, 2h, 3d, 1w for a time ago"
        ) from error
