"""Exponential backoff with jitter, as a pure function of the number of failures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays double from `initial_seconds`, up to `max_seconds`.

    Jitter spreads the retries of many workers after an outage (M. Brooker, "Exponential Backoff And Jitter").
    """

    initial_seconds: float
    max_seconds: float

    def delay_seconds(self, *, failures: int, chance: float) -> float:
        """The delay after `failures` consecutive failures (at least 1); `chance` is uniform in [0, 1).

        The lower half is not used: a delay of 0 would be a busy loop.
        """
        doublings = min(failures - 1, 32)  # every ceiling is reached by then; bounds the power
        ceiling = min(self.max_seconds, self.initial_seconds * 2.0**doublings)
        return ceiling * (0.5 + chance / 2)
