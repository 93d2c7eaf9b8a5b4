"""Replays of all committed records beside the workers, through the links of one of them, one after the other."""

import asyncio
import random

from tests.conformance.deadlines import until
from tests.end_to_end.worker_process import WorkerProcess
from tests.fault_injection.fixture import Fixture, settings_of

_COMPLETED, _NOT_BEGUN = 0, 2
"""The exit codes of a replay: completed, or a server did not answer at its start. -9 is the killed one's."""
_LAST_ATTEMPTS_MAX = 5
_KILLED_AFTER_SECONDS = 3.0
_PAUSE_SECONDS = 0.2


async def replay_until(stopped: asyncio.Event, fixture: Fixture) -> list[str]:
    """Replay and publish again until `stopped`, and once more; every third process is killed. What went wrong.

    The last one must complete. It begins again while a server does not answer at its start, which is no fault of the
    replay: the faults are over, but the timeouts are short.
    """
    dice = random.Random(f"replays {fixture.plan.seed}")
    problems: list[str] = []
    number = last_attempts = 0
    while True:
        last, kill = stopped.is_set(), number % 3 == 1
        system, worker = fixture.system, dice.randrange(len(fixture.links))
        with WorkerProcess(
            "replay",
            "--all",
            "--publish",
            "--execute",
            settings=system.settings | settings_of(fixture.plan, system, fixture.links[worker]),
            folder=system.folder,
            name=f"replay-{number}",
        ) as process:
            if kill and not last:
                await asyncio.sleep(dice.uniform(0, _KILLED_AFTER_SECONDS))
            else:
                await until(lambda: process.exit_code is not None, what=process.output)
        code = process.exit_code
        last_attempts += last
        begins_again = code == _NOT_BEGUN and last_attempts < _LAST_ATTEMPTS_MAX
        if code != _COMPLETED and not begins_again and not (kill and not last):
            problems.append(f"replay {number}: {process.output()}")
        if "Traceback" in process.stderr:
            problems.append(f"replay {number}: {process.stderr[-2000:]}")
        if last and not begins_again:
            return problems
        number += 1
        await asyncio.sleep(_PAUSE_SECONDS)
