"""A few fault plans that together contain each kind of fault; `make test-crash` runs any number of them."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.fault_injection.plans import FaultKind, sample
from tests.fault_injection.running import PlanResult, run_plan
from tests.fault_injection.servers import Servers

SAMPLES = 4


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers.running() as running:
        yield running


@pytest.mark.parametrize("number", range(SAMPLES))
def test_faults_lose_double_and_reorder_nothing(servers: Servers, number: int) -> None:
    """Neither `verify` nor the oracle finds anything, and all workers exit with 0."""
    plan = sample(number, of=SAMPLES, kinds=servers.kinds)
    result: PlanResult = asyncio.run(run_plan(plan, servers))
    assert result.differences == (), "\n".join([*map(str, plan.faults), f"logs: {result.folder}"])
    assert result.records > 100


def test_disk_can_be_full_on_this_machine(servers: Servers) -> None:
    """Without a small file system the plans above leave that fault out; the skip reports it."""
    if servers.disk is None:
        pytest.skip("no small file system can be mounted here: no disk was full")
    assert FaultKind.DISK_FULL in servers.kinds
