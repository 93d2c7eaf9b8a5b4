"""A day of CI/CD for a stage, in the two parts between which publishers are patient."""

from dataclasses import dataclass

from tests.conformance.contents import insert_rows
from worker.demo.company import DAY, app_environments
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


async def insert_environments(database_url: str, seed: int) -> None:
    """The platform's rows, which the worker points at releases."""
    rows = [
        {
            "id": row.id,
            "environment_id": row.environment_id,
            "component_id": row.component_id,
            "deployment_track_id": row.deployment_track_id,
            "created_at": row.created_at,
            "updated_at": row.created_at,
        }
        for row in app_environments(seed=seed)
    ]
    await insert_rows(database_url, "app_environments", rows)
