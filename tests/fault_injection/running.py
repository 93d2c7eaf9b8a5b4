"""A plan from the first event to the result."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.worker_process import MODULE
from tests.fault_injection.checking import Check, check
from tests.fault_injection.faults import inject
from tests.fault_injection.fixture import Fixture
from tests.fault_injection.plans import FaultKind, Plan
from tests.fault_injection.redrives import Redriving, leave_dead_letters
from tests.fault_injection.replays import replay_until
from tests.fault_injection.servers import Servers


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """`differences`: empty if all is correct. `published_again`: see `Check`. `exit_codes`: of workers that ended by
    themselves and were started again. `folder`: the workers' logs; removed if all is correct.
    """

    plan: Plan
    records: int
    seconds: float
    settling_seconds: float
    published_again: int
    exit_codes: tuple[int, ...]
    differences: tuple[str, ...]
    folder: Path


async def run_plan(plan: Plan, servers: Servers, *, command: Sequence[str] = MODULE) -> PlanResult:
    """A worker's fault never raises: it is in the result. `command`: what to run instead of a worker."""
    folder = Path(tempfile.mkdtemp(prefix=f"rudder-plan-{plan.seed}-"))
    began_at_seconds = time.monotonic()
    async with Fixture.prepared(plan, servers, folder, command=command) as fixture:
        redriving = Redriving.of(fixture, await leave_dead_letters(fixture)) if plan.redrives else None
        async with asyncio.TaskGroup() as beside:
            settled = asyncio.Event()
            replaying = beside.create_task(replay_until(settled, fixture)) if plan.replays else None
            async with asyncio.TaskGroup() as group:
                publishing = group.create_task(fixture.publish())
                redrive = beside.create_task(redriving.run()) if redriving else None
                for fault in plan.faults:
                    group.create_task(inject(fault, fixture))
            for links in fixture.links:
                links.database.heal()
                links.broker.heal()
            healed_at_seconds = time.monotonic()
            differences = await redrive if redrive else []
            differences += await _settle(fixture)
            settled_at_seconds = time.monotonic()
            settled.set()
        differences += replaying.result() if replaying else []
        differences += await redriving.differences() if redriving and not differences else []
        checked = Check(differences=(), published_again=0)
        if not differences:
            differences = await _stop(fixture)
            killed = any(fault.kind is FaultKind.WORKER_KILLED for fault in plan.faults)
            checked = await check(fixture.system, fixture.environments, killed=killed)
        differences += checked.differences
        differences += [f"worker {number}: {line}" for number, line in _tracebacks(fixture)]
    if not differences:
        shutil.rmtree(folder)
    return PlanResult(
        plan=plan,
        records=publishing.result(),
        seconds=time.monotonic() - began_at_seconds,
        settling_seconds=settled_at_seconds - healed_at_seconds,
        published_again=checked.published_again,
        exit_codes=tuple(code for worker in fixture.workers for code in worker.exit_codes),
        differences=tuple(differences),
        folder=folder,
    )


async def _settle(fixture: Fixture) -> list[str]:
    try:
        await fixture.settled()
    except AssertionError as error:
        return [str(error)]
    return []


async def _stop(fixture: Fixture) -> list[str]:
    """A worker that gets SIGTERM must exit with 0."""
    codes = await asyncio.gather(*(worker.stop() for worker in fixture.workers), return_exceptions=True)
    return [f"worker {number} stopped with {code!r}" for number, code in enumerate(codes) if code != 0]


def _tracebacks(fixture: Fixture) -> list[tuple[int, str]]:
    """No fault is a reason for a traceback."""
    return [
        (number, line[:2000])
        for number, worker in enumerate(fixture.workers)
        for line in worker.log.splitlines()
        if "Traceback" in line
    ]
