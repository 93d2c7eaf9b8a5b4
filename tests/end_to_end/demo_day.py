"""A day of CI/CD in two parts: the second is sent when the first one is committed."""

from dataclasses import dataclass

from worker.demo.event_stream import event_stream
from worker.demo.release_publisher import EventRecord


@dataclass(frozen=True, slots=True)
class Day:
    """`evening` claims release numbers that `daytime` has taken."""

    seed: int
    daytime: tuple[EventRecord, ...]
    evening: tuple[EventRecord, ...]


def day_of(seed: int, *, releases: int) -> Day:
    records = tuple(event_stream(seed=seed, releases=releases))
    return Day(
        seed,
        tuple(record for record in records if not record.is_evening),
        tuple(record for record in records if record.is_evening),
    )
