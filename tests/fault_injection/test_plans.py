"""A seed gives one plan; a few consecutive plans contain every kind of fault."""

import pytest

from tests.fault_injection.plans import (
    CRASHES,
    FAULT_SECONDS,
    SESSION_TIMEOUT_SECONDS,
    WORKERS,
    FaultKind,
    plan_of,
    sample,
)


def test_each_seed_gives_its_own_plan() -> None:
    assert plan_of(7) == plan_of(7)
    assert len({plan_of(seed) for seed in range(100)}) == 100


@pytest.mark.parametrize("first", [0, 5, 1000])
def test_consecutive_plans_contain_every_kind(first: int) -> None:
    plans = [plan_of(seed) for seed in range(first, first + len(FaultKind))]
    assert {fault.kind for plan in plans for fault in plan.faults} == set(FaultKind)


@pytest.mark.parametrize("of", [1, 3, 4])
def test_samples_contain_each_kind_once(of: int) -> None:
    kinds = [fault.kind for number in range(of) for fault in sample(number, of=of).faults]
    crashes = [FaultKind.DATABASE_KILLED] * CRASHES * len(range(0, of, 3))
    assert sorted(kinds) == sorted([*FaultKind, *crashes])


def test_third_of_the_plans_crashes_the_database_in_batches() -> None:
    plans = [plan_of(seed) for seed in range(200)]
    crashing = [plan for plan in plans if plan.concurrency == 64]
    assert len(crashing) >= len(plans) / 3
    for plan in crashing:
        assert [fault.kind for fault in plan.faults].count(FaultKind.DATABASE_KILLED) >= CRASHES


def test_plan_has_available_kinds_only() -> None:
    kinds = (FaultKind.LINK_CUT, FaultKind.WORKER_KILLED)
    crashes = {FaultKind.DATABASE_KILLED}
    assert {fault.kind for seed in range(50) for fault in plan_of(seed, kinds=kinds).faults} - crashes == set(kinds)


def test_some_stalls_outlast_the_session() -> None:
    faults = [fault for seed in range(300) for fault in plan_of(seed).faults]
    assert all(0 <= fault.at_seconds <= FAULT_SECONDS for fault in faults)
    assert {fault.worker for fault in faults} == set(range(WORKERS))
    stalls = [fault.seconds for fault in faults if fault.kind is FaultKind.WORKER_STALLED]
    assert min(stalls) < SESSION_TIMEOUT_SECONDS / 2
    assert max(stalls) > 2 * SESSION_TIMEOUT_SECONDS
