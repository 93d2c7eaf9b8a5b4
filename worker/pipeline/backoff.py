"""When to try again: exponential backoff with full jitter, as a pure function of the try's number."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays grow from `initial_seconds`, doubling, and never exceed `max_seconds`.

    Full jitter keeps many workers from coming back all at once when a database does
    (M. Brooker, "Exponential Backoff And Jitter").
    """

    initial_seconds: float
    max_seconds: float

    def delay_seconds(self, *, failures: int, chance: float) -> float:
        """The wait after `failures` failures in a row (at least 1); `chance` is uniform in [0, 1).

        The lower half is never used: a wait of nothing would be a busy loop.
        """
        doublings = min(failures - 1, 32)  # beyond that every ceiling is reached; keeps the power small
        ceiling = min(self.max_seconds, self.initial_seconds * 2.0**doublings)
        return ceiling * (0.5 + chance / 2)
