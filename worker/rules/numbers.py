"""The number of a release that a foreign event creates."""

from collections.abc import Iterable

from schemas.confusables import collides


def next_number(highest: Iterable[tuple[str, int]], track: str) -> int:
    """The number after the highest of the track, from 1. `highest`: the tracks of a component and their highest numbers
    of one day. Tracks that collide share their numbers.
    """
    numbers = [number for other, number in highest if other == track or collides(track, [other]) is not None]
    return max(numbers, default=0) + 1
