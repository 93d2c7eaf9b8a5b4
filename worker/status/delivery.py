"""Delivery metrics by the definitions of https://dora.dev/guides/dora-metrics/, from the changes of deployments.

A deployment is an attempt that ended: it succeeded, failed, or was rolled back before it had done either. Attempts that
were cancelled never ended. A deployment counts in the period in which it ended. It failed if it ended as FAILED or was
rolled back later, also after the period. A failure begins when the attempt failed or, if it succeeded first, when it
succeeded. It is recovered by the attempt's roll back, or by the next later success of another attempt in the same
environment, component and track. docs/how-to/status.md has the reasons.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from math import ceil
from uuid import UUID

from schemas.times import format_time
from worker.status.tables import StatusTables
from worker.stored_status import Cell, DeliveryChange, End

_ENDED_BEFORE = frozenset({End.SUCCESS, End.FAILED})
"""Statuses before a roll back with which the attempt has ended already."""

_DAY = timedelta(days=1)


class By(StrEnum):
    """What metrics are grouped by."""

    COMPONENT = "component"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Of durations in seconds, by nearest rank: the smallest value that at least this part of the values do not exceed.
    None without values.
    """

    n: int
    p50: float | None
    p90: float | None

    @classmethod
    def of(cls, durations: Iterable[timedelta]) -> "Quantiles":
        values = sorted(duration.total_seconds() for duration in durations)
        return cls(n=len(values), p50=_nearest_rank(values, 50), p90=_nearest_rank(values, 90))

    def as_json(self) -> dict[str, object]:
        return {"n": self.n, "p50": self.p50, "p90": self.p90}


