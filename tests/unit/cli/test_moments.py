"""Times on the command line."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.cli.moments import moment
from worker.rules.errors import ConfigurationError

NOW = datetime(2026, 3, 17, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("1w", NOW - timedelta(weeks=1)),
        ("2026-03-17T10:30:00+01:00", NOW),
    ],
)
def test_time_is_absolute_or_relative(text: str, expected: datetime) -> None:
    assert moment(text, option="since", now=NOW) == expected


@pytest.mark.parametrize("text", ["", "2", "2y", "-2h", "2026-03-17", "2026-03-17T09:30:00", "999999w", "٣d"])
def test_other_text_is_refused(text: str) -> None:
    """Above all a time without a zone."""
    with pytest.raises(ConfigurationError, match="is no time"):
        moment(text, option="since", now=NOW)
