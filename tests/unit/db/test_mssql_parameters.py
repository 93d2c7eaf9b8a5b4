"""What a statement declares does not depend on how long this event's texts are: one plan serves them all."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from worker.db.mssql.parameters import bound, sizes, with_nulls

WVARCHAR = -9


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 255),
        ("x" * 255, 255),
        ("x" * 256, 4_000),
        ("🚧" * 127, 255),
        ("🚧" * 128, 4_000),
        ("x" * 4_000, 4_000),
        ("x" * 4_001, 0),
        ("🚧" * 2_001, 0),
    ],
)
def test_text_parameter_has_one_of_three_lengths(text: str, length: int) -> None:
    """In UTF-16 units; 0 is nvarchar(max)."""
    assert sizes([text]) == [(WVARCHAR, length, 0)]


def test_other_types_are_left_to_the_driver() -> None:
    assert sizes([1, UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC)]) == [None, None, None]


def test_time_parameter_loses_only_its_zone() -> None:
    moment = datetime(2026, 1, 1, 12, 30, 15, 123_456, tzinfo=UTC)
    assert bound([moment, "x", 1]) == [moment.replace(tzinfo=None), "x", 1]


def test_null_is_written_into_the_statement() -> None:
    assert with_nulls("a = ? AND b = ? AND c = ?", (False, True, False)) == "a = ? AND b = NULL AND c = ?"
