"""What the status commands need of the database. It only reads."""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from worker.pages import PageKey
from worker.stored_status import (
    CellAttempt,
    DeliveryChange,
    EnvironmentFilters,
    ReleaseDetail,
    ReleaseFilters,
    ReleasePage,
    ReleaseSummary,
)


class StatusTables(Protocol):
    """Every method raises Unavailable where the database does not answer in time."""

    async def environments(self, filters: EnvironmentFilters, limit: int) -> tuple[Sequence[CellAttempt], bool]:
        """Attempts of the first `limit` cells, and whether there are more cells. Of each cell: the attempts that
        succeeded last, those that succeeded later and were rolled back, and those of the latest event.
        """
        ...

    async def releases(self, filters: ReleaseFilters, after: PageKey | None, limit: int) -> ReleasePage:
        """The releases with the latest changes first."""
        ...

    async def named(
        self, release_date: date, number: int, component: UUID | None, limit: int
    ) -> Sequence[ReleaseSummary]:
        """The releases of this date and number."""
        ...

    async def release(self, release_id: UUID) -> ReleaseDetail | None: ...

    async def environment_ids(self) -> Sequence[str]:
        """Every environment that had a deployment, in order."""
        ...

    def changes(self, environment_id: str, since: datetime) -> AsyncIterator[DeliveryChange]:
        """The ends of attempts in the environment from this time on, in the order of time."""
        ...
