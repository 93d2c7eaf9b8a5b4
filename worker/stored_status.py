"""What the status commands read from the tables: attempts, releases and changes, as values without a database."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from worker.pages import CappedCount, PageKey
from worker.rules.rows import Activity, Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Where something runs: an environment, for one component and one deployment track."""

    environment_id: str
    component_id: UUID
    deployment_track_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A row of `release_deployments` with the release that it deploys. `deployed_at`: when it succeeded; a roll back
    keeps it.
    """

    deployment_id: UUID
    release_id: UUID
    release_name: str
    config_revision: int
    attempt: int
    status: str
    created_at: datetime | None
    updated_at: datetime | None
    deployed_at: datetime | None
    deployed_by: str | None
    commit_hash: str | None
    image_tag: str | None

    @property
    def name(self) -> str:
        """As in `app_environments`: the release's name and the attempt."""
        return f"{self.release_name}.{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellAttempt:
    """An attempt in a cell: the latest success, the latest event, or a later success that was rolled back."""

    cell: Cell
    organization_id: str
    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentFilters:
    """None: all."""

    environment: str | None = None
    component: UUID | None = None
    organization: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFilters:
    """None: all. `environment`: with a deployment there. `since`, `until`: of the release's last change; `until` is
    excluded.
    """

    status: str | None = None
    component: UUID | None = None
    environment: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSummary:
    """A row of `releases`."""

    release_id: UUID
    name: str
    status: str
    organization_id: str
    project_id: UUID
    component_id: UUID
    deployment_track_id: str
    description: str | None
    created_at: datetime | None
    created_by: str
    updated_at: datetime | None
    commit_hash: str | None
    image_tag: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePage:
    """`count`: of all releases that match. `next`: None on the last page."""

    releases: tuple[ReleaseSummary, ...]
    count: CappedCount
    next: PageKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentAttempt:
    """One attempt of one release."""

    environment_id: str
    attempt: Attempt
    comment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDetail:
    """A release with its latest attempts and activities, and its open dead letters, each in the order of time.
    `cut`: the names of those of them that have more rows than were read.
    """

    release: ReleaseSummary
    version: int | None
    attempts: tuple[EnvironmentAttempt, ...]
    activities: tuple[Activity, ...]
    dead_letters: tuple[Rejection, ...]
    cut: tuple[str, ...]


class End(StrEnum):
    """The changes of an attempt that delivery metrics are made of."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryChange:
    """An attempt reached an end, as its activity has it. `previous`: the status before a roll back; else None.
    `first`: the release had not succeeded in this environment before. `committed_at`, `unplanned`: of the release's
    metadata, if they are there.
    """

    id: UUID
    time: datetime
    end: End
    previous: str | None
    cell: Cell
    deployment_id: UUID
    release_id: UUID
    release_name: str
    first: bool
    committed_at: datetime | None = None
    unplanned: bool | None = None
