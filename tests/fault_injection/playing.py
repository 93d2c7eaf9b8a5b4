"""A plan from the first event to the verdict."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.worker_process import MODULE
from tests.fault_injection.faults import do
from tests.fault_injection.judging import Judgement, judged
from tests.fault_injection.plans import Plan
from tests.fault_injection.scene import Scene
from tests.fault_injection.servers import Servers


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`complaints` is empty where all is as it must be. `more_published`: see `Judgement`. `ends`: exit codes of
    workers that gave up by themselves, to be started again. `folder`: what the workers said; gone where there is
    nothing to complain of.
    """

    plan: Plan
    records: int
    seconds: float
    settling_seconds: float
    more_published: int
    ends: tuple[int, ...]
    complaints: tuple[str, ...]
    folder: Path


async def play(plan: Plan, servers: Servers, *, command: Sequence[str] = MODULE) -> Verdict:
    """Never raises for what a worker did: that is the verdict's to say. `command`: what to run instead of a worker."""
    folder = Path(tempfile.mkdtemp(prefix=f"rudder-plan-{plan.seed}-"))
    began_at_seconds = time.monotonic()
    async with Scene.set(plan, servers, folder, command=command) as scene:
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(scene.publish())
            for harm in plan.harms:
                group.create_task(do(harm, scene))
        for links in scene.links:
            links.database.heal()
            links.broker.heal()
        done_at_seconds = time.monotonic()
        told = await _settle(scene)
        settled_at_seconds = time.monotonic()
        judgement = Judgement(complaints=(), more_published=0)
        if not told:
            told = await _stop(scene)
            judgement = await judged(scene.stage, scene.environments)
        told += judgement.complaints
        told += [f"worker {number}: {line}" for number, line in _outcries(scene)]
    if not told:
        shutil.rmtree(folder)
    return Verdict(
        plan=plan,
        records=publishing.result(),
        seconds=time.monotonic() - began_at_seconds,
        settling_seconds=settled_at_seconds - done_at_seconds,
        more_published=judgement.more_published,
        ends=tuple(code for berth in scene.berths for code in berth.ends),
        complaints=tuple(told),
        folder=folder,
    )


async def _settle(scene: Scene) -> list[str]:
    try:
        await scene.settled()
    except AssertionError as error:
        return [str(error)]
    return []


async def _stop(scene: Scene) -> list[str]:
    """What is asked to stop must do so in order."""
    codes = await asyncio.gather(*(berth.stop() for berth in scene.berths), return_exceptions=True)
    return [f"worker {number} stopped with {code!r}" for number, code in enumerate(codes) if code != 0]


def _outcries(scene: Scene) -> list[tuple[int, str]]:
    """No harm is a reason for a traceback."""
    return [
        (number, line[:2000])
        for number, berth in enumerate(scene.berths)
        for line in berth.told.splitlines()
        if "Traceback" in line
    ]
