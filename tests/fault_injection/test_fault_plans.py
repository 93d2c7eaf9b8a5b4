"""A few plans of harm, which have each kind of it between them; `make test-crash` plays as many as one likes."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.fault_injection.plans import Kind, sample
from tests.fault_injection.playing import Verdict, play
from tests.fault_injection.servers import Servers

SAMPLES = 4


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers.running() as running:
        yield running


@pytest.mark.parametrize("number", range(SAMPLES))
def test_whatever_harm_is_done_nothing_is_lost_doubled_or_out_of_order(servers: Servers, number: int) -> None:
    """Neither `verify` nor the model finds anything, and all workers stop in order."""
    plan = sample(number, of=SAMPLES, kinds=servers.kinds)
    verdict: Verdict = asyncio.run(play(plan, servers))
    assert verdict.complaints == (), "\n".join([*map(str, plan.harms), f"what was said: {verdict.folder}"])
    assert verdict.records > 100


def test_a_disk_can_be_full_here(servers: Servers) -> None:
    """Where none can be mounted, the plans above leave that harm out, and this says so."""
    if servers.disk is None:
        pytest.skip("no small file system can be mounted here: no disk was full")
    assert Kind.DISK_FULL in servers.kinds
