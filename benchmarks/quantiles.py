"""What is said of many measurements: the middle one, the extremes, and the ones that few exceed."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Of several rounds of one thing."""

    median: float
    minimum: float
    maximum: float
    rounds: tuple[float, ...]


def spread(values: Sequence[float]) -> Spread:
    """ValueError for no values at all."""
    if not values:
        raise ValueError("nothing was measured")
    return Spread(median=statistics.median(values), minimum=min(values), maximum=max(values), rounds=tuple(values))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the ordered ones do not exceed (nearest rank). ValueError for no values."""
    if not ordered:
        raise ValueError("nothing was measured")
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' own ratios: what disturbs a round disturbs both sides of it."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=False))
