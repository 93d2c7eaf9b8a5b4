"""Throttle log lines by kind: a fault that repeats with every message must not flood the log."""

from dataclasses import dataclass

_PERIOD_SECONDS = 10.0
_KINDS_MAX = 100


@dataclass(slots=True)
class _Last:
    at_seconds: float
    left_out: int = 0


class LogThrottle:
    """One line of a kind in ten seconds; the others are counted. Keeps up to 100 kinds."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}

    def left_out_before(self, kind: str, *, now_seconds: float) -> int | None:
        """The number of lines of this kind that were left out since the last one; None: leave this one out too."""
        last = self._last.get(kind)
        if last is not None and now_seconds - last.at_seconds < _PERIOD_SECONDS:
            last.left_out += 1
            return None
        if len(self._last) >= _KINDS_MAX:
            self._last.clear()
        self._last[kind] = _Last(at_seconds=now_seconds)
        return last.left_out if last is not None else 0
