"""A plan is its seed's; few plans in a row have every kind of harm."""

import pytest

from tests.fault_injection.plans import HARM_SECONDS, SESSION_TIMEOUT_SECONDS, WORKERS, Kind, plan_of, sample


def test_a_seed_gives_one_plan_and_another_seed_another() -> None:
    assert plan_of(7) == plan_of(7)
    assert len({plan_of(seed) for seed in range(100)}) == 100


@pytest.mark.parametrize("first", [0, 5, 1000])
def test_as_many_plans_as_there_are_kinds_have_each_of_them(first: int) -> None:
    plans = [plan_of(seed) for seed in range(first, first + len(Kind))]
    assert {harm.kind for plan in plans for harm in plan.harms} == set(Kind)


@pytest.mark.parametrize("of", [1, 3, 4])
def test_samples_have_each_kind_once_between_them(of: int) -> None:
    kinds = [harm.kind for number in range(of) for harm in sample(number, of=of).harms]
    assert sorted(kinds) == sorted(Kind)


def test_what_cannot_be_done_is_not_planned() -> None:
    kinds = (Kind.LINK_CUT, Kind.WORKER_KILLED)
    assert {harm.kind for seed in range(50) for harm in plan_of(seed, kinds=kinds).harms} == set(kinds)


def test_harm_has_a_moment_and_some_stalls_outlast_the_session() -> None:
    harms = [harm for seed in range(300) for harm in plan_of(seed).harms]
    assert all(0 <= harm.at_seconds <= HARM_SECONDS for harm in harms)
    assert {harm.worker for harm in harms} == set(range(WORKERS))
    stalls = [harm.seconds for harm in harms if harm.kind is Kind.WORKER_STALLED]
    assert min(stalls) < SESSION_TIMEOUT_SECONDS / 2
    assert max(stalls) > 2 * SESSION_TIMEOUT_SECONDS
