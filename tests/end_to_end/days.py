"""A day of CI/CD for a stage, in the two parts between which publishers are patient."""

from dataclasses import dataclass

from worker.demo.company import DAY
from worker.demo.record import RawRecord
from worker.demo.stream import a_day

EVENING_MS = int(DAY.timestamp() * 1000) + 20 * 3_600_000


@dataclass(frozen=True, slots=True)
class Day:
    """`evening` claims release numbers that `daytime` has taken: it may be sent when that is worked off."""

    seed: int
    daytime: tuple[RawRecord, ...]
    evening: tuple[RawRecord, ...]


def day_of(seed: int, *, releases: int) -> Day:
    records = tuple(a_day(seed=seed, releases=releases))
    return Day(
        seed,
        tuple(record for record in records if record.timestamp_ms < EVENING_MS),
        tuple(record for record in records if record.timestamp_ms >= EVENING_MS),
    )
