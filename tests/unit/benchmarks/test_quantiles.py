"""What is said of many measurements."""

import pytest

from benchmarks.quantiles import percentile, ratio, spread


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (0.0, 1), (1.0, 100)])
def test_percentile_is_a_measured_value(share: float, expected: float) -> None:
    """Nearest rank: so many do not exceed it, and it is never made up between two."""
    assert percentile(range(1, 101), share) == expected


def test_empty_sample_has_no_percentile_and_no_spread() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match="nothing"):
        spread([])


def test_spread_has_the_median_and_the_extremes() -> None:
    """Rounds stay in their order: ratios are taken round by round."""
    found = spread([3.0, 1.0, 2.0])
    assert (found.median, found.minimum, found.maximum, found.rounds) == (2.0, 1.0, 3.0, (3.0, 1.0, 2.0))


def test_ratio_is_taken_within_each_round() -> None:
    """A slow round slows both sides: the ratio of the medians would be 10 / 5."""
    assert ratio([10, 1, 40], [5, 1, 40]) == 1