@dataclass(slots=True, kw_only=True)
class Deployment:
    """A deployment of the period. `failed_at`: the beginning of its failure, None where it is unknown.
    `recovered_at`: None so far.
    """

    change: DeliveryChange
    failed: bool
    rolled_back: bool = False
    failed_at: datetime | None = None
    recovered_at: datetime | None = None

    @property
    def succeeded(self) -> bool:
        return self.change.end is End.SUCCESS

    def as_json(self) -> dict[str, object]:
        change = self.change
        return {
            "environment_id": change.cell.environment_id,
            "component_id": str(change.cell.component_id),
            "deployment_track_id": change.cell.deployment_track_id,
            "release_id": str(change.release_id),
            "release": change.release_name,
            "deployment_id": str(change.deployment_id),
            "failed_at": None if self.failed_at is None else format_time(self.failed_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Of one component or environment, or of all. A rate and a frequency without data are None.

    `deployments`: those that succeeded. `ended`: all. `rolled_back`: those of the failed ones. `recoveries_unmeasured`:
    recovered failures whose beginning is unknown. `uncommitted`: first successes of releases without `committed_at`,
    or with one that is later. `classified`: deployments of releases with `unplanned`.
    """

    key: str | None
    deployments: int
    deployments_per_day: float | None
    interval: Quantiles
    ended: int
    failed: int
    rolled_back: int
    change_fail_rate: float | None
    recovery: Quantiles
    recoveries_unmeasured: int
    unrecovered: tuple[Deployment, ...]
    lead_time: Quantiles
    uncommitted: int
    classified: int
    unplanned: int
    rework_rate: float | None

    def as_json(self) -> dict[str, object]:
        return {
            "key": self.key,
            "deployment_frequency": {
                "n": self.deployments,
                "per_day": self.deployments_per_day,
                "interval_seconds": self.interval.as_json(),
            },
            "change_fail_rate": {
                "n": self.ended,
                "failed": self.failed,
                "rolled_back": self.rolled_back,
                "rate": self.change_fail_rate,
            },
            "failed_deployment_recovery_time": {
                "seconds": self.recovery.as_json(),
                "unmeasured": self.recoveries_unmeasured,
                "without_recovery": [deployment.as_json() for deployment in self.unrecovered],
            },
            "change_lead_time": {
                "measurable": self.lead_time.n > 0,
                "seconds": self.lead_time.as_json(),
                "without_committed_at": self.uncommitted,
            },
            "deployment_rework_rate": {
                "measurable": self.classified > 0,
                "n": self.classified,
                "unplanned": self.unplanned,
                "rate": self.rework_rate,
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """`groups`: in the order of their keys, those with a deployment in the period."""

    begin: datetime
    end: datetime
    by: By
    total: Metrics
    groups: tuple[Metrics, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "from": format_time(self.begin),
            "to": format_time(self.end),
            "by": self.by,
            "total": self.total.as_json(),
            "groups": [group.as_json() for group in self.groups],
        }


async def delivery_report(
    tables: StatusTables, environments: Sequence[str], *, begin: datetime, end: datetime, by: By
) -> DeliveryReport:
    """The report on these environments. `environments`: none are all that had a deployment.

    Raises:
        Unavailable: as the tables do.
    """
    changes: list[DeliveryChange] = []
    for environment_id in environments or await tables.environment_ids():
        changes += [change async for change in tables.changes(environment_id, begin)]
    return measure(changes, begin=begin, end=end, by=by)


def measure(changes: Iterable[DeliveryChange], *, begin: datetime, end: datetime, by: By) -> DeliveryReport:
    """The metrics of the deployments that ended from `begin` to before `end`. `changes`: all since `begin`, also those
    after `end`, in any order.
    """
    deployments = _deployments(changes, begin=begin, end=end)
    grouped: dict[str, list[Deployment]] = defaultdict(list)
    for deployment in deployments:
        grouped[_key(deployment.change.cell, by)].append(deployment)
    days = (end - begin) / _DAY
    return DeliveryReport(
        begin=begin,
        end=end,
        by=by,
        total=_metrics(None, deployments, days),
        groups=tuple(_metrics(key, grouped[key], days) for key in sorted(grouped)),
    )


def _deployments(changes: Iterable[DeliveryChange], *, begin: datetime, end: datetime) -> list[Deployment]:
    """In the order of their ends, each with its failure and its recovery."""
    ordered = sorted(changes, key=lambda change: (change.time, change.end is End.ROLLED_BACK, change.id))
    found: dict[UUID, Deployment] = {}
    successes: dict[Cell, list[DeliveryChange]] = defaultdict(list)
    rolled_back_at: dict[UUID, datetime] = {}
    for change in ordered:
        if change.end is End.SUCCESS:
            successes[change.cell].append(change)
        elif change.end is End.ROLLED_BACK:
            rolled_back_at[change.deployment_id] = change.time
        if begin <= change.time < end and not (change.end is End.ROLLED_BACK and change.previous in _ENDED_BEFORE):
            found[change.deployment_id] = Deployment(change=change, failed=change.end is not End.SUCCESS)
    by_cell = {cell: _Successes(changes_of_cell) for cell, changes_of_cell in successes.items()}
    for deployment in found.values():
        _set_failure(deployment, rolled_back_at, by_cell)
    return list(found.values())


class _Successes:
    """The successes of a cell in the order of time."""

    def __init__(self, changes: Sequence[DeliveryChange]) -> None:
        self._times = [change.time for change in changes]
        self._changes = changes

    def after(self, time: datetime, *, other_than: UUID) -> datetime | None:
        for change in self._changes[bisect_right(self._times, time) :]:
            if change.deployment_id != other_than:
                return change.time
        return None


def _set_failure(
    deployment: Deployment, rolled_back_at: Mapping[UUID, datetime], successes: Mapping[Cell, _Successes]
) -> None:
    change = deployment.change
    own_roll_back = rolled_back_at.get(change.deployment_id)
    deployment.rolled_back = own_roll_back is not None
    if change.end is End.ROLLED_BACK:
        deployment.recovered_at = change.time
        return
    if change.end is End.SUCCESS and own_roll_back is None:
        return
    deployment.failed, deployment.failed_at = True, change.time
    of_cell = successes.get(change.cell)
    later = None if of_cell is None else of_cell.after(change.time, other_than=change.deployment_id)
    recoveries = [time for time in (own_roll_back, later) if time is not None]
    deployment.recovered_at = min(recoveries, default=None)


def _metrics(key: str | None, deployments: Sequence[Deployment], days: float) -> Metrics:
    successes = [deployment.change for deployment in deployments if deployment.succeeded]
    failures = [deployment for deployment in deployments if deployment.failed]
    firsts = [change for change in successes if change.first]
    lead_times = [
        change.time - change.committed_at
        for change in firsts
        if change.committed_at is not None and change.committed_at <= change.time
    ]
    classified = [deployment.change.unplanned for deployment in deployments if deployment.change.unplanned is not None]
    recoveries = [
        deployment.recovered_at - deployment.failed_at
        for deployment in failures
        if deployment.recovered_at is not None and deployment.failed_at is not None
    ]
    return Metrics(
        key=key,
        deployments=len(successes),
        deployments_per_day=len(successes) / days if deployments else None,
        interval=Quantiles.of(later.time - earlier.time for earlier, later in pairwise(successes)),
        ended=len(deployments),
        failed=len(failures),
        rolled_back=sum(deployment.rolled_back for deployment in failures),
        change_fail_rate=_rate(len(failures), len(deployments)),
        recovery=Quantiles.of(recoveries),
        recoveries_unmeasured=sum(deployment.failed_at is None for deployment in failures),
        unrecovered=tuple(deployment for deployment in failures if deployment.recovered_at is None),
        lead_time=Quantiles.of(lead_times),
        uncommitted=len(firsts) - len(lead_times),
        classified=len(classified),
        unplanned=sum(classified),
        rework_rate=_rate(sum(classified), len(classified)),
    )


def _key(cell: Cell, by: By) -> str:
    return str(cell.component_id) if by is By.COMPONENT else cell.environment_id


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _nearest_rank(values: Sequence[float], percent: int) -> float | None:
    return values[ceil(len(values) * percent / 100) - 1] if values else None
