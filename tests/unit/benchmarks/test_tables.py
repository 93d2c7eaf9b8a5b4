"""The results as Markdown and as JSON."""

import json

import pytest

from benchmarks.goals import HALF_OF_PLAIN, TIMES, goals
from benchmarks.results import as_json
from benchmarks.tables import figure, markdown, table
from tests.unit.benchmarks.figures import latency, memory, results, standing

FULL = results(
    standings=(
        standing("worker", 500, 700, 600),
        standing("plain", 100, 90, 110),
        standing("faststream", missing="FastStream is not installed", rss_peak_bytes=0),
    ),
    latencies=(latency("plain", p99_ms=float("inf"), why=HALF_OF_PLAIN),),
    memory=memory(peak_mb=130),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.0123, "0.0123"), (0, "0")],
)
def test_figures_have_three_significant_digits(value: float, text: str) -> None:
    assert figure(value) == text


def test_infinite_time_is_shown_as_never() -> None:
    assert figure(float("inf")) == "never"


def test_vertical_bar_in_a_cell_is_escaped() -> None:
    assert list(table(("a", "b"), [("x|y", "1")])) == ["| a | b |", "|---|---:|", "| x\\|y | 1 |"]


def test_contender_row_has_median_extremes_and_ratio() -> None:
    [row] = [line for line in _lines() if line.startswith("| worker 1 x 16 |")]
    assert row.startswith("| worker 1 x 16 | 600 | 500 | 700 | 1,000 |")
    assert row.endswith(f"| 6.00{TIMES} |")


def test_contender_that_could_not_run_has_a_reason_and_no_row() -> None:
    assert not [line for line in _lines() if line.startswith("| faststream")]
    assert "- faststream 1 x 16: FastStream is not installed (left out)" in _lines()


def test_wrong_result_is_reported_in_the_row_and_at_the_end() -> None:
    """The mark prevents a reader from quoting the speed of a contender whose rows are wrong."""
    wrong = results(standings=(standing("plain", 900, differences=("releases 1: missing",)),))
    text = markdown(wrong, goals(wrong))
    assert "| plain 1 x 16 **(wrong)** |" in text
    assert "- plain 1 x 16: releases 1: missing" in text


def test_missing_measurements_make_no_sections() -> None:
    assert "###" not in markdown(results(), goals(results()))


def test_json_has_null_for_an_infinite_time() -> None:
    """Other programs read the JSON, which has no infinity."""
    found = json.loads(as_json(FULL, []), parse_constant=pytest.fail)
    assert found["latencies"][0]["p99_ms"] is None
    assert found["standings"][0]["speed"]["rounds"] == [500, 700, 600]


def _lines() -> list[str]:
    return markdown(FULL, goals(FULL)).splitlines()
