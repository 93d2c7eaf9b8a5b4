"""Delivery metrics against their definitions, counted attempt by attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from worker.status.delivery import By, DeliveryReport, Metrics, Quantiles, measure
from worker.stored_status import Cell, DeliveryChange, End

NAMESPACE = UUID("00000000-0000-0000-0000-00000000d0ca")
EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
MINUTES = 40
"""Few enough for many changes at one moment."""

CELLS = [
    Cell(environment_id=environment, component_id=uuid5(NAMESPACE, component), deployment_track_id=track)
    for environment, component, track in (
        ("eu", "a", "main"),
        ("eu", "b", "main"),
        ("us", "a", "main"),
        ("us", "a", "lts"),
    )
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """As a test knows it. `end`: None where it was rolled back before it ended. Times in minutes."""

    id: UUID
    cell: Cell
    end: End | None
    ended_at: int
    rolled_back_at: int | None
    first: bool
    committed_at: int | None
    unplanned: bool | None

    @property
    def counts_at(self) -> int:
        return self.ended_at

    @property
    def failed(self) -> bool:
        return self.end is not End.SUCCESS or self.rolled_back_at is not None

    def changes(self) -> list[DeliveryChange]:
        if self.end is None:
            return [self._change(End.ROLLED_BACK, self.ended_at, previous="IN_PROGRESS")]
        rolled_back = self.rolled_back_at
        later = [] if rolled_back is None else [self._change(End.ROLLED_BACK, rolled_back, previous=self.end.value)]
        return [self._change(self.end, self.ended_at, previous=None), *later]

    def _change(self, end: End, minute: int, *, previous: str | None) -> DeliveryChange:
        return DeliveryChange(
            id=uuid5(self.id, end),
            time=time_of(minute),
            end=end,
            previous=previous,
            cell=self.cell,
            deployment_id=self.id,
            release_id=uuid5(self.id, "release"),
            release_name="20260301-1",
            first=self.first,
            committed_at=None if self.committed_at is None else time_of(self.committed_at),
            unplanned=self.unplanned,
        )


def time_of(minute: int) -> datetime:
    return EPOCH + timedelta(minutes=minute)


@st.composite
def histories(draw: st.DrawFn) -> list[Attempt]:
    attempts = []
    for number in range(draw(st.integers(0, 12))):
        end = draw(st.sampled_from([End.SUCCESS, End.SUCCESS, End.FAILED, None]))
        ended_at = draw(st.integers(0, MINUTES))
        rolled_back_at = None if end is None else draw(st.none() | st.integers(ended_at, MINUTES + 5))
        attempts.append(
            Attempt(
                id=uuid5(NAMESPACE, str(number)),
                cell=draw(st.sampled_from(CELLS)),
                end=end,
                ended_at=ended_at,
                rolled_back_at=rolled_back_at,
                first=draw(st.booleans()),
                committed_at=draw(st.none() | st.integers(-20, MINUTES)),
                unplanned=draw(st.none() | st.booleans()),
            )
        )
    return attempts


periods = st.tuples(st.integers(0, MINUTES), st.integers(1, MINUTES)).map(lambda two: (two[0], two[0] + two[1]))


@given(histories(), periods, st.sampled_from(By), st.randoms(use_true_random=False))
def test_metrics_are_what_the_definitions_say(
    history: list[Attempt], period: tuple[int, int], by: By, random: object
) -> None:
    """Whatever the order in which changes are read."""
    report = measured(history, period, by, random)
    for metrics in (report.total, *report.groups):
        of_key = [one for one in history if metrics.key is None or metrics.key == key_of(one, by)]
        assert_counted(metrics, of_key, history, period)
    assert [group.key for group in report.groups] == sorted(
        {key_of(one, by) for one in history if period[0] <= one.counts_at < period[1]}
    )


@given(histories(), st.integers(1, MINUTES))
def test_adjacent_periods_add_up(history: list[Attempt], middle: int) -> None:
    """No deployment and no failure is in both, or in neither."""
    whole, first, second = (
        measured(history, period, By.COMPONENT).total
        for period in ((0, MINUTES + 1), (0, middle), (middle, MINUTES + 1))
    )
    for name in ("deployments", "ended", "failed", "rolled_back", "recoveries_unmeasured", "classified", "unplanned"):
        assert getattr(whole, name) == getattr(first, name) + getattr(second, name), name
    assert whole.recovery.n == first.recovery.n + second.recovery.n
    assert len(whole.unrecovered) == len(first.unrecovered) + len(second.unrecovered)


def measured(history: Sequence[Attempt], period: tuple[int, int], by: By, random: object = None) -> DeliveryReport:
    begin, end = map(time_of, period)
    changes = [change for attempt in history for change in attempt.changes() if change.time >= begin]
    if random is not None:
        random.shuffle(changes)  # type: ignore[attr-defined]
    return measure(changes, begin=begin, end=end, by=by)


def key_of(attempt: Attempt, by: By) -> str:
    return str(attempt.cell.component_id) if by is By.COMPONENT else attempt.cell.environment_id


def assert_counted(
    metrics: Metrics, of_key: Sequence[Attempt], history: Sequence[Attempt], period: tuple[int, int]
) -> None:
    inside = [one for one in of_key if period[0] <= one.counts_at < period[1]]
    successes = sorted(one.ended_at for one in inside if one.end is End.SUCCESS)
    failures = [one for one in inside if one.failed]
    days = (period[1] - period[0]) / 1440
    assert metrics.deployments == len(successes)
    assert metrics.deployments_per_day == (len(successes) / days if inside else None)
    assert_quantiles(metrics.interval, [later - earlier for earlier, later in pairwise(successes)])
    assert (metrics.ended, metrics.failed) == (len(inside), len(failures))
    assert metrics.rolled_back == sum(one.end is None or one.rolled_back_at is not None for one in failures)
    assert metrics.change_fail_rate == (len(failures) / len(inside) if inside else None)
    recovered = {one.id: recovery_of(one, history) for one in failures if one.end is not None}
    assert metrics.recoveries_unmeasured == sum(one.end is None for one in failures)
    assert_quantiles(metrics.recovery, [minutes for minutes in recovered.values() if minutes is not None])
    unrecovered = {id_ for id_, minutes in recovered.items() if minutes is None}
    assert {one.change.deployment_id for one in metrics.unrecovered} == unrecovered
    firsts = [one for one in inside if one.end is End.SUCCESS and one.first]
    lead_times = [
        one.ended_at - one.committed_at
        for one in firsts
        if one.committed_at is not None and one.committed_at <= one.ended_at
    ]
    assert_quantiles(metrics.lead_time, lead_times)
    assert metrics.uncommitted == len(firsts) - len(lead_times)
    classified = [one.unplanned for one in inside if one.unplanned is not None]
    assert (metrics.classified, metrics.unplanned) == (len(classified), classified.count(True))
    assert metrics.rework_rate == (classified.count(True) / len(classified) if classified else None)


def recovery_of(attempt: Attempt, history: Sequence[Attempt]) -> int | None:
    """Minutes from its end to its roll back, or to the next later success in its cell; None: there is neither."""
    ends = [
        other.ended_at
        for other in history
        if other.cell == attempt.cell and other.end is End.SUCCESS and other.ended_at > attempt.ended_at
    ]
    if attempt.rolled_back_at is not None:
        ends.append(attempt.rolled_back_at)
    return min(ends) - attempt.ended_at if ends else None


def assert_quantiles(found: Quantiles, minutes: Sequence[int]) -> None:
    """The smallest value that at least this part of the values do not exceed."""
    assert found.n == len(minutes)
    for percent, value in ((50, found.p50), (90, found.p90)):
        smallest = [one for one in sorted(minutes) if 100 * sum(m <= one for m in minutes) >= percent * len(minutes)]
        assert value == (smallest[0] * 60 if minutes else None)
